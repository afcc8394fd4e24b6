//! `waybill known-host list|add|remove|scan`: the host keys of SSH servers that every node trusts.

use super::ask::is_meant;
use super::operation::{as_json, beside, with_endpoints};
use super::write;
use crate::cli::{AddKnownHost, KnownHost, Output};
use config::Settings;
use control::{
    AddKnownHosts, Caller, Control, KnownHostList, OtherKeys, RemoveKnownHost, ScanHostKeys, ScannedHost,
    UnwrittenKnownHost,
};
use model::definition::Definitions;
use model::{Error, ErrorKind, HostKeyStanding, KnownHostMark, Result};
use std::io::Read as _;
use std::process::ExitCode;

/// The largest text that lines are read from, in bytes.
const LARGEST: u64 = 1024 * 1024;

pub(crate) async fn run(settings: &Settings, command: KnownHost, output: Output) -> Result<ExitCode> {
    match command {
        KnownHost::List { search } => list(settings, search, output).await,
        KnownHost::Add(add) => added(settings, add, output).await,
        KnownHost::Remove { which, yes } => remove(settings, which, yes, output).await,
        KnownHost::Scan { host, endpoint } => {
            let request = match (endpoint, host) {
                (Some(name), _) => ScanHostKeys::Endpoint(name),
                (None, host) => ScanHostKeys::Host(host.unwrap_or_default()),
            };
            let operation = |control: Control, caller, trial| async move {
                control.scan_host_keys(&caller, &trial, &request).await
            };
            let scanned = with_endpoints(settings, None, operation).await?;
            match output {
                Output::Json => write::json(&as_json(&scanned)?)?,
                Output::Text => scanned_text(&scanned)?,
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The list. What uses its lines is left out where the definitions in force cannot be used on this machine.
async fn shown(control: &Control, caller: &Caller) -> Result<KnownHostList> {
    let definitions = match control.usable_definitions().await {
        Ok(definitions) => definitions,
        Err(error) => {
            write::note(format_args!("which endpoints use the lines is not known: {}", error.chain()));
            Definitions::default()
        }
    };
    control.known_hosts(caller, &definitions).await
}

async fn list(settings: &Settings, search: Option<String>, output: Output) -> Result<ExitCode> {
    let operation = |control: Control, caller| async move { shown(&control, &caller).await };
    let mut list = beside(settings, operation).await?;
    if let Some(text) = &search {
        list.search(text);
    }
    if output == Output::Json {
        write::json(&as_json(&list)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = list.hosts.iter().map(|detail| {
        let host = &detail.host;
        let uses: Vec<&str> = detail.used_by.iter().map(String::as_str).collect();
        let mark = match host.mark() {
            KnownHostMark::Host => String::new(),
            mark => format!(" ({mark})"),
        };
        vec![
            host.id.to_string(),
            format!("{}{mark}", host.hosts()),
            host.key_type().to_owned(),
            host.fingerprint.clone(),
            format!("{} by {}", write::time(host.at), host.by.name()),
            if uses.is_empty() { "-".to_owned() } else { uses.join(", ") },
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    if rows.is_empty() {
        write::line("no known hosts")?;
    }
    write::Columns::new(&["ID", "HOSTS", "TYPE", "FINGERPRINT", "ADDED", "USED BY"]).write(rows)?;
    if !list.offered.is_empty() {
        write::line("")?;
        write::line(
            "shown by servers and not on file; add with `waybill known-host add --offered FINGERPRINT`:",
        )?;
        let rows = list.offered.iter().map(|key| {
            vec![
                key.listed_host(),
                key.key_type.clone(),
                key.fingerprint.clone(),
                key.standing.to_string(),
                key.endpoint.clone(),
                write::time(key.at),
            ]
        });
        let rows: Vec<Vec<String>> = rows.collect();
        write::Columns::new(&["HOST", "TYPE", "FINGERPRINT", "STANDING", "ENDPOINT", "SHOWN"]).write(rows)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn scanned_text(scanned: &ScannedHost) -> Result<()> {
    for key in &scanned.keys {
        let standing = match key.standing {
            HostKeyStanding::Known => "on file",
            HostKeyStanding::Unknown => "not on file",
            HostKeyStanding::Changed => "ANOTHER KEY OF THIS TYPE IS ON FILE",
            HostKeyStanding::Revoked => "REVOKED",
        };
        write::line(format_args!("# {} {} ({standing})", key.key_type, key.fingerprint))?;
        write::line(key.line())?;
    }
    write::note("compare the fingerprints with what the server's operator told you, then add the lines");
    Ok(())
}

/// The lines that are to be added.
fn text(add: &AddKnownHost) -> Result<String> {
    let mut text = String::new();
    let read = match (&add.line, &add.file) {
        (Some(line), _) => return Ok(line.clone()),
        (None, Some(file)) => {
            std::fs::File::open(file).and_then(|file| file.take(LARGEST).read_to_string(&mut text)).map_err(
                |error| Error::local_io("read lines of known hosts", error).with("path", file.display()),
            )
        }
        (None, None) => std::io::stdin()
            .take(LARGEST)
            .read_to_string(&mut text)
            .map_err(|error| Error::local_io("read lines of known hosts from standard input", error)),
    };
    read.map(|_| text)
}

async fn added(settings: &Settings, add: AddKnownHost, output: Output) -> Result<ExitCode> {
    let given = if add.offered.is_none() { Some(text(&add)?) } else { None };
    let operation = |control: Control, caller: Caller| async move {
        let (text, mut confirmed) = match (&add.offered, given) {
            (Some(fingerprint), _) => {
                (offered(&control, &caller, fingerprint).await?, vec![fingerprint.clone()])
            }
            (None, text) => (text.unwrap_or_default(), Vec::new()),
        };
        confirmed.extend(add.confirm.iter().cloned());
        let read = control.read_known_hosts(&caller, &text).await?;
        let mut others = match (add.replace, add.keep_others) {
            (true, _) => OtherKeys::Replace,
            (_, true) => OtherKeys::Keep,
            _ => OtherKeys::Refuse,
        };
        for line in read.lines.iter().filter(|line| !line.is_listed) {
            show(line);
            if !line.others.is_empty() && others == OtherKeys::Refuse {
                if !is_meant("Replace the key on file?", REPLACE)? {
                    return Ok(None);
                }
                others = OtherKeys::Replace;
            }
            if !confirmed.contains(&line.line.fingerprint) {
                if !is_meant("Is this the fingerprint that the server's operator told you? Add it?", CONFIRM)?
                {
                    return Ok(None);
                }
                confirmed.push(line.line.fingerprint.clone());
            }
        }
        let on_file =
            read.lines.iter().flat_map(|line| &line.others).map(|other| other.fingerprint.clone()).collect();
        let request = AddKnownHosts { text, confirmed, others, on_file };
        control.add_known_hosts(&caller, &request).await.map(Some)
    };
    let Some(added) = beside(settings, operation).await? else { return Ok(ExitCode::SUCCESS) };
    match output {
        Output::Json => write::json(&as_json(&added)?)?,
        Output::Text => {
            for host in added {
                write::line(format_args!("added {} {} {}", host.hosts(), host.key_type(), host.fingerprint))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

const CONFIRM: &str = "there is no terminal to ask at: compare the fingerprint, and give it with --confirm. Nothing was changed";
const REPLACE: &str =
    "the host has another key of this type on file: add --replace or --keep-others. Nothing was changed";

/// The line of a key that waits for a decision.
async fn offered(control: &Control, caller: &Caller, fingerprint: &str) -> Result<String> {
    let list = control.known_hosts(caller, &Definitions::default()).await?;
    let lines: Vec<String> =
        list.offered.iter().filter(|key| key.fingerprint == fingerprint).map(|key| key.line()).collect();
    if lines.is_empty() {
        return Err(Error::permanent(ErrorKind::NotFound, "add a key that a server showed")
            .with("key", fingerprint)
            .advice("no such key waits for a decision; `waybill known-host list` shows those that do"));
    }
    Ok(lines.join("\n"))
}

fn show(unwritten: &UnwrittenKnownHost) {
    let line = &unwritten.line;
    write::note(format_args!("{} {}: {} {}", line.hosts, line.mark, line.key_type, line.fingerprint));
    for other in &unwritten.others {
        let added = format!("added {} by {}", write::time(other.at), other.by.name());
        write::note(format_args!(
            "  on file for {}: {} {}, {added}",
            other.hosts(),
            other.key_type(),
            other.fingerprint
        ));
    }
    if line.mark == KnownHostMark::Authority {
        write::note(
            "  an authority: every server with a host certificate of it and one of these names is trusted",
        );
    }
}

async fn remove(settings: &Settings, which: String, yes: bool, output: Output) -> Result<ExitCode> {
    let request = RemoveKnownHost { which };
    let operation = |control: Control, caller: Caller| async move {
        let host = control.known_host(&caller, &request).await?;
        let question = format!("Remove {} {} {}?", host.hosts(), host.key_type(), host.fingerprint);
        if !yes && !is_meant(question, "there is no terminal to ask at: add --yes. Nothing was changed")? {
            return Ok(None);
        }
        control.remove_known_host(&caller, &request).await.map(Some)
    };
    let Some(removed) = beside(settings, operation).await? else { return Ok(ExitCode::SUCCESS) };
    match output {
        Output::Json => write::json(&as_json(&removed)?)?,
        Output::Text => write::line(format_args!(
            "removed {} {} {}",
            removed.hosts(),
            removed.key_type(),
            removed.fingerprint
        ))?,
    }
    Ok(ExitCode::SUCCESS)
}
