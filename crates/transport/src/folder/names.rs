//! The file names that polling and writing create: temporary, numbered, with a time.

use model::{DeliveryId, FORBIDDEN, RemotePath, Sha256, Timestamp};

/// The longest name of a file or directory on common systems, in bytes.
pub const NAME_LIMIT: usize = 255;

/// The default end of temporary names.
pub(super) const TEMPORARY: &str = ".a";

/// The default beginning of temporary names.
pub(super) const TEMPORARY_PREFIX: &str = ".";

/// The end of the names of files that another gateway, or an older claim, has set aside. Such files are never polled.
pub(super) const CLAIMED_SUFFIX: &[u8] = b".stage";

/// What stands before [`TEMPORARY`] in the names of files in archives, and in directories that files are moved to, that do
/// not have their final names yet: copies that are being written, complete files that are looked at once more, and notes.
const IN_ARCHIVES: [&[u8]; 8] =
    [b".moving", b".copying", b".copied", b".trial", b".naming", b".made", b".archiving", b".error"];

/// Whether a file in an archive does not have its final name yet: no poll takes it, whatever suffix its flow ignores.
pub(super) fn is_unfinished_in_archive(name: &[u8]) -> bool {
    let Some(name) = name.strip_suffix(TEMPORARY.as_bytes()) else { return false };
    name.starts_with(b".") && IN_ARCHIVES.iter().any(|what| name.ends_with(what))
}

/// `<prefix><name>.<delivery>-<attempt><suffix>`. The name is shortened so that the whole stays within `limit`.
///
/// The delivery is identified by the last 12 hex digits of its id: the first digits are a time, which deliveries of
/// the same minute share.
pub(super) fn temporary_name(
    name: &[u8],
    delivery: DeliveryId,
    attempt: u32,
    (prefix, suffix): (&[u8], &[u8]),
    limit: usize,
) -> Vec<u8> {
    let id = delivery.uuid().simple().to_string();
    let tail = format!(".{}-{attempt}", &id[id.len() - 12..]);
    let room = limit.saturating_sub(prefix.len() + tail.len() + suffix.len());
    [prefix, cut(name, room), tail.as_bytes(), suffix].concat()
}

/// `<before><name><after>`. The name is shortened so that the whole stays within [`NAME_LIMIT`].
pub(super) fn wrapped(before: &[u8], name: &[u8], after: &[u8]) -> Vec<u8> {
    let room = NAME_LIMIT.saturating_sub(before.len() + after.len());
    [before, cut(name, room), after].concat()
}

/// `<before><name><after>`, never the same for two names: of one that must be shortened, the first digits of its SHA-256
/// stand after what is left of it.
pub(super) fn wrapped_apart(before: &[u8], name: &[u8], after: &[u8]) -> Vec<u8> {
    if before.len() + name.len() + after.len() <= NAME_LIMIT {
        return [before, name, after].concat();
    }
    let digest = Sha256(openssl::sha::sha256(name)).to_string();
    let after = [b"-", &digest.as_bytes()[..16], after].concat();
    wrapped(before, name, &after)
}

/// The name with `-<number>` before its extension; number 1 is the name itself.
pub(super) fn numbered(name: &[u8], number: u32, limit: usize) -> Vec<u8> {
    if number <= 1 { name.to_vec() } else { inserted(name, &format!("-{number}"), limit) }
}

/// The name with a time before its extension.
pub(super) fn timestamped(name: &[u8], at: Timestamp, limit: usize) -> Vec<u8> {
    inserted(name, &format!("-{}", at.format("%Y%m%dT%H%M%S%6fZ")), limit)
}

fn inserted(name: &[u8], text: &str, limit: usize) -> Vec<u8> {
    let (stem, extension) = match name.iter().rposition(|b| *b == b'.') {
        Some(dot) if dot > 0 => name.split_at(dot),
        _ => (name, &b""[..]),
    };
    let extension = cut(extension, limit.saturating_sub(text.len() + 1));
    let room = limit.saturating_sub(text.len() + extension.len());
    [cut(stem, room), text.as_bytes(), extension].concat()
}

/// Shortens a name to this number of bytes, at a character boundary if it is text.
fn cut(name: &[u8], room: usize) -> &[u8] {
    let Some(start) = name.get(..room) else { return name };
    match std::str::from_utf8(name) {
        Ok(text) => &name[..text.floor_char_boundary(room)],
        Err(_) => start,
    }
}

/// Checks a prefix, suffix or temporary suffix option. A character that is not allowed in file names is refused when
/// the flow is defined, not at run time.
///
/// # Errors
/// What is wrong with it, for a finding at the field.
pub fn check_affix(text: &str) -> Result<(), String> {
    match text.chars().find(|c| *c == '/' || FORBIDDEN.contains(c) || c.is_control()) {
        None if text.len() <= 64 => Ok(()),
        None => Err(format!("has {} bytes; give at most 64", text.len())),
        Some(character) => Err(format!("contains {character:?}, which cannot be part of a file name")),
    }
}

/// Reads a directory from a definition.
///
/// # Errors
/// What is wrong with it, for a finding at the field: it is empty, is not a path, or contains `..`.
pub fn parse_directory(text: &str) -> Result<RemotePath, String> {
    let path = RemotePath::from_text(text)?;
    if path.is_empty() {
        return Err("is empty; name a directory".into());
    }
    if path.escapes() {
        return Err("contains '..'; write the directory without it".into());
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> DeliveryId {
        DeliveryId::new(uuid::Uuid::from_u128(0x0192_0000_0000_7000_8000_abcd_ef01_2345))
    }

    #[test]
    fn temporary_names_tell_delivery_and_attempt_and_fit() {
        let name = temporary_name(b"po.edi", id(), 3, (b".", b".a"), NAME_LIMIT);
        assert_eq!(name, b".po.edi.abcdef012345-3.a");
        let long = temporary_name(&[b'x'; 255], id(), 12, (b".", b"_tmp"), NAME_LIMIT);
        assert_eq!(long.len(), NAME_LIMIT);
        assert!(long.ends_with(b".abcdef012345-12_tmp"));
        let text = temporary_name("é".repeat(127).as_bytes(), id(), 1, (b".", b".a"), NAME_LIMIT);
        assert!(text.len() <= NAME_LIMIT && std::str::from_utf8(&text).is_ok());
    }

    #[test]
    fn wrapped_names_that_are_shortened_stay_apart() {
        let wrap = |name: &[u8]| wrapped_apart(b".", name, b".error.json");
        assert_eq!(wrap(b"po.edi"), b".po.edi.error.json");
        let long = |last: u8| [&[b'x'; 254][..], &[last]].concat();
        let (one, other) = (wrap(&long(b'1')), wrap(&long(b'2')));
        assert_ne!(one, other);
        assert!(one.len() <= NAME_LIMIT && one.ends_with(b".error.json"));
        assert_eq!(one, wrap(&long(b'1')), "the next attempt finds it");
        // A name that happens to be the shortened one of another keeps its own.
        assert_ne!(wrap(one.strip_prefix(b".").unwrap()), one);
    }

    #[test]
    fn what_is_unfinished_in_an_archive_is_told_by_its_name() {
        for name in
            [".po.edi.0123456789ab.copying.a", "..po.edi.0123456789ab.moving.a.copying.a", ".po.edi.error.a"]
        {
            assert!(is_unfinished_in_archive(name.as_bytes()), "{name}");
        }
        for name in ["po.edi", ".hidden", "copying.a", ".po.copying", "po.moving.a", ".po.removing.a"] {
            assert!(!is_unfinished_in_archive(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn numbers_and_times_stand_before_the_extension() {
        assert_eq!(numbered(b"a.edi", 1, NAME_LIMIT), b"a.edi");
        assert_eq!(numbered(b"a.edi", 2, NAME_LIMIT), b"a-2.edi");
        assert_eq!(numbered(b".hidden", 2, NAME_LIMIT), b".hidden-2");
        let at = chrono::DateTime::from_timestamp(1_700_000_000, 5_000).unwrap();
        assert_eq!(timestamped(b"a.edi", at, NAME_LIMIT), b"a-20231114T221320000005Z.edi");
        assert_eq!(numbered(&[b'x'; 255], 10, NAME_LIMIT).len(), NAME_LIMIT);
        let long = [&b"a."[..], &[b'x'; 253]].concat();
        assert_eq!(numbered(&long, 10, NAME_LIMIT).len(), NAME_LIMIT);
    }

    #[test]
    fn affixes_and_directories_are_checked_before_use() {
        assert!(check_affix("in-").is_ok());
        for wrong in ["a/b", "*", "a\0", "a\n", "\\", "a:b", "a|b", "<", "\""] {
            assert!(check_affix(wrong).is_err(), "{wrong:?}");
        }
        assert!(parse_directory("done/é").is_ok());
        for wrong in ["", "a/../b", "a%", "a%00"] {
            assert!(parse_directory(wrong).is_err(), "{wrong:?}");
        }
    }
}
