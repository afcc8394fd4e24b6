//! Giving a written file the modification time that it had at its source.

use super::{FolderDestination, is_not_shown};
use crate::Deliver;
use crate::folder::SOURCE_MODIFIED;
use model::{RemotePath, Result, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What became of a file's modification time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum ModifiedTime {
    /// The server was given this one, in microseconds.
    Kept(i64),
    /// The server does not set times; what it said.
    Refused(String),
}

impl ModifiedTime {
    /// Adds it to a receipt's details.
    pub(super) fn tell(&self, detail: &mut Map<String, Value>) {
        match self {
            Self::Kept(micros) => detail.insert("modified_micros".into(), Value::from(*micros)),
            Self::Refused(why) => detail.insert("time_not_kept".into(), Value::from(why.as_str())),
        };
    }
}

impl FolderDestination {
    /// Sets a file's modification time to the one at its source. `None` if the flow does not ask for it, or the source
    /// told none.
    ///
    /// # Errors
    /// The server did not answer.
    pub(super) async fn keep_time(
        &self,
        delivery: &Deliver,
        path: &RemotePath,
    ) -> Result<Option<ModifiedTime>> {
        let micros = delivery.payload.metadata().get(SOURCE_MODIFIED).and_then(Value::as_i64);
        let Some(micros) = micros.filter(|_| self.options.keep_time) else { return Ok(None) };
        let Some(modified) = Timestamp::from_timestamp_micros(micros) else { return Ok(None) };
        if !self.folder.capabilities().await?.set_modified {
            let why = "the server has no command that sets a file's time";
            return Ok(Some(ModifiedTime::Refused(why.into())));
        }
        match self.folder.set_modified(path, modified).await {
            Ok(()) => Ok(Some(ModifiedTime::Kept(micros))),
            Err(error) if is_not_shown(&error) => Ok(Some(ModifiedTime::Refused(error.chain()))),
            Err(error) => Err(error),
        }
    }
}
