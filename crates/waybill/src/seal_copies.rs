//! Copies of the seals, sent out as they are made: to an append-only file, and to a syslog server. Each is a
//! place that somebody who can write to the database cannot change; `audit verify --seals` compares with them.
//!
//! Which seals each copy has is noted in the state directory, by number and digest, after they were sent: what a crash
//! leaves unnoted is sent twice, which harms nothing. After a restored database was accepted the seals go on from where
//! it forks off, and those that are made anew follow in the copy those that were given up. Only seals that this node has
//! found in order are sent, whichever node made them.

use crate::process::ClockAndRandom;
use config::Settings;
use console::{ActiveProblem, ProblemKind};
use model::{Error, NodeName, Result, Severity, Timestamp};
use net::{Net, SyslogTarget, syslog_message};
use serde_json::{Map, Value};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use store::{MarkFile, SealHistory, SealMark, SlowDisk, Store, open_regular, place_file};

/// Seals sent in one go.
const BATCH: usize = 200;
/// Longest note of what was sent, in bytes; it has a few thousand.
const LARGEST_NOTE: u64 = 1 << 20;
/// Longest pause after failures; the first is the time between two seals, doubled with each.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// Where copies go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Copy {
    File,
    Syslog,
}

impl Copy {
    /// Its name in the note of what was sent.
    const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Syslog => "syslog",
        }
    }

    const fn setting(self) -> &'static str {
        match self {
            Self::File => "audit.seal_file",
            Self::Syslog => "audit.seal_syslog",
        }
    }
}

/// Failures of a copy in a row.
#[derive(Clone)]
struct Failing {
    count: u32,
    since: Timestamp,
    why: String,
    next: Timestamp,
}

/// The copies that the settings ask for.
pub(crate) struct SealCopies {
    file: Option<PathBuf>,
    syslog: Option<SyslogTarget>,
    every: Duration,
    net: Net,
    ambient: ClockAndRandom,
    node: NodeName,
    mark: MarkFile,
    /// What each has.
    progress: PathBuf,
    disk: SlowDisk,
    /// That of the file, which may lie elsewhere.
    file_disk: SlowDisk,
    failing: Mutex<[Option<Failing>; 2]>,
}

impl SealCopies {
    pub(crate) fn new(settings: &Settings, net: &Net, ambient: &ClockAndRandom) -> Self {
        Self {
            file: settings.audit.seal_file.clone(),
            syslog: settings.audit.seal_syslog.clone(),
            every: settings.audit.seal_every,
            net: net.clone(),
            ambient: ambient.clone(),
            node: settings.node.clone(),
            mark: MarkFile::within(&settings.state_directory),
            progress: settings.state_directory.join("seals-sent.json"),
            disk: SlowDisk::default(),
            file_disk: SlowDisk::default(),
            failing: Mutex::default(),
        }
    }

    /// Sends what was not sent yet; each copy for itself, so that one that is away delays no other.
    ///
    /// # Errors
    /// The first that failed; it is tried again, at growing intervals.
    pub(crate) async fn send(&self, store: &Store) -> Result<()> {
        if self.file.is_none() && self.syslog.is_none() {
            return Ok(());
        }
        // During an alarm the database's seals are not known to be those that were noted.
        let Some(mark) = self.mark.read().await?.filter(SealMark::is_in_order) else { return Ok(()) };
        let to_file = match &self.file {
            Some(_) => self.try_copy(Copy::File, store, mark.newest.seal).await,
            None => Ok(()),
        };
        let to_syslog = match &self.syslog {
            Some(_) => self.try_copy(Copy::Syslog, store, mark.newest.seal).await,
            None => Ok(()),
        };
        to_file.and(to_syslog)
    }

    /// What an operator should know; nothing while all works.
    pub(crate) fn problems(&self) -> Vec<ActiveProblem> {
        let row = |copy: Copy| {
            let failing = self.failing(copy)?;
            let what = format!("Audit seals are not copied: {}", copy.setting());
            let row = ActiveProblem::new(ProblemKind::Audit, Severity::Warning, copy.setting(), what)
                .why(failing.why)
                .advice("Events are still sealed. All missing seals are copied when it works again.");
            Some(row.since(failing.since).next_try(failing.next))
        };
        [Copy::File, Copy::Syslog].into_iter().filter_map(row).collect()
    }

    fn failing(&self, copy: Copy) -> Option<Failing> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)[copy as usize].clone()
    }

    async fn try_copy(&self, copy: Copy, store: &Store, newest: i64) -> Result<()> {
        let before = self.failing(copy);
        let now = self.ambient.clock.now();
        if before.as_ref().is_some_and(|failing| now < failing.next) {
            return Ok(());
        }
        let done = self.send_to(copy, store, newest).await;
        let failing = done.as_ref().err().map(|error| {
            let count = before.as_ref().map_or(0, |failing| failing.count);
            let pause = self.every.saturating_mul(1 << count.min(16)).min(LONGEST_PAUSE.max(self.every));
            let since = before.as_ref().map_or(now, |failing| failing.since);
            Failing { count: count.saturating_add(1), since, why: error.chain(), next: now + pause }
        });
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)[copy as usize] = failing;
        done
    }

    async fn send_to(&self, copy: Copy, store: &Store, newest: i64) -> Result<()> {
        let mut progress = self.read_progress().await?;
        let mut sent = progress.get(copy.name()).and_then(SealHistory::read).unwrap_or_default();
        let common = last_in_common(&sent, store, newest).await?;
        // A connection is on record: the seal over that record alone asks for no further one, or there were no end.
        if copy == Copy::Syslog && common == sent.last() && !store.seals_have_news(common, newest).await? {
            return Ok(());
        }
        let mut next = common + 1;
        while next <= newest {
            let seals = store.exported_seals(next, newest, BATCH).await?;
            let Some((last, _, _)) = seals.last() else { break };
            next = last + 1;
            let mut lines = Vec::with_capacity(seals.len());
            for (seal, digest, line) in seals {
                sent.note(seal, digest);
                lines.push(line);
            }
            match copy {
                Copy::File => self.append(lines).await?,
                Copy::Syslog => self.send_syslog(&lines).await?,
            }
            progress.insert(copy.name().to_owned(), sent.json());
            self.write_progress(&progress).await?;
        }
        Ok(())
    }

    async fn append(&self, lines: Vec<String>) -> Result<()> {
        const OPERATION: &str = "append seals to audit.seal_file";
        let Some(path) = self.file.clone() else { return Ok(()) };
        let at = path.clone();
        let work = move || {
            append(&at, &lines).map_err(|error| Error::local_io(OPERATION, error).with("path", at.display()))
        };
        self.file_disk.run(OPERATION, &path, work).await
    }

    async fn send_syslog(&self, lines: &[String]) -> Result<()> {
        let Some(target) = &self.syslog else { return Ok(()) };
        let now = self.ambient.clock.now();
        let messages: Vec<String> =
            lines.iter().map(|line| syslog_message(now, &self.node, "seal", line)).collect();
        self.net.send_syslog(target, &messages).await
    }

    /// A file that cannot be read is as good as none: all seals are sent again.
    async fn read_progress(&self) -> Result<Map<String, Value>> {
        const OPERATION: &str = "read how far seals were sent out";
        let path = self.progress.clone();
        let work = move || {
            let mut bytes = Vec::new();
            let read = open_regular(OpenOptions::new().read(true), &path)
                .and_then(|file| file.take(LARGEST_NOTE).read_to_end(&mut bytes));
            match read {
                Ok(_) => Ok(serde_json::from_slice(&bytes).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Map::new()),
                Err(error) => Err(Error::local_io(OPERATION, error).with("path", path.display())),
            }
        };
        self.disk.run(OPERATION, &self.progress, work).await
    }

    async fn write_progress(&self, progress: &Map<String, Value>) -> Result<()> {
        const OPERATION: &str = "note how far seals were sent out";
        let (path, text) = (self.progress.clone(), Value::Object(progress.clone()).to_string());
        let work = move || {
            place_file(&path, text.as_bytes(), 0o644, true)
                .map_err(|error| Error::local_io(OPERATION, error).with("path", path.display()))
        };
        self.disk.run(OPERATION, &self.progress, work).await
    }
}

/// The newest seal that a copy and the database have in common, as far as that is remembered; 0 when none is.
async fn last_in_common(sent: &SealHistory, store: &Store, newest: i64) -> Result<i64> {
    for (seal, digest) in sent.newest_first().filter(|(seal, _)| *seal <= newest) {
        if store.seal_digest(seal).await? == Some(digest) {
            return Ok(seal);
        }
    }
    Ok(0)
}

/// Appends lines, each whole: after a crash or a full disk the file may end in the middle of one.
fn append(path: &Path, lines: &[String]) -> io::Result<()> {
    // Opened for appending alone, so that the file may be marked as append-only (chattr +a).
    let open = |read: bool| open_regular(OpenOptions::new().append(true).read(read).create(true), path);
    let (mut file, whole) = match open(true) {
        Ok(mut file) => {
            let whole = ends_whole(&mut file)?;
            (file, whole)
        }
        // This node may write it and not read it: an empty line more harms nobody.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => (open(false)?, false),
        Err(error) => return Err(error),
    };
    let mut text = if whole { String::new() } else { "\n".to_owned() };
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn ends_whole(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_cut_off_spoils_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("seals.jsonl");
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        append(&path, &lines("one\ntwo")).unwrap();
        append(&path, &lines("three")).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\nthree\n");
        std::fs::write(&path, "one\ntw").unwrap();
        append(&path, &lines("two\nthree")).unwrap();
        append(&path, &lines("four")).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntw\ntwo\nthree\nfour\n");
        let pipe = directory.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(append(&pipe, &lines("one")).is_err(), "it is not waited for");
    }
}
