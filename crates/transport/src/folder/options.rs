//! The options of flows for any folder transport, as read from their definitions; `fields` declares them.

mod fields;

pub use super::attributes::{OWNER, PERMISSIONS, owner, permissions};
pub use fields::{
    DESTINATION, SOURCE, TEMPORARY_DIRECTORY, TEMPORARY_PREFIX, temporary, temporary_suffix, unfinished,
};

use super::done_file::DoneFile;
use super::filter::Filter;
use super::{
    DirectoryBelow, FolderPlace, Overwrite, PolledDirectory, Verify, WriteOptions, names, parse_directory,
};
use model::definition::{DatedPoll, Destination, Endpoint, LocalArchive, PollEffects, PollSource};
use model::schema::{FieldPath, Findings, Value, Values};
use model::{IdentityRule, NameTemplate};
use std::time::Duration;

/// How long a file must stay unchanged if the flow does not say it, and is not polled more often.
const USUAL_STABLE_FOR: Duration = Duration::from_secs(5);

/// What happens to a source file after Waybill has stored it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum After {
    /// It is deleted.
    Delete,
    /// It is moved to a directory. Unless `timestamp` is false, the time when it was found is added to its name.
    Archive {
        /// The directory, relative to the login directory, or absolute.
        directory: String,
        /// Whether the time is added to the name.
        timestamp: bool,
    },
    /// A copy is written to a directory of this machine; then the file is deleted.
    ArchiveLocally {
        /// The directory, absolute.
        directory: String,
        /// Whether the time is added to the name.
        timestamp: bool,
    },
    /// It is moved to a directory under its own name.
    Move {
        /// The directory.
        directory: String,
    },
    /// It stays; Waybill remembers it.
    Keep,
}

impl After {
    /// Reads the option `after`. The default is `Keep`, so that no file is removed unless the definition says so.
    fn of(options: &Values) -> Self {
        let table = options.table("after");
        if options.text("after") == Some("delete") {
            Self::Delete
        } else if let Some(directory) = table.text("archive") {
            Self::Archive { directory: directory.to_owned(), timestamp: table.bool("timestamp") }
        } else if let Some(directory) = table.text("archive_locally") {
            Self::ArchiveLocally { directory: directory.to_owned(), timestamp: table.bool("timestamp") }
        } else if let Some(directory) = table.text("move") {
            Self::Move { directory: directory.to_owned() }
        } else {
            Self::Keep
        }
    }

    fn to_value(&self, keep_for: Option<Duration>) -> Value {
        let text = |text: &str| Value::Text(text.to_owned());
        let archive = |name, directory, timestamp| {
            let values = Values::of([(name, text(directory)), ("timestamp", Value::Bool(timestamp))]);
            Value::Table(match keep_for {
                Some(keep_for) => values.with("keep_for", Value::Duration(keep_for)),
                None => values,
            })
        };
        match self {
            Self::Delete => text("delete"),
            Self::Keep => text("keep"),
            Self::Archive { directory, timestamp } => archive("archive", directory, *timestamp),
            Self::ArchiveLocally { directory, timestamp } => {
                archive("archive_locally", directory, *timestamp)
            }
            Self::Move { directory } => Value::Table(Values::of([("move", text(directory))])),
        }
    }
}

/// How a file is kept from other programs while it is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Claim {
    /// By the lease of its source in the database.
    #[default]
    Lease,
    /// By renaming it.
    Rename,
}

impl Claim {
    const WORDS: &[&str] = &["lease", "rename"];

    fn of(options: &Values) -> Self {
        if options.text("claim") == Some("rename") { Self::Rename } else { Self::Lease }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::Rename => "rename",
        }
    }
}

/// The polling options of a flow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Polling {
    /// What happens to a source file after Waybill has stored it.
    pub after: After,
    /// How long archived files stay in their archive; `None` without limit.
    pub keep_for: Option<Duration>,
    /// The directory for files that could not be staged, each with a file that states the cause; with `None` they
    /// stay where they are.
    pub error_directory: Option<String>,
    /// How long a file must stay unchanged before it is read; zero reads it when it is first seen.
    pub stable_for: Duration,
    /// Whether subdirectories are polled.
    pub recursive: bool,
    /// The directory below the endpoint's that is polled; `None` for the endpoint's own.
    pub directory: Option<PolledDirectory>,
    /// Whether modification times are ignored. A file is then identified by its path and size alone.
    pub ignore_times: bool,
    /// What tells files apart.
    pub identity: IdentityRule,
    /// How files are kept from other programs.
    pub claim: Claim,
    /// Whether files are not staged, but read when they are delivered.
    pub stream: bool,
    /// The names of done files; `None` for none.
    pub done_file: Option<DoneFile>,
    /// The names of files that are read with a file, as its attachments.
    pub attached_files: Vec<DoneFile>,
    /// Which files are read, by size and age.
    pub filter: Filter,
    /// Files with this suffix are still being written and are never read; empty for none.
    pub temporary_suffix: String,
}

impl Polling {
    /// Reads the options of a polled source.
    #[must_use]
    pub fn of(poll: &PollSource) -> Self {
        let options = &poll.options;
        Self {
            after: After::of(options),
            keep_for: options.table("after").duration("keep_for"),
            error_directory: options.text("error_directory").map(str::to_owned),
            stable_for: match options.get("stable_for") {
                Some(Value::Duration(stable_for)) => *stable_for,
                _ => USUAL_STABLE_FOR.min(poll.schedule.interval().unwrap_or(USUAL_STABLE_FOR)),
            },
            recursive: options.bool("recursive"),
            directory: PolledDirectory::of(poll),
            ignore_times: options.bool("ignore_times"),
            identity: options.text("identity").and_then(IdentityRule::parse).unwrap_or_default(),
            claim: Claim::of(options),
            stream: options.bool("stream"),
            done_file: options.text("done_file").and_then(|text| DoneFile::parse(text).ok()),
            attached_files: {
                options.texts("attached_files").filter_map(|text| DoneFile::parse(text).ok()).collect()
            },
            filter: Filter::of(options),
            temporary_suffix: options.text("temporary_suffix").unwrap_or_default().to_owned(),
        }
    }

    /// The directories at the endpoint that files are moved into, each with its field.
    pub fn directories(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let after = match &self.after {
            After::Archive { directory, .. } => Some(("after.archive", directory)),
            After::Move { directory } => Some(("after.move", directory)),
            After::Delete | After::Keep | After::ArchiveLocally { .. } => None,
        };
        let error = self.error_directory.as_ref().map(|directory| ("error_directory", directory));
        after.into_iter().chain(error).map(|(path, directory)| (path, directory.as_str()))
    }

    /// The same as option values, for a flow that is created by code.
    #[must_use]
    pub fn to_values(&self) -> Values {
        let error_directory = self.error_directory.clone();
        let values = Values::of([
            ("after", self.after.to_value(self.keep_for)),
            ("stable_for", Value::Duration(self.stable_for)),
            ("recursive", Value::Bool(self.recursive)),
            ("ignore_times", Value::Bool(self.ignore_times)),
            ("identity", Value::Text(self.identity.as_str().to_owned())),
            ("claim", Value::Text(self.claim.as_str().to_owned())),
            ("stream", Value::Bool(self.stream)),
            ("temporary_suffix", Value::Text(self.temporary_suffix.clone())),
        ]);
        let values = match &self.done_file {
            Some(done_file) => values.with("done_file", Value::Text(done_file.to_string())),
            None => values,
        };
        let attached_files = self.attached_files.iter().map(|name| Value::Text(name.to_string()));
        let values = match self.attached_files.is_empty() {
            true => values,
            false => values.with("attached_files", Value::List(attached_files.collect())),
        };
        let values = self.filter.write(values);
        let values = match &self.directory {
            Some(directory) => directory.write(values),
            None => values,
        };
        match error_directory {
            Some(directory) => values.with("error_directory", Value::Text(directory)),
            None => values,
        }
    }

    /// What polling with these options does to the polled directory.
    #[must_use]
    pub fn effects(&self) -> PollEffects {
        let directory = self.directory.as_ref();
        let dated = directory.filter(|polled| polled.template.is_dated()).map(|polled| DatedPoll {
            template: polled.template.clone(),
            past_days: polled.past_days,
            is_recursive: self.recursive,
        });
        PollEffects {
            directory: directory.map(|polled| polled.template.fixed_part()),
            // Those of each day are below the one that all of them are in.
            is_recursive: self.recursive || dated.is_some(),
            dated,
            keeps_files: self.after == After::Keep,
            moves_refused: self.error_directory.is_some(),
            streams: self.stream,
            // Of several files the archive's names are known only afterwards.
            names_archive: !self.stream
                && self.attached_files.is_empty()
                && matches!(
                    self.after,
                    After::Archive { timestamp: true, .. } | After::ArchiveLocally { timestamp: true, .. }
                ),
            local_archive: match &self.after {
                After::ArchiveLocally { directory, timestamp } => Some(LocalArchive {
                    directory: directory.clone(),
                    timestamp: *timestamp,
                    keep_for: self.keep_for,
                }),
                _ => None,
            },
        }
    }
}

impl WriteOptions {
    /// Reads and checks a destination's options, and reports each mistake at its field.
    pub fn read(
        endpoint: &Endpoint,
        destination: &Destination,
        place: FolderPlace,
        findings: &mut Findings<'_>,
    ) -> Option<Self> {
        let options = &destination.options;
        let text = |name: &str| options.text(name).unwrap_or_default().to_owned();
        let temporary = options.table("temporary");
        let directory = temporary.text("directory").map(parse_directory).transpose();
        let below = options.text("directory").map(|text| DirectoryBelow::parse(text, destination.hours.zone));
        let marker = options.text("marker").map(NameTemplate::parse).transpose();
        let mut paths_below = Vec::new();
        for (text, number) in options.texts("paths_below").zip(1..) {
            let path = FieldPath::from("paths_below").item(number);
            paths_below.push(findings.accept(path, parse_directory(text))?);
        }
        let read = Self {
            address: place.address,
            below: findings.accept("directory", below.transpose())?,
            temporary_prefix: temporary.text("prefix").unwrap_or(names::TEMPORARY_PREFIX).to_owned(),
            temporary_suffix: temporary.text("suffix").unwrap_or(names::TEMPORARY).to_owned(),
            temporary_directory: findings.accept("temporary.directory", directory)?,
            verify: Verify::from_word(options.text("verify").unwrap_or_default()),
            keep_time: options.bool("keep_time"),
            marker: findings.accept("marker", marker.map_err(|error| error.to_string()))?,
            prefix: text("prefix"),
            suffix: text("suffix"),
            overwrite: Overwrite::from_word(options.text("overwrite").unwrap_or_default()),
            create_directories: options.bool("create_directories"),
            paths_below,
            temporary_name: options.text("temporary") != Some("none"),
            ..Self::new(endpoint.name.clone(), place.directory)
        };
        read.check(findings);
        findings.accept("permissions", permissions(destination))?;
        Some(Self { owner: findings.accept("owner", owner(destination))?, ..read })
    }
}
