//! A line of MLSD or MLST: facts, a space, and the name (RFC 3659, 7.2).

use super::time;
use model::RemotePath;
use transport::folder::{Entry, EntryKind, version_of};

/// The entry of a line; facts come in any order and case. `None` for a line without a name, and for the listed directory
/// itself and the one above it, whose names are changed to `.` and `..`.
pub(crate) fn read(line: &[u8]) -> Option<Entry> {
    // Each fact ends with a semicolon. A fact may hold a space (where a link leads), and a name a semicolon.
    let end = match line.windows(2).position(|two| two == b"; ") {
        Some(at) => at + 1,
        None => line.iter().position(|byte| *byte == b' ')?,
    };
    let (facts, name) =
        if line.first() == Some(&b' ') { (&b""[..], &line[1..]) } else { (&line[..end], &line[end + 1..]) };
    if name.is_empty() {
        return None;
    }
    let mut entry = Entry {
        path: RemotePath::from_bytes(name),
        kind: EntryKind::Unknown,
        size: None,
        modified: None,
        version: None,
        changed: None,
    };
    for fact in facts.split(|byte| *byte == b';') {
        let Some(equals) = fact.iter().position(|byte| *byte == b'=') else { continue };
        let (key, value) = (fact[..equals].to_ascii_lowercase(), &fact[equals + 1..]);
        match key.as_slice() {
            b"type" => match value.to_ascii_lowercase().as_slice() {
                b"file" => entry.kind = EntryKind::File,
                b"dir" => entry.kind = EntryKind::Directory,
                b"cdir" => (entry.kind, entry.path) = (EntryKind::Directory, ".".into()),
                b"pdir" => (entry.kind, entry.path) = (EntryKind::Directory, "..".into()),
                kind if is_link(kind) => entry.kind = EntryKind::Link,
                _ => entry.kind = EntryKind::Other,
            },
            b"size" => entry.size = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok()),
            b"modify" => entry.modified = time::read(value),
            b"unique" => entry.version = Some(version_of(&String::from_utf8_lossy(value))),
            _ => {}
        }
    }
    match entry.kind {
        EntryKind::Directory => entry.size = None,
        // It stays the same when a file is overwritten, and may become that of another file. Of directories it tells links,
        // which some servers show as directories, from others.
        _ => entry.version = None,
    }
    Some(entry)
}

/// `OS.unix=slink:/target`, `OS.unix=symlink`, `link`: there is no standard word.
fn is_link(kind: &[u8]) -> bool {
    [&b"link"[..], b"os.unix=slink", b"os.unix=symlink"].iter().any(|word| kind.starts_with(word))
}
