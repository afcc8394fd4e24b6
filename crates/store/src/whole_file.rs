//! Writing small files outside the database atomically.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Writes a file atomically: temporary name, sync, final name, sync of the directory. After a power failure it has
/// its old or its new content.
///
/// # Errors
/// The disk failed; without `replace`, also if a file with that name exists.
pub fn place(path: &Path, content: &[u8], mode: u32, replace: bool) -> std::io::Result<()> {
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.new", uuid::Uuid::new_v4()));
    let temporary = PathBuf::from(temporary);
    let written = (|| {
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        // A link does not replace an existing file; a rename does.
        if replace { std::fs::rename(&temporary, path) } else { std::fs::hard_link(&temporary, path) }
    })();
    let _ = std::fs::remove_file(&temporary); // gone already after a rename
    written?;
    std::fs::File::open(directory)?.sync_all()
}
