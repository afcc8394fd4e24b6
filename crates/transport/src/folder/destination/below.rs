//! The directory below the endpoint's that files are delivered to, which may be another one each day.

use super::FolderDestination;
use model::definition::DeliveryDirectory;
use model::schedule::TimeZone;
use model::schema::Values;
use model::{DirectoryTemplate, Error, ErrorKind, RemotePath, Result, Timestamp};

/// A directory below the endpoint's, by the time at which a file was received.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirectoryBelow {
    template: DirectoryTemplate,
    /// The clock of its dates.
    zone: TimeZone,
}

impl DirectoryBelow {
    /// Reads a directory.
    ///
    /// # Errors
    /// What is wrong with it, for a finding at the field.
    pub fn parse(text: &str, zone: TimeZone) -> Result<Self, String> {
        let template = DirectoryTemplate::parse(text)?;
        let below = Self { template, zone };
        match below.sample()?.is_absolute() {
            true => Err("must be a directory below the endpoint's, so it cannot begin with '/'".into()),
            false => Ok(below),
        }
    }

    /// The directory at some time.
    fn sample(&self) -> Result<RemotePath, String> {
        self.template.directory(Timestamp::UNIX_EPOCH, self.zone, "flow")
    }

    /// Where a destination of a flow with these options writes. One that cannot be read is reported where it is checked.
    pub(in crate::folder) fn delivery_directory(flow: &str, options: &Values) -> DeliveryDirectory {
        let text = options.text("directory");
        match text.and_then(|text| Self::parse(text, TimeZone::default()).ok()) {
            Some(below) => DeliveryDirectory { examples: below.template.examples(flow) },
            None => DeliveryDirectory::default(),
        }
    }

    /// The directory that all it names are in.
    #[must_use]
    pub fn fixed_part(&self) -> RemotePath {
        self.template.fixed_part()
    }
}

impl FolderDestination {
    /// The directory of a file of a flow that was received at a time.
    ///
    /// # Errors
    /// `ConfigInvalid`: the flow's `directory` cannot be used, which is found when definitions are checked.
    pub(super) fn directory_at(&self, received: Timestamp, flow: &str) -> Result<RemotePath> {
        let Some(below) = &self.options.below else { return Ok(self.options.directory.clone()) };
        let invalid = |why: String| {
            Error::permanent(ErrorKind::ConfigInvalid, "use a directory")
                .with("endpoint", &self.options.endpoint)
                .with("directory", below.template.as_str())
                .advice(why)
        };
        let directory = below.template.directory(received, below.zone, flow).map_err(invalid)?;
        if directory.escapes() {
            return Err(invalid("it leads out of the endpoint's directory".into()));
        }
        Ok(self.options.directory.join(&directory))
    }
}
