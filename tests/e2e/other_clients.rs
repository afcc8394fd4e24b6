//! rclone and lftp write slowly into directories that are polled all the time, over SFTP and FTP: each file is taken once,
//! and whole. rclone writes under another name and renames; lftp writes under the file's own name.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use suites::pair::{PATIENCE, events, files_in, random};
use suites::{GatewayBuilder, Server, eventually};

/// At this rate the file below takes some seconds, and several polls.
const RATE: usize = 200_000;
const LENGTH: usize = 1_200_000;

/// The server, and how each client reaches its directory.
struct Site {
    server: Server,
    endpoint: String,
    rclone: Vec<(&'static str, String)>,
    lftp: String,
    /// The directory as the clients name it.
    directory: &'static str,
}

/// A password as rclone takes it.
fn obscured(password: &str) -> String {
    let mut command = Command::new("rclone");
    let command = command.args(["obscure", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
}

fn secret(root: &Path, bytes: &[u8]) -> String {
    let file = root.join("secret");
    fs::write(&file, bytes).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    format!("\"${{file:{}}}\"", file.display())
}

fn sftp(root: &Path) -> Site {
    let server = Server::start("sshd", &[]);
    let (port, user, key) = (server.port(), server.text("user").to_owned(), server.text("key").to_owned());
    let known = server.info["known_hosts"]["port"].as_str().unwrap();
    let endpoint = format!(
        "transport = \"sftp\"\nurl = \"sftp://127.0.0.1:{port}\"\nusername = \"{user}\"\nprivate_key = {}\nhost_key = \"{}\"",
        secret(root, &fs::read(&key).unwrap()),
        server.text("fingerprint"),
    );
    let rclone = vec![
        ("TYPE", "sftp".to_owned()),
        ("HOST", "127.0.0.1".to_owned()),
        ("PORT", port.to_string()),
        ("USER", user.clone()),
        ("KEY_FILE", key.clone()),
        ("KNOWN_HOSTS_FILE", known.to_owned()),
        ("SHELL_TYPE", "none".to_owned()),
    ];
    let lftp = format!(
        "set sftp:connect-program \"ssh -a -x -i {key} -o UserKnownHostsFile={known} -o IdentitiesOnly=yes\"\n\
         open -u {user}, sftp://127.0.0.1:{port}\n"
    );
    Site { server, endpoint, rclone, lftp, directory: "." }
}

fn ftp(root: &Path) -> Site {
    // rclone asks for OPTS UTF8, which ProFTPD of the tests refuses.
    let server = Server::start("ftp", &["--server", "vsftpd"]);
    let (port, user, password) = (server.port(), server.text("user"), server.text("password"));
    let endpoint = format!(
        "transport = \"ftp\"\nurl = \"ftp://127.0.0.1:{port}/files\"\nsecurity = \"none\"\nusername = \"{user}\"\npassword = {}",
        secret(root, password.as_bytes()),
    );
    let rclone = vec![
        ("TYPE", "ftp".to_owned()),
        ("HOST", "127.0.0.1".to_owned()),
        ("PORT", port.to_string()),
        ("USER", user.to_owned()),
        ("PASS", obscured(password)),
    ];
    let lftp = format!("set ftp:ssl-allow no\nopen -u {user},{password} ftp://127.0.0.1:{port}\n");
    Site { server, endpoint, rclone, lftp, directory: "files" }
}

fn by_rclone(site: &Site, local: &Path) {
    let mut command = Command::new("rclone");
    command.args(["copyto", "--config", "/dev/null", "--retries", "1", "--ignore-checksum"]);
    command.args(["--bwlimit", &format!("{RATE}B"), "--no-check-dest"]);
    for (name, value) in &site.rclone {
        command.env(format!("RCLONE_CONFIG_SITE_{name}"), value);
    }
    command.arg(local).arg(format!("site:{}/by-rclone.bin", site.directory));
    let output = command.output().unwrap();
    // It looks at the file once more at its end, when that may have been taken.
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() || text.contains("not found"), "{text}");
}

fn by_lftp(site: &Site, local: &Path) {
    let script = format!(
        "set cmd:fail-exit yes\nset net:max-retries 1\nset xfer:log no\nset net:limit-rate {RATE}:{RATE}\n\
         set net:limit-max 0\n{}put -O {} {} -o by-lftp.bin\n",
        site.lftp,
        site.directory,
        local.display(),
    );
    let mut command = Command::new("lftp");
    let command = command.arg("--norc").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn no_half_file_is_taken(site: impl FnOnce(&Path) -> Site) {
    let root = tempfile::Builder::new().prefix("waybill-e2e-").tempdir().unwrap();
    let site = site(root.path());
    fs::create_dir(root.path().join("to")).unwrap();
    let local = root.path().join("large.bin");
    let content = random(LENGTH);
    fs::write(&local, &content).unwrap();
    let mut gateway = GatewayBuilder::new(root.path(), "node").build();
    // The files lie still for far less time than their writing takes.
    let document = format!(
        r#"
[endpoint.there]
{endpoint}
[endpoint.here]
transport = "file"
url = "file://{at}/to"
[flow.in]
source = {{ endpoint = "there", mask = "*.bin", every = "1s", stable_for = "3s", after = "delete" }}
[[flow.in.destination]]
endpoint = "here"
"#,
        endpoint = site.endpoint,
        at = root.path().display(),
    );
    gateway.define("flows.toml", &document);
    gateway.start();
    by_lftp(&site, &local);
    by_rclone(&site, &local);
    let found = eventually(&format!("both arrive\n{}", gateway.log()), PATIENCE, || {
        let found = files_in(&root.path().join("to"));
        (found.len() >= 2).then_some(found)
    });
    for (name, bytes) in &found {
        assert!(*bytes == content, "{name}: {} bytes of {LENGTH}", bytes.len());
    }
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["by-lftp.bin", "by-rclone.bin"]);
    assert_eq!(gateway.wait_for("completed", 2, PATIENCE).len(), 2);
    // Each was read once: nothing was found to have changed meanwhile.
    for kind in ["offer.mismatch", "offer.backed_off", "offer.changed"] {
        assert!(events(&gateway, kind).is_empty(), "{kind}: {:?}", events(&gateway, kind));
    }
    assert!(files_in(Path::new(site.server.text("folder"))).is_empty());
}

#[test]
fn files_that_rclone_and_lftp_write_slowly_over_sftp_are_taken_whole() {
    no_half_file_is_taken(sftp);
}

#[test]
fn files_that_rclone_and_lftp_write_slowly_over_ftp_are_taken_whole() {
    no_half_file_is_taken(ftp);
}
