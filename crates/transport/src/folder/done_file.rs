//! Done files: a file is read when its marker is there, such as `orders.csv.done` beside `orders.csv`.

use super::source::FolderSource;
use crate::FoundOffer;
use model::{Error, ErrorKind, Offer, OfferIdentity, RemotePath, Result, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::fmt;

/// The most markers that a poll keeps in memory, and the most bytes of their paths.
const MARKER_LIMIT: usize = 100_000;
const MARKER_BYTES: usize = 16 << 20;

/// The key of a file's marker in an offer's `source_data`.
const MARKER: &str = "done_file";

/// How markers are named: a file's name, or its stem, between two texts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DoneFile {
    before: String,
    after: String,
    of_stem: bool,
}

impl DoneFile {
    /// Reads a template such as `{name}.done` or `{stem}.ok`.
    ///
    /// # Errors
    /// What is wrong with it, for a finding at the field.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fields = [("{name}", false), ("{stem}", true)];
        let found = fields.iter().find_map(|(field, of_stem)| Some((text.split_once(field)?, *of_stem)));
        let Some(((before, after), of_stem)) = found else {
            return Err(
                "needs '{name}', the name of the file, or '{stem}', its name without the extension".into()
            );
        };
        for part in [before, after] {
            if let Some(wrong) =
                part.chars().find(|c| matches!(c, '{' | '}' | '/' | '\\' | '*' | '?') || c.is_control())
            {
                return Err(format!(
                    "contains {wrong:?} beside its one field, which cannot be part of a file name"
                ));
            }
        }
        if before.is_empty() && after.is_empty() {
            return Err("names the file itself; add an ending, such as '{name}.done'".into());
        }
        Ok(Self { before: before.to_owned(), after: after.to_owned(), of_stem })
    }

    /// The name of the marker of a file.
    pub(super) fn marker_of(&self, name: &[u8]) -> Vec<u8> {
        let dot = name.iter().rposition(|byte| *byte == b'.').filter(|dot| self.of_stem && *dot > 0);
        let middle = dot.and_then(|dot| name.get(..dot)).unwrap_or(name);
        [self.before.as_bytes(), middle, self.after.as_bytes()].concat()
    }

    /// Whether a file with this name is a marker.
    pub(super) fn is_marker(&self, name: &[u8]) -> bool {
        name.len() > self.before.len() + self.after.len()
            && name.starts_with(self.before.as_bytes())
            && name.ends_with(self.after.as_bytes())
    }
}

impl fmt::Display for DoneFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{{{}}}{}", self.before, if self.of_stem { "stem" } else { "name" }, self.after)
    }
}

/// A marker in a listing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Marker {
    /// Its path below the polled directory.
    pub(super) relative: RemotePath,
    size: Option<u64>,
    modified: Option<Timestamp>,
    version: Option<String>,
}

/// The markers that a walk found, by their paths below the polled directory.
pub(super) type Markers = HashMap<RemotePath, Marker>;

impl FolderSource {
    /// The markers in the polled directories, as many as a poll may hold; `None` if the flow has no done files.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub(super) async fn markers(&self) -> Result<Option<Markers>> {
        let Some(done_file) = self.done_file() else { return Ok(None) };
        let (mut walk, mut markers, mut bytes) = (self.walk(), Markers::new(), 0);
        while let Some(listed) = walk.next().await? {
            if !done_file.is_marker(listed.relative.file_name()) {
                continue;
            }
            bytes += listed.relative.as_bytes().len();
            if markers.len() >= MARKER_LIMIT || bytes > MARKER_BYTES {
                tracing::warn!(directory = %listed.path, markers = markers.len(), "there are more done files than a poll can hold; the files of the others are left to later polls");
                break;
            }
            let (entry, relative) = (listed.entry, listed.relative);
            let modified = entry.modified.filter(|_| self.is_timed());
            let marker =
                Marker { relative: relative.clone(), size: entry.size, modified, version: entry.version };
            markers.insert(relative, marker);
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
        match self.folder().stat(&path).await {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_named_after_its_file() {
        let of_name = DoneFile::parse("{name}.done").unwrap();
        assert_eq!(of_name.marker_of(b"a.csv"), b"a.csv.done");
        assert!(
            of_name.is_marker(b"a.csv.done") && !of_name.is_marker(b".done") && !of_name.is_marker(b"a.csv")
        );
        let of_stem = DoneFile::parse("ok-{stem}.ok").unwrap();
        assert_eq!(of_stem.marker_of(b"a.b.csv"), b"ok-a.b.ok");
        assert_eq!(of_stem.marker_of(b"caf\xe9"), b"ok-caf\xe9.ok");
        assert_eq!(of_stem.marker_of(b".hidden"), b"ok-.hidden.ok");
        assert!(
            of_stem.is_marker(b"ok-a.ok") && !of_stem.is_marker(b"ok-.ok") && !of_stem.is_marker(b"a.ok")
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (text, words) in [
            ("", "needs '{name}'"),
            ("done", "needs '{name}'"),
            ("{ext}.done", "needs '{name}'"),
            ("{name}", "names the file itself"),
            ("{name}/done", "'/'"),
            ("{name}{stem}", "'{'"),
            ("{name}*", "'*'"),
        ] {
            let error = DoneFile::parse(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
