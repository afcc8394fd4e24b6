//! The servers, and how our own transports and the peers reach them.

use crate::folders::alone::Alone;
use crate::folders::{at_once, number};
use model::definition::Endpoint;
use model::schema::{Value, Values};
use net::Net;
use openssl::hash::MessageDigest;
use openssl::x509::X509;
use std::fmt::Write as _;
use std::fs;
use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use suites::Server;
use testkit::defined;
use transport::Transport;
use transport::folder::FolderTransport;

/// How many connections each peer may use, and we where a connection carries one file at a time. Those of SFTP carry
/// many: there it is the default.
pub(crate) static CONNECTIONS: LazyLock<String> =
    LazyLock::new(|| number("WAYBILL_BENCH_CONNECTIONS", 16).to_string());

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    Sftp,
    Ftp,
    /// TLS begun by a command (AUTH).
    Ftps,
    Webdav,
}

impl Protocol {
    pub(crate) const ALL: [Self; 4] = [Self::Sftp, Self::Ftp, Self::Ftps, Self::Webdav];

    /// Whether it is among `WAYBILL_BENCH_PROTOCOLS`; without these, each is.
    pub(crate) fn is_wanted(self) -> bool {
        std::env::var("WAYBILL_BENCH_PROTOCOLS")
            .map_or(true, |named| named.split(',').any(|name| name == format!("{self:?}")))
    }
}

/// Ports of FTP's data connections: outside those that the system gives away by itself.
const DATA_PORTS: RangeInclusive<u16> = 10_000..=18_999;

/// A server.
pub(crate) struct Site {
    pub(crate) protocol: Protocol,
    pub(crate) files: PathBuf,
    pub(crate) server: Server,
    /// Where clients connect to: the server's address, or that of a proxy before it.
    pub(crate) host: &'static str,
    pub(crate) port: u16,
}

/// What a definition of an endpoint there says.
struct Fields {
    transport: &'static str,
    url: String,
    options: Vec<(&'static str, String)>,
    /// The options whose values are secrets.
    secrets: Vec<(&'static str, String)>,
    /// The pin of the server's certificate, where there is TLS.
    pin: Option<String>,
}

impl Site {
    pub(crate) fn start(protocol: Protocol) -> Self {
        // rclone gives up at the answer of ProFTPD to OPTS UTF8.
        let ports = format!("--passiveportrange={}:{}", DATA_PORTS.start(), DATA_PORTS.end());
        let ftp = ["--server", "pureftpd", "--extra", &ports];
        let server = match protocol {
            Protocol::Sftp => {
                Server::start("sshd", &["--extra", "MaxStartups 100", "--extra", "MaxSessions 100"])
            }
            Protocol::Ftp => Server::start("ftp", &ftp),
            Protocol::Ftps => Server::start("ftp", &[&ftp[..], &["--tls", "explicit"]].concat()),
            Protocol::Webdav => Server::start("apache", &["--authentication", "basic"]),
        };
        let files = PathBuf::from(server.text("folder"));
        let port = server.port();
        Self { protocol, files, server, host: "127.0.0.1", port }
    }

    /// The ports of its data connections.
    pub(crate) fn data_ports(&self) -> RangeInclusive<u16> {
        match self.protocol {
            Protocol::Ftp | Protocol::Ftps => DATA_PORTS,
            // None.
            Protocol::Sftp | Protocol::Webdav => RangeInclusive::new(1, 0),
        }
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

    fn fields(&self, directory: &str) -> Fields {
        let (host, port, remote) = (self.host, self.port, self.remote(directory));
        let password = || vec![("password", self.password())];
        let text = |name: &'static str, value: &str| (name, value.to_owned());
        let fields = |transport, scheme: &str, mut options: Vec<_>, secrets| {
            options.push(text("username", self.server.text("user")));
            let url = format!("{scheme}://{host}:{port}/{remote}");
            Fields { transport, url, options, secrets, pin: None }
        };
        match self.protocol {
            Protocol::Sftp => {
                let key = fs::read_to_string(self.server.text("key")).unwrap();
                let options = vec![text("host_key", self.server.text("fingerprint"))];
                fields("sftp", "sftp", options, vec![("private_key", key)])
            }
            Protocol::Ftp => fields("ftp", "ftp", vec![text("security", "none")], password()),
            Protocol::Ftps => {
                let pem = fs::read(self.server.text("certificate")).unwrap();
                let digest = X509::from_pem(&pem).unwrap().digest(MessageDigest::sha256()).unwrap();
                let pin = digest.iter().fold("sha256:".to_owned(), |pin, byte| format!("{pin}{byte:02x}"));
                Fields { pin: Some(pin), ..fields("ftp", "ftp", Vec::new(), password()) }
            }
            Protocol::Webdav => fields("webdav", "dav", vec![text("authentication", "basic")], password()),
        }
    }

    /// Our own transport, with a directory below the server's files.
    pub(crate) fn ours(&self, net: &Net, directory: &str) -> Alone {
        let fields = self.fields(directory);
        let transport: Arc<dyn Transport> = match self.protocol {
            Protocol::Sftp => Arc::new(FolderTransport::of(transport_sftp::Sftp::new(net.clone()))),
            Protocol::Ftp | Protocol::Ftps => {
                Arc::new(FolderTransport::of(transport_ftp::Ftp::new(net.clone())))
            }
            Protocol::Webdav => Arc::new(FolderTransport::of(transport_webdav::Webdav::new(net.clone()))),
        };
        let set: Vec<(&str, &str)> = fields
            .options
            .iter()
            .chain(&fields.secrets)
            .filter(|(name, _)| *name != "username")
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let mut endpoint: Endpoint = defined::endpoint(transport.spec(), "site", &fields.url, &set);
        let mut set = vec![("username", Value::Text(self.server.text("user").to_owned()))];
        if self.protocol != Protocol::Sftp {
            set.push(("connections", Value::Integer(CONNECTIONS.parse().unwrap())));
        }
        set.extend(fields.pin.map(|pin| {
            ("trust", Value::Table(Values::of(vec![("pins", Value::List(vec![Value::Text(pin)]))])))
        }));
        for (name, value) in set {
            endpoint.options = endpoint.options.with(name, value);
        }
        Alone { transport, endpoint: Arc::new(endpoint) }
    }

    /// The same as a document; secrets lie in files below `place`.
    pub(crate) fn document(&self, directory: &str, place: &Path) -> String {
        let fields = self.fields(directory);
        let mut text = format!(
            "[endpoint.site]\ntransport = \"{}\"\nurl = \"{}\"\nthrottle = {{ deliveries = {} }}\n",
            fields.transport,
            fields.url,
            at_once()
        );
        if self.protocol != Protocol::Sftp {
            writeln!(text, "connections = {}", *CONNECTIONS).unwrap();
        }
        for (name, value) in &fields.options {
            writeln!(text, "{name} = \"{value}\"").unwrap();
        }
        for (name, value) in &fields.secrets {
            let path = place.join(name);
            fs::write(&path, value).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            writeln!(text, "{name} = \"${{file:{}}}\"", path.display()).unwrap();
        }
        if let Some(pin) = fields.pin {
            writeln!(text, "trust = {{ pins = [\"{pin}\"] }}").unwrap();
        }
        text
    }

    pub(crate) fn password(&self) -> String {
        self.server.text("password").to_owned()
    }

    /// The path of a directory as clients of this server name it.
    pub(crate) fn remote(&self, directory: &str) -> String {
        match self.protocol {
            Protocol::Ftp | Protocol::Ftps => format!("files/{directory}"),
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
        // One that was just renamed counts the next time.
        if let Some(metadata) = entry.metadata().ok().filter(std::fs::Metadata::is_file) {
            found = (found.0 + 1, found.1 + metadata.len());
        }
    }
    found
}
