//! A place of each folder protocol: a directory of this machine, or a real server.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use suites::Server;

/// The protocols.
pub const ALL: [&str; 5] = ["file", "sftp", "ftp", "ftps", "webdav"];

/// Whether a protocol is a kind of FTP.
pub fn is_ftp(protocol: &str) -> bool {
    matches!(protocol, "ftp" | "ftps")
}

/// A server or a directory.
pub struct Site {
    /// Where its files are on this machine.
    pub files: PathBuf,
    /// The fields of an endpoint there; `{path}` stands for a directory below [`Site::files`].
    pub fields: String,
    _server: Option<Server>,
}

impl Site {
    /// Starts it; what it needs is written to `place`.
    pub fn start(protocol: &str, place: &Path) -> Self {
        // Definitions read only files below the gateway's own roots.
        let private = |name: String, content: &[u8]| {
            let path = place.join(name);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            format!("\"${{file:{}}}\"", path.display())
        };
        let trusted = |server: &Server| {
            let copy = place.join(format!("{protocol}.pem"));
            fs::copy(server.text("certificate"), copy).unwrap();
            format!("trust = {{ authorities = [\"{protocol}\"] }}")
        };
        let (server, url, more) = match protocol {
            "file" => {
                let files = place.join("files");
                fs::create_dir(&files).unwrap();
                let fields = format!("transport = \"file\"\nurl = \"file://{}/{{path}}\"", files.display());
                return Self { files, fields, _server: None };
            }
            "sftp" => {
                let server = Server::start("sshd", &[]);
                let key = private("ssh.key".into(), &fs::read(server.text("key")).unwrap());
                let more = format!("host_key = \"{}\"\nprivate_key = {key}", server.text("fingerprint"));
                let url = format!("sftp://127.0.0.1:{}/{{path}}", server.port());
                (server, url, more)
            }
            "ftp" => {
                let server = Server::start("ftp", &["--server", "vsftpd"]);
                let url = format!("ftp://127.0.0.1:{}/files/{{path}}", server.port());
                (server, url, "security = \"none\"".to_owned())
            }
            "ftps" => {
                let server = Server::start("ftp", &["--server", "proftpd", "--tls", "implicit"]);
                let url = format!("ftps://127.0.0.1:{}/files/{{path}}", server.port());
                let more = trusted(&server);
                (server, url, more)
            }
            "webdav" => {
                let server = Server::start("apache", &["--authentication", "digest", "--tls"]);
                let url = format!("{}/{{path}}", server.text("url"));
                let more = format!("authentication = \"digest\"\n{}", trusted(&server));
                (server, url, more)
            }
            _ => unreachable!(),
        };
        let login = if protocol == "sftp" {
            String::new()
        } else {
            format!(
                "password = {}",
                private(format!("{protocol}.password"), server.text("password").as_bytes())
            )
        };
        let transport = if is_ftp(protocol) { "ftp" } else { protocol };
        let user = server.text("user");
        let fields =
            format!("transport = \"{transport}\"\nurl = \"{url}\"\nusername = \"{user}\"\n{login}\n{more}");
        Self { files: PathBuf::from(server.text("folder")), fields, _server: Some(server) }
    }

    /// Makes a directory that the server may write to.
    pub fn directory(&self, name: &str) -> PathBuf {
        let path = self.files.join(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        path
    }
}

/// The certificates of the servers that have one, as definitions of a gateway beside `place`.
pub fn certificates(place: &Path) -> String {
    let one = |protocol: &str| {
        let pem = place.join(format!("{protocol}.pem"));
        format!("[certificate.{protocol}]\npem = \"${{file:{}}}\"\n", pem.display())
    };
    ["ftps", "webdav"].map(one).concat()
}
