//! Small files outside the database that are there whole or not at all.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Writes a file whole: temporary name, sync, the final name, sync of the directory. After a power cut it is there as it
/// was before, or as it was to be.
///
/// # Errors
/// The disk did not take it; without `replace`, also when there is one of that name.
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
        // A link does not replace what is there, a rename does.
        if replace { std::fs::rename(&temporary, path) } else { std::fs::hard_link(&temporary, path) }
    })();
    let _ = std::fs::remove_file(&temporary); // gone already after a rename
    written?;
    std::fs::File::open(directory)?.sync_all()
}
