//! The payloads of an unpacked message: written under temporary names, published only when the whole
//! message was proved.

use super::unpack::lacking;
use crate::cli::values::Protections;
use model::{Error, Result};
use smime::threads::{Queue, WriteBehind};
use smime::{Part, PartReceiver, Wrapping};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use transport_as2::safe_file_name;

/// Takes the payloads of one message into a directory. Dropped without [`Payloads::publish`], it leaves
/// nothing there.
pub(crate) struct Payloads {
    directory: PathBuf,
    message_id: String,
    required: Protections,
    written: Vec<Written>,
    /// The names given so far; taken back unless all could be given.
    published: Vec<PathBuf>,
}

/// Longest file name that file systems hold, in bytes.
const LONGEST_NAME: usize = 255;

struct Written {
    temporary: PathBuf,
    name: String,
    file: WriteBehind<File>,
}

impl Payloads {
    /// Only of a message that has, or claims to have, these protections.
    pub(crate) fn into_directory(directory: &Path, message_id: &str, required: Protections) -> Self {
        Self {
            required,
            directory: directory.to_owned(),
            message_id: message_id.to_owned(),
            written: Vec::new(),
            published: Vec::new(),
        }
    }

    /// Gives every payload its name, replacing nothing: a name that is taken gets a number.
    ///
    /// # Errors
    /// The directory cannot be written; then no payload is published.
    pub(crate) fn publish(mut self) -> Result<Vec<PathBuf>> {
        let failed = |name: &str, error| Error::local_io("write a payload", error).with("name", name);
        for written in &mut self.written {
            let finished = written.file.finish().and_then(|file| file.sync_all());
            finished.map_err(|error| failed(&written.name, error))?;
        }
        for written in &self.written {
            let path = link_free(&written.temporary, &self.directory, &written.name)
                .map_err(|error| failed(&written.name, error))?;
            self.published.push(path);
        }
        // Nothing is left to take back.
        Ok(std::mem::take(&mut self.published))
    }
}

/// A second name for the file, one that nothing has: `name`, `name.1`, `name.2` …
fn link_free(temporary: &Path, directory: &Path, name: &str) -> io::Result<PathBuf> {
    let mut number = 0_u32;
    loop {
        let path = directory.join(numbered(name, number));
        match fs::hard_link(temporary, &path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            result => return result.map(|()| path),
        }
    }
}

/// The name with a number after it, its stem cut where the number needs the room; 0: as it is.
fn numbered(name: &str, number: u32) -> String {
    if number == 0 {
        return name.to_owned();
    }
    let number = format!(".{number}");
    let (stem, extension) =
        name.rfind('.').filter(|at| name.len() - at <= 32).map_or((name, ""), |at| name.split_at(at));
    let room = LONGEST_NAME - number.len() - extension.len();
    format!("{}{extension}{number}", &stem[..stem.floor_char_boundary(room)])
}

impl Drop for Payloads {
    fn drop(&mut self) {
        for path in &self.published {
            if let Err(error) = fs::remove_file(path) {
                tracing::warn!(path = %path.display(), %error, "a payload could not be removed");
            }
        }
        for written in &self.written {
            // The published name is another link; this one is only for the way there.
            if let Err(error) = fs::remove_file(&written.temporary) {
                tracing::warn!(path = %written.temporary.display(), %error, "a temporary file could not be removed");
            }
        }
    }
}

/// The message does not even claim a protection that it must have.
#[derive(Debug)]
pub(crate) struct MissingProtection(pub(crate) &'static str);

impl std::fmt::Display for MissingProtection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the message is not {}", self.0)
    }
}

impl std::error::Error for MissingProtection {}

impl PartReceiver for Payloads {
    fn unwrapped(&mut self, wrappings: &[Wrapping]) -> io::Result<()> {
        let has = |wrapping| wrappings.contains(&wrapping);
        match lacking(self.required, has(Wrapping::Signed), has(Wrapping::Encrypted)) {
            Some(lacks) => Err(io::Error::other(MissingProtection(lacks))),
            None => Ok(()),
        }
    }

    fn begin(&mut self, part: &Part) -> io::Result<Box<dyn Write + '_>> {
        let name = safe_file_name(part.file_name().as_deref(), &self.message_id);
        let temporary =
            self.directory.join(format!(".waybill-{}-{}.part", std::process::id(), self.written.len()));
        let file = OpenOptions::new().write(true).create_new(true).open(&temporary)?;
        self.written.push(Written { temporary, name, file: WriteBehind::new(file, Queue::OF_A_COMMAND)? });
        match self.written.last_mut() {
            Some(written) => Ok(Box::new(&mut written.file)),
            None => Err(io::Error::other("no payload was begun")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payloads(directory: &Path, names: &[&str]) -> Payloads {
        let mut payloads =
            Payloads::into_directory(directory, "<1@test>", Protections { signed: false, encrypted: false });
        for (number, name) in names.iter().enumerate() {
            let temporary = directory.join(format!(".{number}.part"));
            let file = File::create_new(&temporary).unwrap();
            let mut file = WriteBehind::new(file, Queue::OF_A_COMMAND).unwrap();
            file.write_all(name.as_bytes()).unwrap();
            payloads.written.push(Written { temporary, name: (*name).to_owned(), file });
        }
        payloads
    }

    fn names_in(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
        let mut names: Vec<String> = entries.map(|e| e.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn names_already_given_are_taken_back_when_one_cannot_be() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a"), "was there before").unwrap();
        let error = payloads(directory.path(), &["a", "b", "no-such/c"]).publish().unwrap_err();
        assert!(error.chain().contains("no-such/c"), "{}", error.chain());
        assert_eq!(names_in(directory.path()), ["a"]);
        payloads(directory.path(), &["a", "b"]).publish().unwrap();
        assert_eq!(names_in(directory.path()), ["a", "a.1", "b"]);
        assert_eq!(fs::read(directory.path().join("a")).unwrap(), b"was there before");
    }

    #[test]
    fn a_number_finds_room_after_the_longest_name() {
        for name in
            ["x".repeat(255), format!("{}.edi", "\u{fc}".repeat(125)), format!("{}.xml", "x".repeat(251))]
        {
            for number in [1, 9, 10, u32::MAX] {
                let numbered = numbered(&name, number);
                assert!(numbered.len() <= LONGEST_NAME, "{numbered}");
                assert!(numbered.ends_with(&format!(".{number}")), "{numbered}");
                assert_eq!(numbered.contains(".edi."), name.ends_with(".edi"), "{numbered}");
            }
        }
        assert_eq!((numbered("a.b", 0), numbered("a.b", 2)), ("a.b".to_owned(), "a.b.2".to_owned()));
    }
}
