//! Marker files: an empty file that is written after each delivered file and tells the receiver that it is complete.
//!
//! The marker is part of the delivery: it is written before the receipt is recorded, and an attempt that finds the file
//! published writes it again. A receiver that has removed both may see the marker once more after an interruption.

use super::FolderDestination;
use super::locks::MARKER_LOCKED;
use crate::folder::Published;
use crate::{Deliver, Sent};
use model::{Error, ErrorKind, NameTemplate, RemotePath, Result, TemplateValues, Timestamp, TransferId};
use serde_json::{Map, Value};
use uuid::Uuid;

/// The key of the note that the file is delivered and its marker may not be: the file's path.
pub const MARKING: &str = "marking";

/// Checks the option `marker`.
///
/// # Errors
/// What is wrong, for a finding at the field.
pub(super) fn check(marker: &NameTemplate) -> Result<(), String> {
    if !marker.is_of_the_name_alone() {
        return Err("may contain {name}, {stem} and {ext}, and no other field".into());
    }
    match name(marker, b"a.b") == b"a.b" {
        true => Err("is the name of the file itself; add an ending, as in \"{name}.done\"".into()),
        false => Ok(()),
    }
}

fn name(marker: &NameTemplate, file_name: &[u8]) -> Vec<u8> {
    // A marker's template has only fields of the name.
    let (received, transfer) = (Timestamp::default(), TransferId::new(Uuid::nil()));
    marker.render(&TemplateValues {
        name: file_name,
        received,
        flow: "",
        transfer,
        sequence: 1,
        failure: None,
        archive: None,
        metadata: &Map::new(),
    })
}

impl FolderDestination {
    /// The path of the marker of a file at this path, if the flow asks for markers.
    ///
    /// # Errors
    /// `Rejected`, permanent: this file can have no marker, because that would have the file's own name or one that is
    /// too long.
    pub(super) fn marker_path(&self, path: &RemotePath) -> Result<Option<RemotePath>> {
        let Some(template) = self.options.marker.as_ref() else { return Ok(None) };
        let marker = path.with_file_name(&name(template, path.file_name()));
        let refused = |advice: String| {
            let error = Error::permanent(ErrorKind::Rejected, "name the marker of a file");
            error.with("endpoint", &self.options.endpoint).with("path", path).advice(advice)
        };
        let limit = self.options.name_limit;
        match marker.file_name().len() {
            _ if marker == *path => {
                Err(refused("the marker would have the file's own name; change 'marker'".into()))
            }
            length if length > limit => Err(refused(format!(
                "the marker's name would have {length} bytes, and at most {limit} are allowed there; shorten the file's \
                 name with 'file_name'"
            ))),
            _ => Ok(Some(marker)),
        }
    }

    /// Writes the marker of a delivered file, if the flow asks for markers. One that exists is replaced.
    ///
    /// # Errors
    /// The file is delivered, its marker is not.
    pub(super) async fn write_marker(&self, delivery: &Deliver, sent: &Sent) -> Result<()> {
        let Sent::Delivered { receipt, .. } = sent else { return Ok(()) };
        let path = receipt.detail.get("path").and_then(Value::as_str);
        let path = path.and_then(|text| RemotePath::from_text(text).ok());
        let Some(path) = path else { return Ok(()) };
        let Some(marker) = self.marker_path(&path)? else { return Ok(()) };
        // If this fails, the file is here all the same, and the delivery must not go to another address.
        delivery.log.note(MARKING, Value::from(path.to_text())).await?;
        delivery.log.may_act()?;
        self.write_empty(delivery, &marker).await.map_err(|error| {
            Error::new(error.kind(), error.retry(), "write the marker after a delivered file")
                .with("endpoint", &self.options.endpoint)
                .with("path", &marker)
                .advice("the file itself is delivered and is not sent again")
                .caused_by(error)
        })
    }

    async fn write_empty(&self, delivery: &Deliver, marker: &RemotePath) -> Result<()> {
        // A file with content is no marker, and not ours to replace.
        if self.folder.stat(marker).await.is_ok_and(|entry| entry.size.is_some_and(|size| size > 0)) {
            return Err(Error::permanent(ErrorKind::AlreadyExists, "write an empty file")
                .with("path", marker)
                .advice("a file that is not empty has this name; move it away, or change 'marker'"));
        }
        if !self.options.temporary_name {
            let upload = self.begin(marker, marker, Some(0), None).await?;
            let upload = self.note_lock(delivery, MARKER_LOCKED, marker, upload).await?;
            return upload.finish().await.map(drop);
        }
        self.remove_older(delivery, marker).await;
        let temporary = self.temporary_path(marker, delivery, delivery.claim.attempt);
        let upload = self.begin(&temporary, marker, Some(0), None).await?;
        let upload = self.note_lock(delivery, MARKER_LOCKED, &temporary, upload).await?;
        upload.finish().await?;
        match self.folder.publish(&temporary, marker, true).await? {
            Published::Published => Ok(()),
            Published::Exists | Published::Unknown => {
                Err(Error::transient(ErrorKind::Unreachable, "publish a file")
                    .with("path", marker)
                    .advice("the server did not confirm the rename; the marker is written again"))
            }
        }
    }
}
