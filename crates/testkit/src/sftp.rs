//! An SFTP server on loopback that misbehaves on command: what OpenSSH never does, and servers of partners do.
//!
//! It serves a temporary directory over SSH and speaks SFTP version 3 (draft-ietf-secsh-filexfer-02) by its own small
//! code, so that a client's mistakes are not shared. A test sets [`Switch`]es for paths while it runs:
//!
//! ```
//! use testkit::sftp::{Op, SftpServer, Switch, ReportedIn};
//! let server = SftpServer::start().unwrap();
//! server.put("in/order.edi", b"UNB+...");
//! server.switch("in/*", Switch::SizeOff(ReportedIn::EVERYWHERE, 16));
//! server.switch("*", Switch::Status(Op::Rename, 3, "Permission denied"));
//! ```
//!
//! To add a switch: a variant of [`Switch`], and the place in `session` or `attributes` that asks for it. The server has
//! a thread and a runtime of its own, so tests with and without a runtime use it alike; dropped, it is gone.

mod attributes;
mod session;
mod ssh;
mod switches;
mod wire;

pub use switches::{Greeting, Op, ReportedIn, Seen, Switch};

use russh::keys::PrivateKey;
use russh::keys::ssh_key::private::Ed25519Keypair;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use switches::Switches;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// The user that may log in; by this password, or by any private key.
pub const USER: &str = "partner";

/// The password of [`USER`].
pub const PASSWORD: &str = "open sesame";

/// The server.
pub struct SftpServer {
    files: TempDir,
    address: SocketAddr,
    host_key: PrivateKey,
    switches: Arc<Switches>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl SftpServer {
    /// Starts on a free port of loopback, over an empty directory.
    ///
    /// # Errors
    /// No port, no directory, no thread.
    pub fn start() -> io::Result<Self> {
        let files = tempfile::tempdir()?;
        // Another key for each server: none is trusted by what another one showed.
        let (first, second) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
        let mut seed = [0; 32];
        seed[..16].copy_from_slice(first.as_bytes());
        seed[16..].copy_from_slice(second.as_bytes());
        let host_key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let switches = Arc::new(Switches::new(files.path().to_owned()));
        let (stop, stopped) = oneshot::channel();
        let (served, key) = (Arc::clone(&switches), host_key.clone());
        let serve = move || {
            runtime.block_on(async {
                let Ok(listener) = TcpListener::from_std(listener) else { return };
                tokio::select! {
                    () = ssh::serve(listener, key, served) => {}
                    _ = stopped => {}
                }
            });
        };
        let thread = std::thread::Builder::new().name("sftp server".into()).spawn(serve)?;
        Ok(Self { files, address, host_key, switches, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a directory of it, taken from where a login starts; empty for that start itself.
    #[must_use]
    pub fn url(&self, directory: &str) -> String {
        format!("sftp://{}/{directory}", self.address)
    }

    /// The fingerprint of its host key, as `SHA256:…`.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.host_key.public_key().fingerprint(russh::keys::HashAlg::Sha256).to_string()
    }

    /// Its public host key, as `ssh-ed25519 AAAA…`.
    #[must_use]
    pub fn public_key(&self) -> String {
        self.host_key.public_key().to_openssh().unwrap_or_default()
    }

    /// The directory that it serves, on this machine's disk.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.files.path()
    }

    /// Where a path of the server lies on this machine's disk.
    #[must_use]
    pub fn at(&self, path: &str) -> PathBuf {
        self.files.path().join(path.trim_start_matches('/'))
    }

    /// Puts a file there, making its directories.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn try_put(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.at(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, bytes)
    }

    /// Puts a file there, making its directories.
    ///
    /// # Panics
    /// It cannot be written: the test cannot go on.
    #[allow(clippy::expect_used, reason = "a test cannot go on without its file")]
    pub fn put(&self, path: &str, bytes: &[u8]) {
        self.try_put(path, bytes).expect("a file is put on the SFTP server");
    }

    /// A file's content, if it is there.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<Vec<u8>> {
        std::fs::read(self.at(path)).ok()
    }

    /// The names in a directory, in order; none for one that is not there.
    #[must_use]
    pub fn names(&self, directory: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.at(directory)) else { return Vec::new() };
        let mut names: Vec<_> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Sets a switch for the paths of a pattern: relative to where a login starts, with one `*` at most, which
    /// stands for any characters. Of several that speak of the same thing the newest counts.
    pub fn switch(&self, pattern: &str, switch: Switch) {
        self.switches.set(pattern, switch, None);
    }

    /// The same, for the first so many times that it has an effect.
    pub fn switch_times(&self, pattern: &str, times: u32, switch: Switch) {
        self.switches.set(pattern, switch, Some(times));
    }

    /// Takes all switches of a pattern back.
    pub fn unswitch(&self, pattern: &str) {
        self.switches.remove(pattern);
    }

    /// Changes how connections made from now on are greeted.
    pub fn greeting(&self, change: impl FnOnce(&mut Greeting)) {
        self.switches.greeting(change);
    }

    /// The requests that came so far, with the path that each was about.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.switches.seen()
    }

    /// How many requests of a kind came about paths of a pattern.
    #[must_use]
    pub fn count(&self, op: Op, pattern: &str) -> usize {
        let seen = self.switches.seen();
        seen.iter().filter(|seen| seen.op == op && switches::matches(pattern, &seen.path)).count()
    }
}

impl Drop for SftpServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
