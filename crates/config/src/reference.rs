//! `${env:NAME}`, `${env:NAME:-default}` and `${file:/path}` inside a text; `$${` writes `${` itself.
//!
//! Documents keep their references; they are resolved here, each time the documents are checked.

use crate::context::Context;
use crate::problem::Place;
use std::path::Path;
use zeroize::Zeroize;

/// Largest file that a reference may read: keys and certificates are a few KiB.
const LARGEST_FILE: u64 = 1 << 20;

/// A part of a text.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Piece<'a> {
    Literal(&'a str),
    Variable { name: &'a str, default: Option<&'a str> },
    File(&'a str),
}

/// Whether a text holds a reference; one that cannot be read counts.
pub(crate) fn is_reference(text: &str) -> bool {
    pieces(text).map_or(true, |pieces| pieces.iter().any(|piece| !matches!(piece, Piece::Literal(_))))
}

fn pieces(text: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(kept) = before.strip_suffix('$') {
            // `$${`: one dollar escapes the other.
            pieces.push(Piece::Literal(kept));
            pieces.push(Piece::Literal("${"));
            rest = &from[2..];
            continue;
        }
        pieces.push(Piece::Literal(before));
        let Some((inner, after)) = from[2..].split_once('}') else {
            return Err("'${' is not closed with '}'; write '$${' for the characters themselves".into());
        };
        pieces.push(piece(inner)?);
        rest = after;
    }
    pieces.push(Piece::Literal(rest));
    Ok(pieces)
}

fn piece(inner: &str) -> Result<Piece<'_>, String> {
    let (kind, rest) = inner.split_once(':').unwrap_or((inner, ""));
    match kind {
        "env" => {
            let (name, default) = match rest.split_once(":-") {
                Some((name, default)) => (name, Some(default)),
                None => (rest, None),
            };
            let fits = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                && name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
            if fits {
                Ok(Piece::Variable { name, default })
            } else {
                Err(format!("'${{{inner}}}': write ${{env:NAME}} or ${{env:NAME:-default}}"))
            }
        }
        "file" if !rest.is_empty() => Ok(Piece::File(rest)),
        "file" => Err(format!("'${{{inner}}}': write ${{file:/absolute/path}}")),
        other => Err(match model::nearest(other, ["env", "file"].into_iter()) {
            Some(near) => format!("'${{{inner}}}' is no reference; did you mean '${{{near}:…}}'?"),
            None => format!(
                "'${{{inner}}}' is no reference; there are ${{env:NAME}} and ${{file:/path}}, and '$${{' \
                 writes the characters themselves"
            ),
        }),
    }
}

impl Context<'_> {
    /// The text with its references resolved. What cannot be is a problem, and `None`. `secret` says that
    /// nobody else should be able to read what a file holds.
    pub(crate) fn resolve(&self, text: &str, place: &Place, key: &str, secret: bool) -> Option<String> {
        let pieces = match pieces(text) {
            Ok(pieces) => pieces,
            Err(message) => {
                self.error(place, key, message);
                return None;
            }
        };
        let mut whole = String::new();
        let mut complete = true;
        for piece in pieces {
            let part = match piece {
                Piece::Literal(text) => Ok(text.to_owned()),
                Piece::Variable { name, default } => self.variable(name, default),
                Piece::File(path) => self.file(path, place, key, secret),
            };
            match part {
                Ok(mut part) => {
                    whole.push_str(&part);
                    part.zeroize();
                }
                Err(message) => {
                    self.error(place, key, message);
                    complete = false;
                }
            }
        }
        if complete {
            return Some(whole);
        }
        whole.zeroize();
        None
    }

    /// As in a shell, `:-` stands in for a variable that is not set, and for an empty one.
    fn variable(&self, name: &str, default: Option<&str>) -> Result<String, String> {
        self.roots.variable(name)?;
        match (self.environment.variable(name), default) {
            (Some(value), None) => Ok(value),
            (Some(value), Some(_)) if !value.is_empty() => Ok(value),
            (_, Some(default)) => Ok(default.to_owned()),
            (None, None) => Err(format!(
                "the variable {name} is not set; set it, or write ${{env:{name}:-default}} for a default"
            )),
        }
    }

    fn file(&self, path: &str, place: &Place, key: &str, secret: bool) -> Result<String, String> {
        let written = self.roots.secret(Path::new(path))?;
        let failed = |error: std::io::Error| format!("cannot read {path}: {error}");
        let real = self.environment.real_path(&written).map_err(failed)?;
        self.roots.real_secret(&real, |root| self.environment.real_path(root))?;
        let file = self.environment.read(&real, LARGEST_FILE + 1).map_err(failed)?;
        if file.bytes.len() as u64 > LARGEST_FILE {
            return Err(format!("{path} is larger than 1 MiB"));
        }
        let mut text = String::from_utf8(file.bytes).map_err(|error| {
            error.into_bytes().zeroize();
            format!("{path} is not UTF-8")
        })?;
        if text.ends_with('\n') {
            // One line end, as editors and `echo` leave it; a second one was meant.
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        if secret && file.readable_by_all {
            self.warning(
                place,
                key,
                format!("every user of this machine can read {path}; take that away with: chmod o-r {path}"),
            );
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::{Piece, pieces};
    use proptest::prelude::*;

    #[test]
    fn references_and_escapes() {
        assert_eq!(
            pieces("a${env:X}b${file:/p}${env:Y:-z:1}").unwrap(),
            [
                Piece::Literal("a"),
                Piece::Variable { name: "X", default: None },
                Piece::Literal("b"),
                Piece::File("/p"),
                Piece::Literal(""),
                Piece::Variable { name: "Y", default: Some("z:1") },
                Piece::Literal(""),
            ]
        );
        let escaped: String = pieces("cost $5 $${env:X}")
            .unwrap()
            .iter()
            .map(|piece| if let Piece::Literal(text) = piece { *text } else { "!" })
            .collect();
        assert_eq!(escaped, "cost $5 ${env:X}");
    }

    #[test]
    fn what_is_no_reference_is_named() {
        for (text, words) in [
            ("${env:X", "not closed"),
            ("${evn:X}", "did you mean '${env:…}'"),
            ("${vault:x}", "there are ${env:NAME}"),
            ("${env:1X}", "write ${env:NAME}"),
            ("${env:}", "write ${env:NAME}"),
            ("${file:}", "write ${file:/absolute/path}"),
        ] {
            let error = pieces(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[${}a:e n v f i l\\-é]{0,40}") {
            let _ = pieces(&text);
        }
    }
}
