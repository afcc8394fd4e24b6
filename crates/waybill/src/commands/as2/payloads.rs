//! The payloads of an unpacked message: written under temporary names, published only when the whole
//! message was proved.

use super::threads::WriteBehind;
use model::{Error, Result};
use smime::{Part, PartReceiver};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use transport_as2::safe_file_name;

/// Takes the payloads of one message into a directory. Dropped without [`Payloads::publish`], it leaves
/// nothing there.
pub(crate) struct Payloads {
    directory: PathBuf,
    message_id: String,
    written: Vec<Written>,
}

struct Written {
    temporary: PathBuf,
    name: String,
    file: WriteBehind<File>,
}

impl Payloads {
    pub(crate) fn into_directory(directory: &Path, message_id: &str) -> Self {
        Self { directory: directory.to_owned(), message_id: message_id.to_owned(), written: Vec::new() }
    }

    /// Gives every payload its name, replacing nothing: a name that is taken gets a number.
    ///
    /// # Errors
    /// The directory cannot be written; nothing is published under a wrong name.
    pub(crate) fn publish(mut self) -> Result<Vec<PathBuf>> {
        let mut published = Vec::new();
        for written in &mut self.written {
            let failed = |error| Error::local_io("write a payload", error).with("name", &written.name);
            written.file.finish().and_then(|file| file.sync_all()).map_err(failed)?;
            let path = link_free(&written.temporary, &self.directory, &written.name).map_err(failed)?;
            published.push(path);
        }
        Ok(published)
    }
}

/// A second name for the file, one that nothing has: `name`, `name.1`, `name.2` …
fn link_free(temporary: &Path, directory: &Path, name: &str) -> io::Result<PathBuf> {
    let mut number = 0_u32;
    loop {
        let path = directory.join(if number == 0 { name.to_owned() } else { format!("{name}.{number}") });
        match fs::hard_link(temporary, &path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            result => return result.map(|()| path),
        }
    }
}

impl Drop for Payloads {
    fn drop(&mut self) {
        for written in &self.written {
            // The published name is another link; this one is only for the way there.
            if let Err(error) = fs::remove_file(&written.temporary) {
                tracing::warn!(path = %written.temporary.display(), %error, "a temporary file was left behind");
            }
        }
    }
}

impl PartReceiver for Payloads {
    fn begin(&mut self, part: &Part) -> io::Result<Box<dyn Write + '_>> {
        let name = safe_file_name(part.file_name().as_deref(), &self.message_id);
        let temporary =
            self.directory.join(format!(".waybill-{}-{}.part", std::process::id(), self.written.len()));
        let file = OpenOptions::new().write(true).create_new(true).open(&temporary)?;
        self.written.push(Written { temporary, name, file: WriteBehind::new(file)? });
        match self.written.last_mut() {
            Some(written) => Ok(Box::new(&mut written.file)),
            None => Err(io::Error::other("no payload was begun")),
        }
    }
}
