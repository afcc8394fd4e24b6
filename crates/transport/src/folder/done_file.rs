//! Done files: a file is read when its marker is there, such as `orders.csv.done` beside `orders.csv`.

use model::{IdentityRule, OfferIdentity, RemotePath, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;

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
    pub(in crate::folder) fn marker_of(&self, name: &[u8]) -> Vec<u8> {
        let dot = name.iter().rposition(|byte| *byte == b'.').filter(|dot| self.of_stem && *dot > 0);
        let middle = dot.and_then(|dot| name.get(..dot)).unwrap_or(name);
        [self.before.as_bytes(), middle, self.after.as_bytes()].concat()
    }

    /// Whether a file with this name is a marker.
    pub(in crate::folder) fn is_marker(&self, name: &[u8]) -> bool {
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
    pub(super) size: Option<u64>,
    pub(super) modified: Option<Timestamp>,
    pub(super) version: Option<String>,
}

impl Marker {
    /// The bytes of its path and version in memory.
    pub(super) fn bytes(&self) -> usize {
        self.relative.as_bytes().len() + self.version.as_ref().map_or(0, String::len)
    }

    /// One text that is the same as long as this marker stands beside the file with this identity; `None` if the server
    /// states nothing that changes when a marker is written anew.
    pub(super) fn key(&self, file: &OfferIdentity) -> Option<String> {
        if self.modified.is_none() && self.version.is_none() {
            return None;
        }
        let path = file.path.with_file_name(self.relative.file_name());
        let marker = OfferIdentity {
            flow: file.flow.clone(),
            endpoint: file.endpoint.clone(),
            path,
            size: self.size,
            modified: self.modified,
            version: self.version.clone(),
            rule: IdentityRule::default(),
        };
        Some(serde_json::json!([file.path.to_text(), marker.key()]).to_string())
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
