//! What a test sets, and what the server saw.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most requests remembered: a test that asks for more should look closer.
const SEEN_LIMIT: usize = 100_000;

/// One way to misbehave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Switch {
    /// The file is removed when it is opened to be read; its handle reads on.
    GoneWhenOpened,
    /// The file is removed as soon as its last byte was given.
    GoneWhenRead,
    /// The file is removed when a handle that read from it is closed.
    GoneAfterReading,
    /// The file is removed when a handle that wrote it is closed: a drop box.
    GoneWhenWritten,
    /// The file is moved to this path, made with its directories, when a handle that wrote it is closed.
    MovedWhenWritten(&'static str),
    /// Directories do not show the file.
    NotListed,
    /// Directories show the file under this name.
    ListedAs(&'static str),

    /// Its size is told so much larger or smaller than it is.
    SizeOff(ReportedIn, i64),
    /// Its size is told as this.
    SizeIs(ReportedIn, u64),
    /// Its size is not told.
    NoSize(ReportedIn),
    /// Its mode (type and permissions) is told as this.
    ModeIs(ReportedIn, u32),
    /// Its permissions are told without a type.
    NoType(ReportedIn),
    /// Neither type nor permissions are told.
    NoMode(ReportedIn),
    /// Its times are told so many seconds later or earlier.
    TimeOff(ReportedIn, i64),
    /// Its times are told another second later at each telling.
    TimeRuns(ReportedIn),
    /// Its times are not told.
    NoTime(ReportedIn),
    /// The numbers of its owner and group are told.
    Owners(u32, u32),
    /// The line of a listing, as `ls -l` would show it, is this; with no type letter when it is empty.
    LineIs(&'static str),
    /// Flags that version 3 does not have (0x10, 0x20), each with a time in 64 bits after the ordinary times, as WS_FTP
    /// servers send them.
    LaterTimes(u32),
    /// Flags that version 3 does not have, and nothing in the packet for them, as some devices send them.
    EmptyFlags(u32),

    /// Answered with this status and these words, and not done.
    Status(Op, u32, &'static str),
    /// Done, and answered with this status and these words all the same.
    StatusAfter(Op, u32, &'static str),
    /// A name that is not there is answered with this status, and not with 2 (no such file).
    MissingIs(u32, &'static str),
    /// The connection ends instead of the request being carried out.
    CutBefore(Op),
    /// The connection ends instead of an answer; the request was carried out.
    CutAfter(Op),
    /// The server answers nothing any more instead of carrying the request out; the connection stays.
    SilentBefore(Op),
    /// The server answers nothing any more; the request was carried out, and the connection stays.
    SilentAfter(Op),
    /// A READ gives so many bytes at most.
    ShortReads(u32),
    /// A READ at or beyond this offset is told the end of the file.
    EndsAt(u64),
    /// A READ at the end of the file is answered with this status instead of the draft's 1.
    EndIs(u32, &'static str),
    /// A READ at the end of the file is answered with data of no length.
    EndIsEmpty,
    /// A READ at or beyond this offset is answered with data of no length.
    EmptyFrom(u64),
    /// A RENAME replaces what has the name.
    RenameReplaces,
    /// A RENAME makes the file one that was changed just now, as a gateway to an object store does, which copies.
    RenameTouches,
    /// Each READDIR is answered with a page that holds `.` alone.
    DotPages,
}

/// Where an attribute is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReportedIn(u8);

impl ReportedIn {
    /// In the answer to READDIR.
    pub const LISTING: Self = Self(1);
    /// In the answers to STAT and LSTAT.
    pub const STAT: Self = Self(2);
    /// In the answer to FSTAT.
    pub const FSTAT: Self = Self(4);
    /// In all of them.
    pub const EVERYWHERE: Self = Self(7);

    /// Whether both have a place in common.
    #[must_use]
    pub fn covers(self, place: Self) -> bool {
        self.0 & place.0 != 0
    }
}

impl std::ops::BitOr for ReportedIn {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Kinds of requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// OPEN of a file that is only read.
    OpenRead,
    /// OPEN of a file that is written.
    OpenWrite,
    /// CLOSE of a file that was only read, or of a directory.
    CloseRead,
    /// CLOSE of a file that was written.
    CloseWrite,
    /// READ.
    Read,
    /// WRITE.
    Write,
    /// STAT and LSTAT.
    Stat,
    /// FSTAT.
    Fstat,
    /// SETSTAT and FSETSTAT.
    Setstat,
    /// OPENDIR.
    Opendir,
    /// READDIR.
    Readdir,
    /// REMOVE.
    Remove,
    /// MKDIR.
    Mkdir,
    /// RMDIR.
    Rmdir,
    /// REALPATH.
    Realpath,
    /// RENAME; its path is the old one, and its switches are also found by the new one.
    Rename,
    /// `posix-rename@openssh.com`.
    PosixRename,
    /// `fsync@openssh.com`.
    Fsync,
    /// `statvfs@openssh.com`.
    Statvfs,
    /// `limits@openssh.com`.
    Limits,
    /// Anything else.
    Other,
}

/// A request that came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Its kind.
    pub op: Op,
    /// The path it was about, relative to where a login starts.
    pub path: String,
}

/// How a connection is greeted.
#[derive(Clone, Debug, Default)]
pub struct Greeting {
    /// Sent before the identification line, as it is.
    pub before: Vec<u8>,
    /// The identification line without its end; the server's usual one when empty.
    pub identification: String,
    /// A banner before the login.
    pub banner: Option<String>,
    /// Extensions that the server offers, such as `posix-rename@openssh.com`; none at first.
    pub extensions: Vec<&'static str>,
    /// What `limits@openssh.com` says: the longest packet, the most data in a READ and in a WRITE, the most open handles;
    /// 0 for no limit. A longer request, or one handle more, ends the connection.
    pub limits: [u64; 4],
    /// The free bytes that `statvfs@openssh.com` tells.
    pub free: u64,
    /// Paths are those of Windows: `C:\in\a.edi`, `C:/in/a.edi`, `/C:/in/a.edi`.
    pub windows: bool,
}

struct Rule {
    pattern: String,
    switch: Switch,
    left: Option<u32>,
}

/// What is set, and what was seen.
pub(super) struct Switches {
    pub(super) root: PathBuf,
    rules: Mutex<Vec<Rule>>,
    greeting: Mutex<Greeting>,
    seen: Mutex<Vec<Seen>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a path is of a pattern with one `*` at most.
pub(super) fn matches(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == path,
        Some((before, after)) => {
            path.len() >= before.len() + after.len() && path.starts_with(before) && path.ends_with(after)
        }
    }
}

impl Switches {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, rules: Mutex::default(), greeting: Mutex::default(), seen: Mutex::default() }
    }

    pub(super) fn set(&self, pattern: &str, switch: Switch, left: Option<u32>) {
        lock(&self.rules).push(Rule { pattern: pattern.to_owned(), switch, left });
    }

    pub(super) fn remove(&self, pattern: &str) {
        lock(&self.rules).retain(|rule| rule.pattern != pattern);
    }

    pub(super) fn greeting<T>(&self, look: impl FnOnce(&mut Greeting) -> T) -> T {
        look(&mut lock(&self.greeting))
    }

    pub(super) fn saw(&self, op: Op, path: &Path) {
        let mut seen = lock(&self.seen);
        if seen.len() < SEEN_LIMIT {
            seen.push(Seen { op, path: self.name(path) });
        }
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        lock(&self.seen).clone()
    }

    /// What the newest fitting switch for a path says, found by `pick`; one that is set for a number of times is used up.
    pub(super) fn find<T>(&self, path: &Path, pick: impl Fn(&Switch) -> Option<T>) -> Option<T> {
        let name = self.name(path);
        let mut rules = lock(&self.rules);
        for rule in rules.iter_mut().rev() {
            if rule.left == Some(0) || !matches(&rule.pattern, &name) {
                continue;
            }
            if let Some(found) = pick(&rule.switch) {
                rule.left = rule.left.map(|left| left - 1);
                return Some(found);
            }
        }
        None
    }

    /// Whether this switch is on for a path.
    pub(super) fn is_on(&self, path: &Path, switch: &Switch) -> bool {
        self.find(path, |set| (set == switch).then_some(())).is_some()
    }

    /// A path as switches name it.
    fn name(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).to_string_lossy().into_owned()
    }
}
