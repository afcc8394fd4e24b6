//! The installation id of a node. It distinguishes an earlier process of the same state directory (its lock proves
//! that it ended) from a living node elsewhere with the same name.

use crate::whole_file::place;
use model::{Error, ErrorKind, Result};
use std::path::Path;
use uuid::Uuid;

/// Reads the id in `path`, or creates one there.
///
/// # Errors
/// The file cannot be read or written, or contains no id.
pub fn load_or_create_instance(path: &Path, make: impl FnOnce() -> Uuid) -> Result<Uuid> {
    let failed = |error| Error::local_io("use the node's instance id", error).with("path", path.display());
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let id = make();
            return match place(path, format!("{id}\n").as_bytes(), 0o644, false) {
                Ok(()) => Ok(id),
                // Another process was faster: its id counts.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    read(path, &std::fs::read_to_string(path).map_err(failed)?)
                }
                Err(error) => Err(failed(error)),
            };
        }
        Err(error) => return Err(failed(error)),
    };
    read(path, &text)
}

fn read(path: &Path, text: &str) -> Result<Uuid> {
    text.trim().parse().map_err(|error| {
        Error::permanent(ErrorKind::ConfigInvalid, "use the node's instance id")
            .with("path", path.display())
            .caused_by(error)
            .advice("remove the file: Waybill creates a new id, and the start waits until the earlier lease of this node has ended")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_once_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("instance");
        let made = load_or_create_instance(&path, Uuid::new_v4).unwrap();
        assert_eq!(load_or_create_instance(&path, Uuid::new_v4).unwrap(), made);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file stays");
        std::fs::write(&path, "no id").unwrap();
        let error = load_or_create_instance(&path, Uuid::new_v4).unwrap_err();
        assert!(error.to_string().contains("remove the file"), "{error}");
    }
}
