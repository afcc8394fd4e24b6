//! The options of FTP endpoints: declared and read here.

mod login;

use crate::protocol::listing::Form;
use crate::protocol::names::Names;
use login::Login;
use model::definition::Endpoint;
use model::schema::{
    Field, FieldPath, Findings, Group, Kind, Paths, Roles, Rule, Scheme, Section, TEXTS, TransportSpec,
};
use model::{RemotePath, Result};
use net::{ConnectOptions, PoolLimits, Sharing};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;
use transport::folder::{FolderPlace, LoginAddress, options as folder};

/// The ports of FTP, and of FTP that begins with TLS.
const PORT: u16 = 21;
const IMPLICIT_PORT: u16 = 990;

/// Ends the names of files that are still being written, unless another suffix is given.
const TEMPORARY: &str = ".a";

/// `transport = "ftp"`, declared.
pub static SPEC: TransportSpec = TransportSpec {
    schemes: &[
        Scheme { name: "ftp", port: Some(PORT), paths: Paths::Login, connects_per_poll: true },
        Scheme { name: "ftps", port: Some(IMPLICIT_PORT), paths: Paths::Login, connects_per_poll: true },
    ],
    roles: Roles { source: true, destination: true, listener: false },
    endpoint: &[&LOGIN, &SERVER, &net::CONNECTION, &net::TLS, &net::POOL],
    source: &[&folder::SOURCE, &UNFINISHED],
    destination: &[&folder::DESTINATION, &WRITING, &folder::PERMISSIONS],
    ..TransportSpec::new("ftp", "A directory of an FTP server, with or without TLS.")
};

static LOGIN: Group = Group::of(&[
    Field::optional(
        "username",
        Kind::Text,
        "The user to log in as. Without it and without `credential` the login is anonymous.",
    )
    .login(),
    Field::optional(
        "password",
        Kind::Secret,
        "The user's password; for an anonymous login an e-mail address, where the server asks for one.",
    )
    .login(),
    Field::optional(
        "credential",
        Kind::Name(Section::CREDENTIAL),
        "The name of a [credential.NAME], which several endpoints can share: used instead of `username` and \
        `password`.",
    )
    .login(),
])
.with(&[Rule::AtMostOne(&["username", "credential"]), Rule::AtMostOne(&["password", "credential"])]);

static SERVER: Group = Group::of(&[
    Field::optional(
        "security",
        Kind::Choice(&["explicit", "implicit", "none"]),
        "How the connection is protected. `explicit` begins TLS by a command (AUTH TLS) before the login; the default for \
        ftp://. `implicit` begins with TLS; the only choice, and the default, for ftps://. `none` sends password and files \
        in the clear: all between here and the server can read and change them.",
    ),
    Field::preset(
        "data_protection",
        Kind::Bool,
        "true",
        "Whether listings and files are protected by TLS too (PROT P). false protects the login alone (PROT C), for \
        servers that cannot do more.",
    ),
    Field::preset(
        "clear_command_channel",
        Kind::Bool,
        "false",
        "Whether TLS on the control connection ends after the login (CCC), for firewalls that must read the ports of data \
        connections. Commands and file names are then readable, and can be changed, on the way; password and data stay \
        protected.",
    ),
    Field::preset(
        "session_reuse",
        Kind::Bool,
        "true",
        "Whether data connections resume the TLS session of the control connection, as many servers require. Switch it off \
        only for a server that fails with it.",
    ),
    Field::preset(
        "data_connection",
        Kind::Choice(&["passive", "active"]),
        "passive",
        "Who opens the data connections for listings and files: Waybill (`passive`, EPSV and PASV), or the server (`active`, \
        EPRT and PORT), for servers behind firewalls that let nobody in. Waybill then listens on the address that its \
        control connection has, and takes connections from the server's address only. Not through a proxy.",
    ),
    Field::optional(
        "active_ports",
        Kind::Text,
        "The ports on which Waybill listens for active data connections, such as \"50000-50100\". Left out, any free port.",
    )
    .per_environment(),
    Field::optional(
        "active_address",
        Kind::Text,
        "The address that is sent to servers for active data connections (PORT, EPRT), where address translation gives Waybill \
        another one outside, such as \"203.0.113.5\". Left out, the one that the control connection has here.",
    )
    .per_environment(),
    Field::preset(
        "passive_address",
        Kind::Choice(&["same", "stated"]),
        "same",
        "Where data connections go: to the `same` address as the control connection, whatever address the server states, \
        which is right behind address translation too; or to the address that the server has `stated`, for servers that \
        send data from another host.",
    ),
    Field::preset(
        "keepalive",
        Kind::Duration,
        "0s",
        "How often NOOP is sent on the control connection while a transfer runs, for firewalls and servers that end it as \
        idle. \"0s\" sends none. Where the control connection is lost all the same, Waybill looks whether the file is whole.",
    ),
    Field::preset(
        "listing",
        Kind::Choice(&["auto", "mlsd", "unix", "windows", "as400", "vms", "mvs"]),
        "auto",
        "How directories are listed. `auto` uses MLSD where the server has it, else LIST, and recognises the lines of Unix, \
        Windows, IBM i and OpenVMS. `mlsd` uses MLSD although the server does not offer it. The others use LIST, and read its \
        lines so only: `as400` is IBM i, `mvs` is z/OS outside its Unix file system.",
    ),
    Field::preset(
        "type",
        Kind::Choice(&["binary", "ascii"]),
        "binary",
        "How files are transferred: byte for byte, or as text (`ascii`, TYPE A), whose line ends become the server's. Waybill's \
        own are LF. Sizes can then not be compared: a file counts as whole when the server has confirmed it.",
    ),
    Field::preset(
        "encoding",
        Kind::Text,
        "UTF-8",
        "The encoding of names on this server, such as \"ISO-8859-1\", \"windows-1252\" or \"Shift_JIS\". Waybill's own are \
        UTF-8; names that are not go as they are.",
    ),
    Field::preset(
        "allocate",
        Kind::Bool,
        "false",
        "Whether the size of each file is sent to the server before the file (ALLO), for servers that require it.",
    ),
    Field::optional(
        "site_commands",
        TEXTS,
        "Commands of this server that are sent after each login, without the word SITE, such as \"UMASK 022\" or \"NAMEFMT 1\". \
        One that is refused fails the login.",
    ),
]);

static UNFINISHED: Group = Group::of(&[folder::unfinished(TEMPORARY)]);

static WRITING: Group = Group::of(&[folder::temporary(&[Kind::Choice(&["none"]), Kind::Table(&SUFFIX)])]);

static SUFFIX: Group =
    Group::of(&[folder::TEMPORARY_PREFIX, folder::temporary_suffix(TEMPORARY), folder::TEMPORARY_DIRECTORY]);

/// How the control connection is protected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protection {
    /// Not at all.
    None,
    /// By TLS after AUTH TLS.
    Explicit,
    /// By TLS from the first byte.
    Implicit,
}

/// How directories are listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ListBy {
    /// By MLSD where the server offers it, else by LIST.
    Offer,
    /// By MLSD.
    Mlsd,
    /// By LIST, with lines of this form.
    List(Form),
}

/// An FTP endpoint, read and checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Empty for where a login starts.
    pub(crate) directory: RemotePath,
    pub(crate) protection: Protection,
    /// Whether data connections have TLS, where the control connection has.
    pub(crate) protect_data: bool,
    /// Whether they resume its session.
    pub(crate) reuse_session: bool,
    /// Whether the server opens the data connections.
    pub(crate) is_active: bool,
    /// The ports that it is asked to connect to; `None` for any.
    pub(crate) active_ports: Option<RangeInclusive<u16>>,
    /// The address that it is told; `None` for the one that the control connection has here.
    pub(crate) active_address: Option<IpAddr>,
    /// Whether TLS on the control connection ends after the login.
    pub(crate) clears_commands: bool,
    /// Whether data connections go where the server says, or to its own address.
    pub(crate) follow_stated_address: bool,
    pub(crate) list_by: ListBy,
    /// Whether files are transferred as text.
    pub(crate) is_ascii: bool,
    /// The encoding of the server's names.
    pub(crate) names: Names,
    /// Whether ALLO precedes each file.
    pub(crate) allocate: bool,
    /// What is sent after each login, without SITE.
    pub(crate) site_commands: Vec<String>,
    /// How often the control connection gets a sign of life while a transfer runs; `None` for never.
    pub(crate) keepalive: Option<Duration>,
    /// How to connect.
    pub(crate) connecting: ConnectOptions,
    /// How many connections are kept, and how long.
    pub(crate) limits: PoolLimits,
    pub(crate) login: Login,
}

/// How a URL is written, for the error about one that is written otherwise.
const URL_FORM: &str = "write it as ftp://host:port/directory (relative to the login directory) or ftp://host:port//directory (absolute)";

/// The host, port and directory of an endpoint's address.
///
/// # Errors
/// What is wrong with the address.
fn address(endpoint: &Endpoint) -> Result<LoginAddress, String> {
    let is_implicit = endpoint.url().is_some_and(|url| url.scheme() == "ftps");
    let address = LoginAddress::read(endpoint, URL_FORM, if is_implicit { IMPLICIT_PORT } else { PORT })?;
    if address.directory.as_bytes().iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        return Err("contains a line break, which FTP cannot carry in a name".into());
    }
    Ok(address)
}

impl Settings {
    /// Reads an endpoint, and reports each mistake at its field. No I/O.
    pub(crate) fn read(endpoint: &Endpoint, findings: &mut Findings<'_>) -> Option<Self> {
        let options = &endpoint.options;
        let address = findings.accept("url", address(endpoint));
        let protection = findings.accept("security", protection(endpoint));
        let login = Login::read(endpoint, findings);
        let connecting = ConnectOptions::read(options, findings);
        let limits = PoolLimits::read(options, Sharing::Exclusive, connecting.timeout);
        let list_by = match options.text("listing").unwrap_or_default() {
            "mlsd" => ListBy::Mlsd,
            "unix" => ListBy::List(Form::Unix),
            "windows" => ListBy::List(Form::Windows),
            "as400" => ListBy::List(Form::As400),
            "vms" => ListBy::List(Form::Vms),
            "mvs" => ListBy::List(Form::Mvs),
            _ => ListBy::Offer,
        };
        let names = findings.accept("encoding", Names::of(options.text("encoding").unwrap_or("UTF-8")));
        let site_commands: Vec<String> = options.texts("site_commands").map(str::to_owned).collect();
        for (command, number) in site_commands.iter().zip(1..) {
            if breaks(command) || command.trim().is_empty() {
                findings.error(
                    FieldPath::from("site_commands").item(number),
                    "is empty, or contains a line break",
                );
            }
        }
        let is_active = options.text("data_connection") == Some("active");
        let active_ports = match options.text("active_ports") {
            None => None,
            Some(_) if !is_active => {
                findings.error("active_ports", "is for data_connection = \"active\" only");
                None
            }
            Some(text) => findings.accept("active_ports", ports(text)),
        };
        let active_address = match options.text("active_address") {
            None => None,
            Some(_) if !is_active => {
                findings.error("active_address", "is for data_connection = \"active\" only");
                None
            }
            Some(text) => {
                let address = text.trim().parse::<IpAddr>();
                findings.accept(
                    "active_address",
                    address.map_err(|_| "is no IP address, such as \"203.0.113.5\""),
                )
            }
        };
        let clears_commands = options.bool("clear_command_channel");
        if clears_commands && protection == Some(Protection::None) {
            findings.error(
                "clear_command_channel",
                "needs TLS, which security = \"none\" does not have; remove it",
            );
        }
        if is_active && connecting.proxy.as_deref().is_some_and(|proxy| proxy != net::NO_PROXY) {
            findings.error(
                "data_connection",
                "is active, and a server cannot connect back through the endpoint's proxy",
            );
        }
        let LoginAddress { host, port, directory } = address?;
        Some(Self {
            host,
            port,
            directory,
            protection: protection?,
            protect_data: options.bool("data_protection"),
            reuse_session: options.bool("session_reuse"),
            is_active,
            active_ports,
            active_address,
            clears_commands,
            follow_stated_address: options.text("passive_address") == Some("stated"),
            list_by,
            is_ascii: options.text("type") == Some("ascii"),
            names: names?,
            allocate: options.bool("allocate"),
            site_commands,
            keepalive: options.duration("keepalive"),
            connecting,
            limits,
            login,
        })
    }

    /// The settings of an endpoint that is used now.
    ///
    /// # Errors
    /// `ConfigInvalid`, naming the field.
    pub(crate) fn of(endpoint: &Endpoint) -> Result<Self> {
        Findings::required(Section::ENDPOINT, &endpoint.name, |findings| Self::read(endpoint, findings))
    }

    /// Warns of protections that are switched off.
    pub(crate) fn warn(&self, findings: &mut Findings<'_>) {
        if self.protection == Protection::None {
            let message = "is none: password and files can be read and changed by everybody between here and the server";
            findings.warning("security", message);
        } else if !self.protect_data {
            let message = "is false: listings and files can be read and changed by everybody between here and the server";
            findings.warning("data_protection", message);
        }
        if self.clears_commands && self.protection != Protection::None {
            let message = "is true: after the login, commands and file names can be read and changed by everybody between here and \
                           the server";
            findings.warning("clear_command_channel", message);
        }
        if self.follow_stated_address {
            let message = "is stated: the server decides to which host data connections go";
            findings.warning("passive_address", message);
        }
    }

    /// Where the folder is.
    pub(crate) fn place(self) -> FolderPlace {
        let user = self.login.shown();
        FolderPlace { address: format!("ftp://{user}@{}", self.target()), directory: self.directory }
    }

    /// The host and port, for people.
    pub(crate) fn target(&self) -> String {
        let (host, port) = (&self.host, self.port);
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

/// A range of ports, `50000-50100`, or one port.
fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.trim().parse::<u16>(), last.trim().parse::<u16>()) {
        (Ok(first @ 1..), Ok(last)) if first <= last => Ok(first..=last),
        _ => Err(format!("is '{text}'; write the first and the last port as \"50000-50100\"")),
    }
}

/// How an endpoint is protected, by its scheme and `security`.
fn protection(endpoint: &Endpoint) -> Result<Protection, String> {
    let implicit = endpoint.url().is_some_and(|url| url.scheme() == "ftps");
    match (implicit, endpoint.options.text("security")) {
        (true, None | Some("implicit")) | (false, Some("implicit")) => Ok(Protection::Implicit),
        (true, Some(other)) => Err(format!(
            "is '{other}', but the url begins with ftps://, which begins with TLS; write ftp:// for security = \"{other}\""
        )),
        (false, Some("none")) => Ok(Protection::None),
        (false, _) => Ok(Protection::Explicit),
    }
}

fn breaks(text: &str) -> bool {
    text.contains(['\r', '\n', '\0'])
}

#[cfg(test)]
mod tests;
