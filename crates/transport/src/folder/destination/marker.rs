//! Marker files: an empty file that is written after each delivered file and tells the receiver that it is complete.
//!
//! The marker is part of the delivery: it is written before the receipt is recorded, and an attempt that finds the file
//! published writes it again. A receiver that has removed both may see the marker once more after an interruption.

use super::FolderDestination;
use crate::folder::Published;
use crate::{Deliver, Sent};
use model::{Error, ErrorKind, NameTemplate, RemotePath, Result, TemplateValues, Timestamp, TransferId};
use serde_json::Value;
use uuid::Uuid;

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
    })
}

impl FolderDestination {
    /// The path of the marker of a file at this path, if the flow asks for markers.
    pub(super) fn marker_path(&self, path: &RemotePath) -> Option<RemotePath> {
        let marker = self.options.marker.as_ref()?;
        Some(path.with_file_name(&name(marker, path.file_name())))
    }

    /// Writes the marker of a delivered file, if the flow asks for markers. One that exists is replaced.
    ///
    /// # Errors
    /// The file is delivered, its marker is not.
    pub(super) async fn write_marker(&self, delivery: &Deliver, sent: &Sent) -> Result<()> {
        let Sent::Delivered { receipt, .. } = sent else { return Ok(()) };
        let path = receipt.detail.get("path").and_then(Value::as_str);
        let path = path.and_then(|text| RemotePath::from_text(text).ok());
        let Some(marker) = path.and_then(|path| self.marker_path(&path)) else { return Ok(()) };
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
        if !self.options.temporary_name {
            let upload = self.begin(marker, marker, Some(0)).await?;
            return upload.finish().await.map(drop);
        }
        self.remove_older(delivery, marker).await;
        let temporary = self.temporary_path(marker, delivery, delivery.claim.attempt);
        let upload = self.begin(&temporary, marker, Some(0)).await?;
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
