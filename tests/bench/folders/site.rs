//! The servers, and how our own transports and the peers reach them.

use crate::folders::alone::Alone;
use model::definition::Endpoint;
use model::schema::Value;
use net::Net;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use suites::Server;
use testkit::defined;
use transport::Transport;
use transport::folder::FolderTransport;

/// How many connections we and each peer may use.
pub(crate) const CONNECTIONS: &str = "16";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    Sftp,
    Ftp,
    Webdav,
}

/// A server.
pub(crate) struct Site {
    pub(crate) protocol: Protocol,
    pub(crate) files: PathBuf,
    pub(crate) server: Server,
    /// The port that clients connect to: the server's, or that of a proxy before it.
    pub(crate) port: u16,
}

impl Site {
    pub(crate) fn start(protocol: Protocol) -> Self {
        let server = match protocol {
            Protocol::Sftp => {
                Server::start("sshd", &["--extra", "MaxStartups 100", "--extra", "MaxSessions 100"])
            }
            Protocol::Ftp => Server::start("ftp", &["--server", "proftpd", "--extra", "MaxInstances 200"]),
            Protocol::Webdav => Server::start("apache", &["--authentication", "basic"]),
        };
        let files = PathBuf::from(server.text("folder"));
        let port = server.port();
        Self { protocol, files, server, port }
    }

    /// An empty directory of this name that the server's user may write to.
    pub(crate) fn empty(&self, name: &str) -> PathBuf {
        let path = self.files.join(name);
        if path.exists() {
            fs::remove_dir_all(&path).unwrap();
        }
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        path
    }

    /// Our own transport, with a directory below the server's files.
    pub(crate) fn ours(&self, net: &Net, directory: &str) -> Alone {
        let (transport, url, set): (Arc<dyn Transport>, String, Vec<(&str, String)>) = match self.protocol {
            Protocol::Sftp => {
                let key = fs::read_to_string(self.server.text("key")).unwrap();
                let set =
                    vec![("host_key", self.server.text("fingerprint").to_owned()), ("private_key", key)];
                let transport = FolderTransport::of(transport_sftp::Sftp::new(net.clone()));
                (Arc::new(transport), format!("sftp://127.0.0.1:{}/{directory}", self.port), set)
            }
            Protocol::Ftp => {
                let set = vec![("security", "none".to_owned()), ("password", self.password())];
                let transport = FolderTransport::of(transport_ftp::Ftp::new(net.clone()));
                (Arc::new(transport), format!("ftp://127.0.0.1:{}/files/{directory}", self.port), set)
            }
            Protocol::Webdav => {
                let set = vec![("authentication", "basic".to_owned()), ("password", self.password())];
                let transport = FolderTransport::of(transport_webdav::Webdav::new(net.clone()));
                (Arc::new(transport), format!("dav://127.0.0.1:{}/{directory}", self.port), set)
            }
        };
        let set: Vec<(&str, &str)> = set.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut endpoint: Endpoint = defined::endpoint(transport.spec(), "site", &url, &set);
        let fields = [("username", self.server.text("user")), ("connections", CONNECTIONS)];
        for (name, text) in fields {
            let value = match name {
                "connections" => Value::Integer(text.parse().unwrap()),
                _ => Value::Text(text.to_owned()),
            };
            endpoint.options = endpoint.options.with(name, value);
        }
        Alone { transport, endpoint: Arc::new(endpoint) }
    }

    pub(crate) fn password(&self) -> String {
        self.server.text("password").to_owned()
    }

    /// The path of a directory as clients of this server name it.
    pub(crate) fn remote(&self, directory: &str) -> String {
        match self.protocol {
            Protocol::Ftp => format!("files/{directory}"),
            Protocol::Sftp | Protocol::Webdav => directory.to_owned(),
        }
    }
}

/// Files of so many bytes in a directory.
pub(crate) fn make(directory: &Path, files: usize, bytes: usize) {
    use std::io::Write;
    let block = suites::pair::random(bytes.min(16 << 20));
    for number in 0..files {
        let mut file = fs::File::create(directory.join(format!("{number:06}.dat"))).unwrap();
        for begin in (0..bytes).step_by(block.len()) {
            file.write_all(&block[..block.len().min(bytes - begin)]).unwrap();
        }
    }
}

/// How many bytes lie in a directory's files, and in how many.
pub(crate) fn measure(directory: &Path) -> (usize, u64) {
    let mut found = (0, 0);
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let metadata = entry.metadata().unwrap();
        if metadata.is_file() {
            found = (found.0 + 1, found.1 + metadata.len());
        }
    }
    found
}
