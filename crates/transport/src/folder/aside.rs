//! Replacing a file in steps, on servers that cannot do it in one: the file that is replaced is renamed first, and deleted
//! last.

use super::destination::is_not_shown;
use super::{Folder, NAME_LIMIT};
use model::{Error, ErrorKind, RemotePath, Result};

/// The path that a file is renamed to while another file replaces it, on a server that cannot replace in one step: in the
/// same directory, with a name made of the other's temporary name, so that a later attempt finds it.
#[must_use]
pub fn aside(replaced: &RemotePath, temporary: &RemotePath) -> RemotePath {
    const PREFIX: &[u8] = b".old";
    let name = temporary.file_name();
    // Its end tells the delivery, and that the file is none to collect.
    let mut from = name.len().saturating_sub(NAME_LIMIT - PREFIX.len());
    if let Ok(text) = std::str::from_utf8(name) {
        from = text.ceil_char_boundary(from);
    }
    replaced.with_file_name(&[PREFIX, &name[from..]].concat())
}

/// [`Folder::settle_replaced`] for folders that replace in steps.
///
/// # Errors
/// The server did not answer, or refused it: the renamed file may still exist.
pub async fn settle_aside(
    folder: &dyn Folder,
    temporary: &RemotePath,
    name: &RemotePath,
    is_published: bool,
) -> Result<()> {
    let aside = aside(name, temporary);
    match folder.stat(&aside).await {
        // Not shown: nothing tells that it is there.
        Err(error) if error.kind() == ErrorKind::NotFound || is_not_shown(&error) => return Ok(()),
        Err(error) => return Err(error),
        Ok(_) => {}
    }
    // Ours may be collected already: a missing name is no reason to show the old file once more.
    let settled = match is_published {
        true => folder.remove(&aside).await,
        false => folder.rename(&aside, name).await,
    };
    let placed = |error: Error| error.with("path", name).with("now at", &aside);
    match settled {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.map_err(placed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_is_known_by_the_delivery_that_replaces_it() {
        let (replaced, temporary) =
            (RemotePath::from("out/po.edi"), RemotePath::from("tmp/.po.edi.abcdef012345-3.a"));
        assert_eq!(aside(&replaced, &temporary), RemotePath::from("out/.old.po.edi.abcdef012345-3.a"));
        let long = RemotePath::from(format!("{}-1.a", "é".repeat(125)).as_str());
        let name = aside(&replaced, &long);
        assert!(name.file_name().len() <= NAME_LIMIT && name.file_name().ends_with(b"-1.a"));
        assert!(std::str::from_utf8(name.as_bytes()).is_ok());
    }
}
