//! The markers of files: found in a listing before the files, and settled with them.

use super::FolderSource;
use crate::FoundOffer;
use crate::folder::done_file::Marker;
use crate::folder::walk::Listed;
use model::{Error, ErrorKind, Offer, OfferIdentity, RemotePath, Result};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// The most markers that a poll keeps in memory, and the most bytes of their paths and versions.
const MARKER_LIMIT: usize = 100_000;
const MARKER_BYTES: usize = 16 << 20;

/// The key of a file's marker in an offer's `source_data`.
const MARKER: &str = "done_file";

/// The markers that a walk found, by their paths.
pub(super) type Markers = HashMap<RemotePath, Marker>;

impl FolderSource {
    /// The markers in the polled directories, as many as a poll may hold; `None` if the flow has no done files.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub(super) async fn markers(&self) -> Result<Option<Markers>> {
        let Some(done_file) = self.done_file() else { return Ok(None) };
        let (mut walk, mut markers, mut bytes) = (self.walk()?, Markers::new(), 0);
        while let Some(listed) = walk.next().await? {
            if !done_file.is_marker(listed.relative.file_name()) {
                continue;
            }
            bytes += listed.path.as_bytes().len() + listed.entry.version.as_ref().map_or(0, String::len);
            if markers.len() >= MARKER_LIMIT || bytes > MARKER_BYTES {
                tracing::warn!(directory = %listed.path, markers = markers.len(), "there are more done files than a poll can hold; the files of the others are left to later polls");
                break;
            }
            let Listed { entry, relative, path, .. } = listed;
            let modified = entry.modified.filter(|_| self.is_timed());
            let marker = Marker { relative, size: entry.size, modified, version: entry.version };
            markers.insert(path, marker);
        }
        Ok(Some(markers))
    }

    /// Asks whether the marker of a file that is to be read is still there: it may have been settled with an earlier file
    /// of the name since it was listed.
    ///
    /// # Errors
    /// `NotFound`, transient: it is gone.
    pub(super) async fn find_marker(&self, offer: &FoundOffer) -> Result<()> {
        let Some(value) = offer.source_data.get(MARKER) else { return Ok(()) };
        let Ok(marker) = Marker::deserialize(value) else { return Ok(()) };
        let path = offer.identity.path.with_file_name(marker.relative.file_name());
        match self.folder.stat(&path).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(Error::transient(ErrorKind::NotFound, "read a file whose done file is there")
                    .with("path", path)
                    .advice("the done file is gone; the file is read when there is one again"))
            }
            // Where the server does not tell, the listing counts.
            _ => Ok(()),
        }
    }

    /// The offer that stands for an offer's marker, to be settled before its file.
    ///
    /// # Errors
    /// The record of the marker cannot be read.
    pub(super) fn marker_offer(&self, offer: &Offer) -> Result<Option<Offer>> {
        let Some(value) = offer.source_data.get(MARKER) else { return Ok(None) };
        let marker = Marker::deserialize(value).map_err(|error| {
            Error::permanent(ErrorKind::Internal, "read which done file a file had")
                .with("path", &offer.identity.path)
                .caused_by(error)
        })?;
        let identity = OfferIdentity {
            path: offer.identity.path.with_file_name(marker.relative.file_name()),
            size: marker.size,
            modified: marker.modified,
            version: marker.version.clone(),
            ..offer.identity.clone()
        };
        let source_data = Self::data_of(&marker.relative);
        Ok(Some(Offer { identity, source_data, ..offer.clone() }))
    }
}

/// Notes a file's marker for its settling.
pub(super) fn note_marker(source_data: &mut Map<String, Value>, marker: Option<Box<Marker>>) {
    // A struct of plain values always has a JSON form.
    if let Some(Ok(value)) = marker.map(serde_json::to_value) {
        source_data.insert(MARKER.to_owned(), value);
    }
}
