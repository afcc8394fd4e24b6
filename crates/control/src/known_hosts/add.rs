//! Adding lines: first read and shown with their fingerprints, then written when a person has compared these.

use super::list::standing;
use crate::{Caller, Control};
use model::{
    Error, ErrorKind, EventKind, HostKeyFormat, HostKeyStanding, KnownHost, KnownHostLine, KnownHostMark,
    OfferedHostKey, Permission, Result, Timestamp,
};
use serde::{Deserialize, Serialize};
use store::ChangeKnownHosts;

/// Most lines that are added at once.
const MOST_LINES: usize = 200;

/// What happens where a host has another key of the type on file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OtherKeys {
    /// Nothing is added, and both fingerprints are named.
    #[default]
    Refuse,
    /// The lines with the other keys are removed.
    Replace,
    /// Both count from then on.
    Keep,
}

impl OtherKeys {
    /// Reads a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "refuse" => Some(Self::Refuse),
            "replace" => Some(Self::Replace),
            "keep" => Some(Self::Keep),
            _ => None,
        }
    }
}

/// Lines to add.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AddKnownHosts {
    /// Lines as OpenSSH's `known_hosts` has them; empty ones and comments are left out.
    pub text: String,
    /// The fingerprints that a person has compared and confirmed: one of each line, in any order.
    pub confirmed: Vec<String>,
    /// What happens to other keys of these hosts.
    pub others: OtherKeys,
    /// The fingerprints of the other keys that were shown. Nothing else is replaced: somebody may have put another key on
    /// file meanwhile.
    #[serde(default)]
    pub on_file: Vec<String>,
}

/// What a text holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ReadKnownHosts {
    /// Its lines that can be read.
    pub lines: Vec<UnwrittenKnownHost>,
    /// Those that cannot.
    pub unreadable: Vec<UnreadableLine>,
    /// The number of the newest change of the list that this was compared with.
    #[serde(skip)]
    change: i64,
}

/// A line that is not written yet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct UnwrittenKnownHost {
    /// The line.
    pub line: KnownHostLine,
    /// Whether it is in the list already.
    pub is_listed: bool,
    /// Lines in the list with another key of the same type for one of its hosts.
    pub others: Vec<KnownHost>,
}

/// A line that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct UnreadableLine {
    /// Its number, from 1.
    pub number: usize,
    /// What is wrong with it.
    pub why: String,
}

const OPERATION: &str = "add known hosts";

impl Control {
    /// Reads lines, and tells what of the list is about the same hosts. Changes nothing.
    ///
    /// # Errors
    /// The caller may not see definitions; the text has no line, or too many; the database failed.
    pub async fn read_known_hosts(&self, caller: &Caller, text: &str) -> Result<ReadKnownHosts> {
        caller.require(Permission::ViewDefinitions)?;
        let (_, format) = self.host_key_format(OPERATION)?;
        let state = self.0.store.known_hosts().await?;
        let mut read = ReadKnownHosts { lines: vec![], unreadable: vec![], change: state.change };
        for (line, number) in text.lines().zip(1..) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match format.read(line) {
                Ok(line) if read.lines.iter().any(|other| other.line.text() == line.text()) => {}
                Ok(line) => read.lines.push(UnwrittenKnownHost {
                    is_listed: state.hosts.iter().any(|host| host.line == line.text()),
                    others: others(format, &state.hosts, &line),
                    line,
                }),
                Err(why) => read.unreadable.push(UnreadableLine { number, why }),
            }
        }
        let count = read.lines.len() + read.unreadable.len();
        if count == 0 || count > MOST_LINES {
            return Err(Error::permanent(ErrorKind::ConfigInvalid, OPERATION).advice(format!(
                "give between 1 and {MOST_LINES} lines as in OpenSSH's known_hosts: host names and addresses with commas \
                 between, key type, and key"
            )));
        }
        Ok(read)
    }

    /// Adds lines, on record. Every node trusts them within seconds.
    ///
    /// # Errors
    /// The caller may not change definitions; `ConfigInvalid`: a line cannot be read, or its fingerprint was not confirmed;
    /// `AlreadyExists`: all are in the list, or a host has another key of the type, and the request does not say what
    /// becomes of it; the list was changed meanwhile; the database failed.
    pub async fn add_known_hosts(&self, caller: &Caller, request: &AddKnownHosts) -> Result<Vec<KnownHost>> {
        caller.require(Permission::ChangeDefinitions)?;
        let read = self.read_known_hosts(caller, &request.text).await?;
        let invalid = |advice: String| Error::permanent(ErrorKind::ConfigInvalid, OPERATION).advice(advice);
        if let Some(line) = read.unreadable.first() {
            return Err(invalid(format!("line {}: {}", line.number, line.why)));
        }
        let new: Vec<UnwrittenKnownHost> = read.lines.into_iter().filter(|line| !line.is_listed).collect();
        if new.is_empty() {
            let error = Error::permanent(ErrorKind::AlreadyExists, OPERATION);
            return Err(error.advice("these lines are in the list already"));
        }
        for UnwrittenKnownHost { line, others, .. } in &new {
            if !request.confirmed.contains(&line.fingerprint) {
                return Err(invalid("the fingerprint of a line was not confirmed".to_owned())
                    .with("hosts", &line.hosts)
                    .with("key", format_args!("{} {}", line.key_type, line.fingerprint)));
            }
            let unseen = others.iter().find(|other| !request.on_file.contains(&other.fingerprint));
            if let (Some(other), OtherKeys::Replace) = (unseen, request.others) {
                return Err(Error::permanent(ErrorKind::AlreadyExists, OPERATION)
                    .with("hosts", &line.hosts)
                    .with("on file", format_args!("{} {}", other.key_type(), other.fingerprint))
                    .advice("this key would be replaced, and was not shown: somebody put it on file meanwhile; compare again"));
            }
            if let (Some(other), OtherKeys::Refuse) = (others.first(), request.others) {
                return Err(Error::permanent(ErrorKind::AlreadyExists, OPERATION)
                    .with("hosts", &line.hosts)
                    .with("key", format_args!("{} {}", line.key_type, line.fingerprint))
                    .with("on file", format_args!("{} {}", other.key_type(), other.fingerprint))
                    .advice(
                        "the host has another key of this type on file: let the server's operator confirm the new \
                         fingerprint, then say whether it replaces the other one or counts beside it",
                    ));
            }
        }
        self.write_known_hosts(caller, new, request.others, read.change).await
    }

    async fn write_known_hosts(
        &self,
        caller: &Caller,
        new: Vec<UnwrittenKnownHost>,
        others: OtherKeys,
        base: i64,
    ) -> Result<Vec<KnownHost>> {
        let at = (self.0.now)();
        let mut change = ChangeKnownHosts { base, ..ChangeKnownHosts::default() };
        let mut written = Vec::with_capacity(new.len());
        for UnwrittenKnownHost { line, others: old, .. } in &new {
            let added = self.new_known_host(caller, line, at);
            let old = if others == OtherKeys::Replace { old.as_slice() } else { &[] };
            for old in old {
                if change.removed.iter().any(|(id, ..)| *id == old.id) {
                    continue;
                }
                change.removed.push((old.id, caller.actor.clone(), at));
                let event = self.known_host_event(EventKind::KnownHostRemoved, old).by(caller.actor.clone());
                change.events.push(event.detail("replaced_by", added.fingerprint.as_str()));
                self.keep_other_names(caller, &new, old, &mut change, at).await?;
            }
            let event = self.known_host_event(EventKind::KnownHostAdded, &added).by(caller.actor.clone());
            let old: Vec<&str> = old.iter().map(|old| old.fingerprint.as_str()).collect();
            let event = if old.is_empty() { event } else { event.detail("replaces", old.join(", ")) };
            change.events.push(event);
            written.push(added.clone());
            change.added.push(added);
        }
        // Rows are compared with their events: both have the same moment.
        for event in &mut change.events {
            event.at = at;
        }
        change.decided = self.decided(&change).await?;
        self.0.store.change_known_hosts(change).await?;
        Ok(written)
    }

    /// Writes a replaced line anew for those of its names that the new lines are not about: other servers, or other ports, may
    /// still have its key.
    async fn keep_other_names(
        &self,
        caller: &Caller,
        new: &[UnwrittenKnownHost],
        old: &KnownHost,
        change: &mut ChangeKnownHosts,
        at: Timestamp,
    ) -> Result<()> {
        let (_, format) = self.host_key_format(OPERATION)?;
        let replacing = new.iter().filter(|new| new.others.iter().any(|other| other.id == old.id));
        let Some(line) = other_names(format, old, replacing.map(|new| &new.line)) else { return Ok(()) };
        let hosts = self.0.store.known_hosts().await?.hosts;
        if hosts.iter().chain(&change.added).any(|host| host.line == line) {
            return Ok(());
        }
        let kept = KnownHost { id: (self.0.ids)(), line, by: caller.actor.clone(), at, ..old.clone() };
        let event = self.known_host_event(EventKind::KnownHostAdded, &kept).by(caller.actor.clone());
        change.events.push(event.detail("kept_of", old.id.to_string()));
        change.added.push(kept);
        Ok(())
    }

    /// The keys that waited for a decision and are on file after a change.
    async fn decided(&self, change: &ChangeKnownHosts) -> Result<Vec<OfferedHostKey>> {
        let (_, format) = self.host_key_format(OPERATION)?;
        let lines: Vec<String> = change.added.iter().map(|host| host.line.clone()).collect();
        let mut decided = self.0.store.offered_host_keys().await?;
        decided.retain(|key| standing(format, &lines, key) == HostKeyStanding::Known);
        Ok(decided)
    }

    fn new_known_host(&self, caller: &Caller, line: &KnownHostLine, at: Timestamp) -> KnownHost {
        KnownHost {
            id: (self.0.ids)(),
            line: line.text(),
            fingerprint: line.fingerprint.clone(),
            comment: line.comment.clone(),
            by: caller.actor.clone(),
            at,
        }
    }
}

/// A line with those names of an old one that new lines are not about; `None` if they are about all.
fn other_names<'a>(
    format: &dyn HostKeyFormat,
    old: &KnownHost,
    new: impl Iterator<Item = &'a KnownHostLine>,
) -> Option<String> {
    let key = old.line.strip_prefix(old.hosts())?;
    let hosts: Vec<&(String, u16)> = new.flat_map(|line| &line.names).collect();
    let is_replaced = |name: &str| {
        let alone = [format!("{name}{key}")];
        hosts.iter().any(|(host, port)| !format.about(&alone, host, *port).is_empty())
    };
    let names: Vec<&str> = old.hosts().split(',').filter(|name| !is_replaced(name)).collect();
    // What is excluded of a pattern stands for nothing without the pattern.
    let any = names.iter().any(|name| !name.starts_with('!'));
    any.then(|| format!("{}{key}", names.join(",")))
}

/// The lines of the list with another key of the same type for one of a line's hosts.
fn others(format: &dyn HostKeyFormat, hosts: &[KnownHost], line: &KnownHostLine) -> Vec<KnownHost> {
    if line.mark != KnownHostMark::Host {
        return Vec::new();
    }
    let lines: Vec<String> = hosts.iter().map(|host| host.line.clone()).collect();
    let mut places: Vec<usize> = Vec::new();
    for (host, port) in &line.names {
        let key = OfferedHostKey {
            host: host.clone(),
            port: *port,
            key_type: line.key_type.clone(),
            key: line.key.clone(),
            fingerprint: line.fingerprint.clone(),
            standing: HostKeyStanding::Unknown,
            endpoint: String::new(),
            at: Timestamp::UNIX_EPOCH,
        };
        if standing(format, &lines, &key) == HostKeyStanding::Changed {
            places.extend(format.about(&lines, host, *port));
        }
    }
    places.sort_unstable();
    places.dedup();
    let of_type = |host: &&KnownHost| host.mark() == KnownHostMark::Host && host.key_type() == line.key_type;
    places.into_iter().filter_map(|at| hosts.get(at)).filter(of_type).cloned().collect()
}
