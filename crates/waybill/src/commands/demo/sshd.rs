//! OpenSSH's own server on a free port, with keys of its own, for as long as it is held.

use super::{failed, make_directory, write_file};
use model::{Error, ErrorKind, Result};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running sshd.
pub(crate) struct Sshd {
    child: Child,
    pub(crate) port: u16,
    pub(crate) user: String,
    /// What it serves.
    pub(crate) folder: PathBuf,
    pub(crate) client_key: PathBuf,
    /// `SHA256:…`
    pub(crate) host_key: String,
}

impl Sshd {
    /// Starts it with all its state in a directory.
    pub(crate) async fn start(directory: &Path) -> Result<Self> {
        make_directory(directory)?;
        let folder = directory.join("outbound");
        make_directory(&folder)?;
        let host_key_file = directory.join("host_key");
        let client_key = directory.join("client_key");
        for key in [&host_key_file, &client_key] {
            run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(key))?;
        }
        let public = directory.join("client_key.pub");
        let authorized =
            std::fs::read(&public).map_err(|error| failed("read a public key", &public, error))?;
        write_file(&directory.join("authorized_keys"), authorized)?;
        let shown = run(Command::new("ssh-keygen").arg("-lf").arg(directory.join("host_key.pub")))?;
        let host_key = shown.split_whitespace().find(|word| word.starts_with("SHA256:")).unwrap_or_default();
        let user = run(Command::new("id").arg("-un"))?.trim().to_owned();
        // Without this directory sshd does not start; the package's own service makes it at boot.
        let separation = Path::new("/run/sshd");
        if user == "root" && !separation.exists() {
            make_directory(separation)?;
        }
        let port = free_port()?;
        let config = directory.join("sshd_config");
        let text = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {host}\nAuthorizedKeysFile {keys}\nPidFile none\nUsePAM no\n\
             StrictModes no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nUseDNS no\n\
             Subsystem sftp internal-sftp\n",
            host = quoted(&host_key_file),
            // Here a percent sign begins a token.
            keys = quoted(&directory.join("authorized_keys")).replace('%', "%%"),
        );
        write_file(&config, text)?;
        // sshd insists on being called by its whole path, for its own re-execution.
        let mut command = Command::new("/usr/sbin/sshd");
        command
            .arg("-D")
            .arg("-e")
            .arg("-f")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| {
            failed("start sshd", Path::new("/usr/sbin/sshd"), error)
                .advice("install OpenSSH's server (Debian: openssh-server); deploy/prepare.sh does")
        })?;
        let errors = child.stderr.take();
        let mut sshd = Self { child, port, user, folder, client_key, host_key: host_key.to_owned() };
        sshd.wait(errors).await?;
        Ok(sshd)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "checks whether the demonstration's own sshd is running; transfers nothing"
    )]
    /// Waits until it answers; what it said before it ended, if it did.
    async fn wait(&mut self, errors: Option<std::process::ChildStderr>) -> Result<()> {
        for _ in 0..100 {
            if tokio::task::block_in_place(|| std::net::TcpStream::connect(("127.0.0.1", self.port))).is_ok()
            {
                if let Some(errors) = errors {
                    // Its log goes nowhere, but the pipe must be emptied.
                    std::thread::spawn(move || BufReader::new(errors).lines().for_each(drop));
                }
                return Ok(());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                let said: Vec<String> = errors
                    .map(|e| BufReader::new(e).lines().map_while(|l| l.ok()).collect())
                    .unwrap_or_default();
                return Err(Error::permanent(ErrorKind::Internal, "start sshd")
                    .with("status", status)
                    .said(said.join("; ")));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(Error::permanent(ErrorKind::Timeout, "start sshd").with("port", self.port))
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        // An error means that it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "finds a free port for the demonstration's own sshd; transfers nothing"
)]
fn free_port() -> Result<u16> {
    let failed = |error| Error::local_io("find a free port", error);
    Ok(TcpListener::bind("127.0.0.1:0").map_err(failed)?.local_addr().map_err(failed)?.port())
}

/// A path as one word of sshd's configuration.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('\\', "\\\\").replace('"', "\\\""))
}

fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|error| {
        failed("run a program", Path::new(&program), error)
            .advice("install OpenSSH's client (Debian: openssh-client)")
    })?;
    if !output.status.success() {
        return Err(Error::permanent(ErrorKind::Internal, "run a program")
            .with("program", program)
            .with("status", output.status)
            .said(if output.stderr.is_empty() { output.stdout } else { output.stderr }));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
