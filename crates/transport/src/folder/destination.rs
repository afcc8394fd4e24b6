//! Safe writing to any [`Folder`].
//!
//! A file is written under a temporary name that contains delivery and attempt. Then its size is verified, the
//! publication is noted, and the file is renamed to its final name. A later attempt that finds the note checks the
//! temporary file: if it exists, it is published; if not, it was published before, even if the partner has already
//! collected it. Without a note the whole file is sent again under a new temporary name.

mod append;
mod below;
mod copying;
mod corrected;
mod direct;
mod direct_resume;
mod dropped;
mod existing;
mod file_path;
mod locks;
mod marker;
mod modified;
mod probe;
mod publish;
mod receipt;
mod replaced;
mod resume;
mod streamed;
mod verify;
mod write;

pub(super) use copying::copy;
pub(super) use resume::is_cut;

use super::{Folder, Owner, check_affix, names, parse_directory};
use crate::{Deliver, Destination, Payload, Probe, Sent, Services};
pub use append::APPENDING;
use async_trait::async_trait;
pub use below::DirectoryBelow;
pub use direct::WRITING;
use dropped::{Unnoted, note_or_remove};
pub use file_path::{FILE_NAME, IS_FILE_PATH};
pub use locks::LOCKED;
pub use marker::MARKING;
use model::schema::{FieldPath, Findings, Section};
use model::{Error, ErrorKind, NameTemplate, RemotePath, Result, Sha256};
pub use publish::PUBLISHING;
use publish::{Publishing, TemporaryFile};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Whether a delivery's notes say that its file may lie, published or not, where they were written.
#[must_use]
pub fn is_unsettled(notes: &BTreeMap<String, Value>) -> bool {
    [PUBLISHING, WRITING, MARKING, APPENDING]
        .iter()
        .any(|key| notes.get(*key).is_some_and(|note| !note.is_null()))
}

/// The hash of a payload whose bytes were staged, or read.
fn known_sha256(payload: &dyn Payload) -> Result<Sha256> {
    payload.sha256().ok_or_else(|| {
        Error::permanent(ErrorKind::Internal, "know the hash of a payload").with("payload", payload.id())
    })
}

/// What happens if the file name exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Overwrite {
    /// The delivery fails permanently, and the error names the file. This is the default: a partner's file is never
    /// destroyed unless the definition allows it.
    #[default]
    Refuse,
    /// The file is replaced, in one step where the server can.
    Replace,
    /// A number is put before the extension, up to this one (`name-2.edi`, `name-3.edi`, …).
    Rename(u32),
    /// The delivery ends as done if that file has the same content, and fails permanently otherwise.
    SkipSame,
    /// The file is added to the end of that one. The receiver may see a part of it.
    Append,
}

impl Overwrite {
    /// The values of the `overwrite` option.
    pub const WORDS: &'static [&'static str] = &["refuse", "replace", "rename", "skip_same", "append"];

    /// The highest number that `rename` tries.
    pub const NUMBERS: u32 = 1_000;

    /// Reads one of [`Overwrite::WORDS`]; anything else is the default.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        match word {
            "replace" => Self::Replace,
            "rename" => Self::Rename(Self::NUMBERS),
            "skip_same" => Self::SkipSame,
            "append" => Self::Append,
            _ => Self::Refuse,
        }
    }
}

/// How it is verified that a file arrived whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Verify {
    /// By the size that the server reports.
    #[default]
    Size,
    /// By its size and its SHA-256: the file is read back.
    Checksum,
    /// Not at all: the server's acknowledgement of every write counts.
    None,
}

impl Verify {
    /// The values of the `verify` option.
    pub const WORDS: &'static [&'static str] = &["size", "checksum", "none"];

    /// Reads one of [`Verify::WORDS`]; anything else is the default.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        match word {
            "checksum" => Self::Checksum,
            "none" => Self::None,
            _ => Self::Size,
        }
    }
}

/// Whether the server refuses to show what exists at a path.
pub(super) fn is_not_shown(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported | ErrorKind::Rejected)
}

/// The options of writing.
#[derive(Clone, Debug)]
pub struct WriteOptions {
    /// The endpoint's name, for errors.
    pub endpoint: String,
    /// The server and account, without secrets (`sftp://user@host:22`). Notes of publications apply only to the same
    /// address.
    pub address: String,
    /// The directory to write to, in the server's form; empty for the login directory.
    pub directory: RemotePath,
    /// The directory below it that files are written to; `None` for the directory itself.
    pub below: Option<DirectoryBelow>,
    /// The beginning of temporary names.
    pub temporary_prefix: String,
    /// The end of temporary names, by which other programs ignore them (`.a`, `_tmp`).
    pub temporary_suffix: String,
    /// The directory for temporary files, in the server's form; `None` for the directory of the file itself.
    pub temporary_directory: Option<RemotePath>,
    /// Text before the file name.
    pub prefix: String,
    /// Text after the file name.
    pub suffix: String,
    /// What happens if the name exists.
    pub overwrite: Overwrite,
    /// Whether the directory is created if it is missing. Directories below it, from a file name with directories,
    /// are always created.
    pub create_directories: bool,
    /// Whether files are first written under a temporary name. If not, a file has its final name from the first byte:
    /// for servers that collect files as soon as they are closed, or do not allow renaming.
    pub temporary_name: bool,
    /// How it is verified that a file arrived whole.
    pub verify: Verify,
    /// Whether files get the modification time that they had at their source, where that is known.
    pub keep_time: bool,
    /// The name of an empty file that is written after each file, made of the file's name.
    pub marker: Option<NameTemplate>,
    /// Who owns delivered files; with `None` the place decides.
    pub owner: Option<Owner>,
    /// The absolute directories below which the metadata of a file may name its path ([`IS_FILE_PATH`]).
    pub paths_below: Vec<RemotePath>,
    /// The longest file name, in bytes.
    pub name_limit: usize,
    /// The fewest bytes that must have arrived of a file whose connection broke, so that it goes on there.
    pub resume_from: u64,
}

impl WriteOptions {
    /// The default options for a directory.
    #[must_use]
    pub fn new(endpoint: impl Into<String>, directory: RemotePath) -> Self {
        Self {
            endpoint: endpoint.into(),
            address: String::new(),
            directory,
            below: None,
            temporary_prefix: names::TEMPORARY_PREFIX.into(),
            temporary_suffix: names::TEMPORARY.into(),
            temporary_directory: None,
            prefix: String::new(),
            suffix: String::new(),
            overwrite: Overwrite::default(),
            create_directories: false,
            temporary_name: true,
            verify: Verify::default(),
            keep_time: false,
            marker: None,
            owner: None,
            paths_below: Vec::new(),
            name_limit: names::NAME_LIMIT,
            resume_from: resume::LEAST,
        }
    }

    /// Checks options that a person wrote.
    pub fn check(&self, findings: &mut Findings<'_>) {
        for (path, text) in [
            ("temporary.prefix", &self.temporary_prefix),
            ("temporary.suffix", &self.temporary_suffix),
            ("prefix", &self.prefix),
            ("suffix", &self.suffix),
        ] {
            findings.accept(path, check_affix(text));
        }
        if self.temporary_prefix.is_empty()
            && self.temporary_suffix.is_empty()
            && self.temporary_directory.is_none()
        {
            findings.error(
                "temporary",
                "names no prefix, suffix or directory, so other programs cannot tell unfinished files; give one, or \
                 temporary = \"none\" to write files under their own names",
            );
        }
        if self.verify == Verify::Checksum && !self.temporary_name {
            findings.error(
                "verify",
                "a file that is written under its own name can be collected before it is read back; remove \
                 temporary = \"none\", or set verify = \"size\"",
            );
        }
        if self.owner.is_some() && self.verify == Verify::Checksum {
            findings.warning(
                "owner",
                "is set before the file is read back (verify = \"checksum\"): see that this login may still read it then, or set \
                 verify = \"size\"",
            );
        }
        if self.owner.is_some() && self.overwrite == Overwrite::Append {
            let message =
                "has no effect with overwrite = \"append\": a file that is appended to keeps its owner";
            findings.warning("owner", message);
        }
        if let Some(marker) = &self.marker {
            findings.accept("marker", marker::check(marker));
        }
        for (root, number) in self.paths_below.iter().zip(1..) {
            if !root.is_absolute() || root.escapes() {
                let path = FieldPath::from("paths_below").item(number);
                findings.error(path, "must be an absolute directory, without '..'");
            }
        }
        if !self.directory.is_empty() {
            findings.accept("", parse_directory(&self.directory.to_text()));
        }
    }
}

/// Delivers files to a folder.
pub struct FolderDestination {
    folder: Arc<dyn Folder>,
    options: WriteOptions,
    services: Services,
}

impl FolderDestination {
    /// Creates a destination over a folder. Opens no connection.
    ///
    /// # Errors
    /// `ConfigInvalid`, by [`WriteOptions::check`].
    pub fn new(folder: Arc<dyn Folder>, options: WriteOptions, services: Services) -> Result<Self> {
        Findings::required(Section::ENDPOINT, &options.endpoint, |findings| {
            options.check(findings);
            Some(())
        })?;
        Ok(Self { folder, options, services })
    }

    /// The path of a file in the folder, in the directory of a delivery.
    fn final_path(&self, directory: &RemotePath, file_name: &RemotePath) -> Result<RemotePath> {
        let refused = |advice: String| {
            Error::permanent(ErrorKind::Rejected, "use a file name")
                .with("endpoint", &self.options.endpoint)
                .with("file name", file_name)
                .advice(advice)
        };
        let last = file_name.file_name();
        if file_name.escapes() || file_name.is_absolute() || last.is_empty() || last == b"." {
            return Err(refused("it must be a name below the endpoint's directory".into()));
        }
        let name = [self.options.prefix.as_bytes(), last, self.options.suffix.as_bytes()].concat();
        let named = file_name.with_file_name(&name);
        let limit = self.options.name_limit;
        match named.parts().map(<[u8]>::len).max() {
            Some(longest) if longest > limit => Err(refused(format!(
                "a part of it has {longest} bytes, and at most {limit} are allowed there; shorten it with \
                the destination's file_name"
            ))),
            _ => Ok(directory.join(&named)),
        }
    }

    /// The temporary path of an attempt: in the same directory as the final path, or in the one for temporary files.
    fn temporary_path(&self, path: &RemotePath, delivery: &Deliver, attempt: u32) -> RemotePath {
        let affixes = (self.options.temporary_prefix.as_bytes(), self.options.temporary_suffix.as_bytes());
        let id = delivery.claim.delivery;
        let name = names::temporary_name(path.file_name(), id, attempt, affixes, self.options.name_limit);
        match &self.options.temporary_directory {
            Some(directory) => directory.join(&RemotePath::from_bytes(name)),
            None => path.with_file_name(&name),
        }
    }

    /// Delivers the file itself.
    async fn deliver_file(&self, delivery: &Deliver) -> Result<Sent> {
        let path = self.path_of(delivery)?;
        self.release_locks(delivery).await?;
        if let Some(earlier) = Publishing::noted(&delivery.notes) {
            let look = self.look(&earlier).await?;
            let is_corrected = self.is_corrected(&earlier, &path);
            if is_corrected && matches!(look, TemporaryFile::Ready) && self.has_final_name(&earlier).await? {
                return self.end_publication(delivery, &earlier).await;
            }
            let is_rewritten = is_corrected && Self::is_surely_unpublished(&earlier, &look);
            match look {
                _ if is_rewritten => {
                    if let Some(sent) = self.take_back(delivery, &earlier).await? {
                        return Ok(sent);
                    }
                }
                TemporaryFile::Gone => {
                    self.remove_replaced(&earlier).await;
                    return Ok(self.delivered(delivery, &earlier));
                }
                TemporaryFile::Ready | TemporaryFile::Unknown => {
                    return self.publish(delivery, earlier, true).await;
                }
                TemporaryFile::Damaged => self.retract(delivery, &earlier).await?,
                // The file may have arrived in the other directory, but not in this one: duplicate delivery is better
                // than loss.
                TemporaryFile::Elsewhere => {
                    tracing::warn!(
                        endpoint = %self.options.endpoint, path = %earlier.name, address = %earlier.address,
                        "the endpoint now points to another directory than when the file was written: the \
                        file is sent again"
                    );
                }
            }
        }
        if self.options.overwrite == Overwrite::SkipSame
            && self.noted_writing(delivery).is_none()
            && let Some(sent) = self.find_same(delivery, &path).await?
        {
            return Ok(sent);
        }
        if self.options.overwrite == Overwrite::Append {
            if let Some(sent) = self.find_written_directly(delivery).await? {
                return Ok(sent);
            }
            return self.deliver_appended(delivery, path).await;
        }
        if let Some(sent) = self.settle_appended(delivery).await? {
            return Ok(sent);
        }
        if !self.options.temporary_name {
            return self.deliver_direct(delivery, path).await;
        }
        if let Some(sent) = self.find_written_directly(delivery).await? {
            return Ok(sent);
        }
        self.remove_older(delivery, &path).await;
        let temporary = self.temporary_path(&path, delivery, delivery.claim.attempt);
        let unnoted = Unnoted::watch(&self.folder, &temporary);
        let written = self.write(delivery, path, temporary).await;
        unnoted.disarm();
        let publishing = written?;
        note_or_remove(&self.folder, delivery, &publishing).await?;
        self.publish(delivery, publishing, false).await
    }
}

#[async_trait]
impl Destination for FolderDestination {
    async fn deliver(&self, delivery: Deliver) -> Result<Sent> {
        self.check_name(&delivery.file_name)?;
        self.may_be_streamed(&delivery)?;
        let sent = match self.deliver_file(&delivery).await {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => self.same_or(&delivery, error).await?,
            sent => sent?,
        };
        self.write_marker(&delivery, &sent).await?;
        Ok(self.with_file_path(sent).await)
    }

    fn check_name(&self, file_name: &RemotePath) -> Result<()> {
        // Directories of other times differ in their digits alone.
        let directory = self.directory_at(self.services.clock.now(), "")?;
        let path = self.final_path(&directory, file_name)?;
        self.folder.check_path(&path)?;
        let Some(marker) = self.marker_path(&path)? else { return Ok(()) };
        self.folder.check_path(&marker)
    }

    async fn probe(&self) -> Probe {
        let mut probe = Probe::default();
        if let Some(folder) = Arc::clone(&self.folder).probe(&mut probe).await {
            let (options, services) = (self.options.clone(), self.services.clone());
            Self { folder, options, services }.probe_steps(&mut probe).await;
        }
        probe
    }
}
