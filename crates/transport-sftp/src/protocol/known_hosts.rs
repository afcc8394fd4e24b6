//! OpenSSH's `known_hosts` (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"): which keys are on file for a host.
//!
//! Lines name hosts by name or address, with patterns or hashed, several to a line; a host may have
//! several lines and key types. A name with a port other than 22 is written `[host]:port`, and as with
//! OpenSSH a line without a port stands for every port that has none of its own.

mod line;

pub(crate) use line::read;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use model::HostKeyStanding;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use std::net::{IpAddr, Ipv6Addr};

/// The content of a `known_hosts` file.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownHosts {
    lines: Vec<Line>,
    unread: Vec<Unread>,
}

/// A line that cannot be read.
#[derive(Clone, Debug)]
struct Unread {
    number: usize,
    why: String,
    revokes: bool,
    /// Whose line it is, where that much can be read.
    hosts: Option<Hosts>,
}

#[derive(Clone, Debug)]
struct Line {
    number: usize,
    mark: Mark,
    hosts: Hosts,
    key_type: String,
    key: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mark {
    None,
    Revoked,
    Authority,
}

#[derive(Clone, Debug)]
enum Hosts {
    Patterns(Vec<Pattern>),
    Hashed { salt: Vec<u8>, hash: Vec<u8> },
}

#[derive(Clone, Debug)]
struct Pattern {
    negated: bool,
    text: String,
}

/// A key on file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OnFile<'a> {
    /// The line it is on, from 1.
    pub(crate) line: usize,
    /// Such as `ssh-ed25519`.
    pub(crate) key_type: &'a str,
    /// The key as it goes over the wire.
    pub(crate) key: &'a [u8],
}

/// What is on file for one host.
#[derive(Debug, Default)]
pub(crate) struct Found<'a> {
    /// Keys that the host may have.
    pub(crate) keys: Vec<OnFile<'a>>,
    /// Keys that nobody may have any more.
    pub(crate) revoked: Vec<OnFile<'a>>,
    /// Authorities that may have certified its key.
    pub(crate) authorities: Vec<OnFile<'a>>,
}

impl Found<'_> {
    /// How a key that the host showed stands.
    pub(crate) fn standing(&self, key_type: &str, key: &[u8]) -> HostKeyStanding {
        if self.revoked.iter().any(|line| line.key == key) {
            HostKeyStanding::Revoked
        } else if self.keys.iter().any(|line| line.key == key) {
            HostKeyStanding::Known
        } else if self.keys.iter().any(|line| line.key_type == key_type) {
            HostKeyStanding::Changed
        } else {
            HostKeyStanding::Unknown
        }
    }

    /// The numbers of its lines.
    pub(crate) fn lines(&self) -> impl Iterator<Item = usize> {
        self.keys.iter().chain(&self.revoked).chain(&self.authorities).map(|line| line.line)
    }
}

impl KnownHosts {
    /// Reads lines that are no file's.
    pub(crate) fn of(lines: &[String]) -> Self {
        Self::parse(&lines.join("\n"))
    }

    /// Reads a file's content. A line that cannot be read is kept apart, so that one of another host does no harm;
    /// whether it may be of a host is asked by [`KnownHosts::unreadable_for`].
    pub(crate) fn parse(text: &str) -> Self {
        let mut hosts = Self::default();
        for (place, line) in text.lines().enumerate() {
            let line = line.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let number = place + 1;
            match parse_line(number, line) {
                Ok(Some(line)) => hosts.lines.push(line),
                Ok(None) => {}
                Err(why) => hosts.unread.push(unread(number, line, why)),
            }
        }
        hosts
    }

    /// The first line that cannot be read and may be of this host: its key, or one that it must not have, would be
    /// overlooked. Where a line revokes, every name and address that may lead to the host counts.
    pub(crate) fn unreadable_for(&self, host: &str, port: u16) -> Option<String> {
        let candidates = [Candidate::new(host, Some(port)), Candidate::new(host, None)];
        let concerns = |line: &&Unread| match &line.hosts {
            // Nobody can tell whose it is. That it names a key is a loss to its host; that it revokes one may not be lost.
            None => line.revokes,
            Some(hosts) => {
                candidates.iter().any(|name| hosts.matches(name)) || line.revokes && hosts.may_be_addresses()
            }
        };
        let line = self.unread.iter().find(concerns)?;
        Some(format!("line {}: {}", line.number, line.why))
    }

    /// The lines that cannot be read, and why.
    pub(crate) fn unread(&self) -> Vec<String> {
        self.unread.iter().map(|line| format!("line {}: {}", line.number, line.why)).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// What is on file for a host at a port. Lines that name the port come first; lines by address
    /// count only where no line names the host, so that another host's key is never accepted because
    /// a name server sent us to its address.
    pub(crate) fn find(&self, host: &str, port: u16, address: Option<IpAddr>) -> Found<'_> {
        let address = address.map(|address| address.to_canonical().to_string());
        let mut found = Found::default();
        for host in std::iter::once(host).chain(address.as_deref()) {
            let with_port = Candidate::new(host, Some(port));
            let bare = Candidate::new(host, None);
            let mut matching = self.matching(&with_port, &mut found);
            if port != 22 {
                let rest = self.matching(&bare, &mut found);
                if matching.is_empty() {
                    matching = rest;
                }
            }
            if found.keys.is_empty() {
                found.keys = matching;
            }
        }
        found
    }

    fn matching<'a>(&'a self, host: &Candidate, found: &mut Found<'a>) -> Vec<OnFile<'a>> {
        let mut keys = Vec::new();
        for line in self.lines.iter().filter(|line| line.hosts.matches(host)) {
            let on_file = OnFile { line: line.number, key_type: &line.key_type, key: &line.key };
            match line.mark {
                Mark::None => keys.push(on_file),
                Mark::Revoked => found.revoked.push(on_file),
                Mark::Authority if !found.authorities.contains(&on_file) => found.authorities.push(on_file),
                Mark::Authority => {}
            }
        }
        keys
    }
}

fn parse_line(number: usize, line: &str) -> Result<Option<Line>, String> {
    let mut words = line.split_ascii_whitespace();
    let mut first = words.next().unwrap_or_default();
    let mark = match first {
        "@revoked" => Mark::Revoked,
        "@cert-authority" => Mark::Authority,
        mark if mark.starts_with('@') => {
            return Err(format!("unknown marker {mark:?}; use @revoked or @cert-authority"));
        }
        _ => Mark::None,
    };
    if mark != Mark::None {
        first = words.next().ok_or("a marker without hosts")?;
    }
    let (Some(key_type), Some(key)) = (words.next(), words.next()) else {
        return Err("write hosts, key type and key, separated by spaces".into());
    };
    if key_type.bytes().all(|b| b.is_ascii_digit()) && key.bytes().all(|b| b.is_ascii_digit()) {
        // A key of SSH version 1, which nobody speaks any more; OpenSSH passes over them too.
        return Ok(None);
    }
    let hosts = parse_hosts(first)?;
    let key = BASE64.decode(key).map_err(|_| "the key is not base64".to_owned())?;
    let inner = key.get(4..4 + key_type.len());
    let length = key.get(..4).map(|b| b.iter().fold(0_usize, |n, b| n << 8 | usize::from(*b)));
    if inner != Some(key_type.as_bytes()) || length != Some(key_type.len()) {
        return Err(format!("the key is not of type {key_type}"));
    }
    Ok(Some(Line { number, mark, hosts, key_type: key_type.to_owned(), key }))
}

/// What can be told of a line that cannot be read.
fn unread(number: usize, line: &str, why: String) -> Unread {
    let mut words = line.split_ascii_whitespace();
    let first = words.next().unwrap_or_default();
    let marked = first.starts_with('@');
    // An unknown mark may forbid something; @cert-authority only ever allows.
    let revokes = marked && first != "@cert-authority";
    let hosts = if marked { words.next() } else { Some(first) };
    Unread { number, why, revokes, hosts: hosts.and_then(|text| parse_hosts(text).ok()) }
}

fn parse_hosts(text: &str) -> Result<Hosts, String> {
    if let Some(hashed) = text.strip_prefix("|1|") {
        let wrong = || "a hashed host is written |1|salt|hash, both in base64".to_owned();
        let (salt, hash) = hashed.split_once('|').ok_or_else(wrong)?;
        let salt = BASE64.decode(salt).map_err(|_| wrong())?;
        let hash = BASE64.decode(hash).map_err(|_| wrong())?;
        return if hash.len() == 20 { Ok(Hosts::Hashed { salt, hash }) } else { Err(wrong()) };
    }
    let mut patterns = Vec::new();
    for text in text.split(',').filter(|text| !text.is_empty()) {
        let (negated, text) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        patterns.push(Pattern { negated, text: canonical(text) });
    }
    Ok(Hosts::Patterns(patterns))
}

/// One way to name the host: all spellings of it.
struct Candidate {
    /// The first is the canonical one.
    spellings: Vec<String>,
}

impl Candidate {
    fn new(host: &str, port: Option<u16>) -> Self {
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let mut names = vec![bare.clone()];
        if let Ok(address) = bare.parse::<Ipv6Addr>() {
            names = vec![address.to_string(), written_out(address, true), written_out(address, false)];
        }
        let spellings = match port {
            None => names,
            // Port 22 is left out by OpenSSH, and written by people.
            Some(22) => {
                let with_port: Vec<String> = names.iter().map(|name| format!("[{name}]:22")).collect();
                names.into_iter().chain(with_port).collect()
            }
            Some(port) => names.into_iter().map(|name| format!("[{name}]:{port}")).collect(),
        };
        Self { spellings }
    }
}

fn written_out(address: Ipv6Addr, zeros: bool) -> String {
    let parts =
        address.segments().map(|part| if zeros { format!("{part:04x}") } else { format!("{part:x}") });
    parts.join(":")
}

/// A pattern in the spelling of [`Candidate`]s: small letters, addresses compressed.
fn canonical(text: &str) -> String {
    let text = text.to_ascii_lowercase();
    let (open, inner, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inner, port)) => ("[", inner, format!("]{port}")),
        None => ("", text.as_str(), String::new()),
    };
    match inner.parse::<Ipv6Addr>() {
        Ok(address) if port == "]" => address.to_string(),
        Ok(address) => format!("{open}{address}{port}"),
        Err(_) => text,
    }
}

impl Hosts {
    fn matches(&self, host: &Candidate) -> bool {
        match self {
            Self::Patterns(patterns) => {
                let matches = |pattern: &&Pattern| {
                    host.spellings.iter().any(|name| glob(pattern.text.as_bytes(), name.as_bytes()))
                };
                let (negated, wanted): (Vec<_>, Vec<_>) =
                    patterns.iter().partition::<Vec<&Pattern>, _>(|pattern| pattern.negated);
                !negated.iter().any(matches) && wanted.iter().any(matches)
            }
            Self::Hashed { salt, hash } => {
                host.spellings.iter().any(|name| hash_of(salt, name).as_deref() == Some(&hash[..]))
            }
        }
    }
}

impl Hosts {
    /// Whether an address, known only once a connection is made, may be among them: written out, by a pattern, hashed.
    fn may_be_addresses(&self) -> bool {
        match self {
            Self::Hashed { .. } => true,
            Self::Patterns(patterns) => patterns.iter().any(|pattern| {
                let bare = pattern.text.trim_start_matches('[').split(']').next().unwrap_or_default();
                let address =
                    bare.bytes().all(|b| b.is_ascii_hexdigit() || matches!(b, b'.' | b':' | b'*' | b'?'));
                !pattern.negated && (address || bare.starts_with('*'))
            }),
        }
    }
}

fn hash_of(salt: &[u8], name: &str) -> Option<Vec<u8>> {
    let key = PKey::hmac(salt).ok()?;
    let mut signer = Signer::new(MessageDigest::sha1(), &key).ok()?;
    signer.update(name.as_bytes()).ok()?;
    signer.sign_to_vec().ok()
}

/// `*` stands for any characters, `?` for one.
pub(super) fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // Where to go on when the characters after the last star did not fit.
    let mut back: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                back = Some((p + 1, n));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match back {
                Some((star, from)) => {
                    p = star;
                    n = from + 1;
                    back = Some((star, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests;
