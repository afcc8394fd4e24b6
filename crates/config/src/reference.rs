//! `${env:NAME}`, `${env:NAME:-default}` and `${file:/path}` inside a text; `$${` writes `${` itself.
//!
//! Documents keep their references; they are resolved here, each time the documents are checked. What a
//! file holds goes into fields that are never shown, and into those for what anybody may see, once it is
//! known to be that. Secrets of definitions are references alone: a document is copied, stored and shown.

use crate::certificates;
use crate::context::Context;
use crate::pkcs12;
use crate::problem::Place;
use crate::public;
use model::PublicMaterial;
use model::schema::Kind;
use std::path::Path;
use zeroize::{Zeroize, Zeroizing};

/// Largest file that a reference may read: keys and certificates are a few KiB.
const LARGEST_FILE: u64 = 1 << 20;

/// A part of a text.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Piece<'a> {
    Literal(&'a str),
    Variable { name: &'a str, default: Option<&'a str> },
    File(&'a str),
}

/// What a field is for: it decides what a reference in it may name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Use {
    /// Shown in lists, messages and on pages.
    Plain,
    /// Never shown.
    Secret,
    /// Shown, and kept in files.
    Public(PublicMaterial),
}

impl From<Kind> for Use {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Secret => Self::Secret,
            Kind::Public(material) => Self::Public(material),
            _ => Self::Plain,
        }
    }
}

/// Whether a text holds a reference; one that cannot be read counts.
pub(crate) fn is_reference(text: &str) -> bool {
    pieces(text).map_or(true, |pieces| pieces.iter().any(|piece| !matches!(piece, Piece::Literal(_))))
}

/// Whether a text is made of references alone: it says where something is kept, and nothing of it.
pub(crate) fn is_only_references(text: &str) -> bool {
    pieces(text).is_ok_and(|pieces| holds_no_literal(&pieces))
}

fn holds_no_literal(pieces: &[Piece<'_>]) -> bool {
    pieces.iter().all(|piece| match piece {
        Piece::Literal(text) => text.is_empty(),
        Piece::Variable { default, .. } => default.is_none_or(str::is_empty),
        Piece::File(_) => true,
    })
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
            return Err("'${' has no closing '}'; write '$${' for a literal '${'".into());
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
            Some(near) => format!("'${{{inner}}}' is not a reference; did you mean '${{{near}:…}}'?"),
            None => format!(
                "'${{{inner}}}' is not a reference; write ${{env:NAME}} or ${{file:/path}}, or '$${{' for a \
                literal '${{'"
            ),
        }),
    }
}

impl Context<'_> {
    /// The text with its references resolved. What cannot be is a problem, and `None`.
    pub(crate) fn resolve(&self, text: &str, place: &Place, key: &str, to: Use) -> Option<String> {
        let pieces = match pieces(text) {
            Ok(pieces) => pieces,
            Err(message) => {
                // It begins with what stands between the brackets, perhaps a part of a password.
                let message = match message.split_once("}'") {
                    Some((_, rest)) if to == Use::Secret && !message.starts_with("'${'") => {
                        format!("'${{…}}'{rest}")
                    }
                    _ => message,
                };
                self.error(place, key, message);
                return None;
            }
        };
        let mut complete = to != Use::Secret || self.is_kept_elsewhere(&pieces, place, key);
        let mut whole = Zeroizing::new(String::new());
        for piece in &pieces {
            let part = match *piece {
                Piece::Literal(text) => Ok(text.to_owned()),
                Piece::Variable { name, default } => self.variable(name, default, place, key, to),
                Piece::File(_) if to == Use::Plain => {
                    Err("cannot use ${file:…}, because this field is shown in lists and messages: ${file:…} \
                        is allowed in fields for secrets, certificates and host keys only"
                        .to_owned())
                }
                Piece::File(path) => self.file(path, place, key, to),
            };
            match part {
                Ok(part) => {
                    let part = Zeroizing::new(part);
                    whole.push_str(&part);
                }
                Err(message) => {
                    self.error(place, key, message);
                    complete = false;
                }
            }
        }
        let refers = pieces.iter().any(|piece| !matches!(piece, Piece::Literal(_)));
        if complete && let Err(message) = fits(&whole, to, refers.then_some(text)) {
            self.error(place, key, message);
            complete = false;
        }
        complete.then(|| std::mem::take(&mut *whole))
    }

    /// The text with its references resolved, for checking in advance; reports no findings. `None` when that cannot be done.
    pub(crate) fn resolve_quietly(&self, text: &str) -> Option<String> {
        let mut whole = String::new();
        for piece in pieces(text).ok()? {
            match piece {
                Piece::Literal(text) => whole.push_str(text),
                Piece::Variable { name, default } => {
                    self.roots.variable(name).ok()?;
                    let value = self.environment.variable(name).filter(|value| !value.is_empty());
                    whole.push_str(value.as_deref().or(default)?);
                }
                Piece::File(_) => return None,
            }
        }
        Some(whole)
    }

    /// Whether a secret is made of references alone, or is kept encrypted.
    fn is_kept_elsewhere(&self, pieces: &[Piece<'_>], place: &Place, key: &str) -> bool {
        // The settings are the host owner's own file, and nobody stores them.
        if !self.roots.is_bounded() {
            return true;
        }
        if holds_no_literal(pieces) {
            return true;
        }
        if self.roots.inline_secrets {
            // What the database keeps is encrypted; a file is not, and has lines.
            if place.line > 0 {
                let message = "contains a secret in plain text: everyone who can read the file sees it (the \
                    database stores it encrypted); write a reference, or { kept = true } after it was \
                    applied";
                self.warning(place, key, message);
            }
            return true;
        }
        let message = "contains a secret in plain text, and definitions are stored as they are written; put \
            the secret into a file or variable and write only the reference: ${file:/path} or ${env:NAME} \
            (or set secrets.master_key in waybill.toml: then the database stores secrets encrypted)";
        self.error(place, key, message);
        false
    }

    /// As in a shell, `:-` stands in for a variable that is not set, and for an empty one.
    fn variable(
        &self,
        name: &str,
        default: Option<&str>,
        place: &Place,
        key: &str,
        to: Use,
    ) -> Result<String, String> {
        if to == Use::Secret {
            if self.roots.secret_variable(name)? {
                self.warning(
                    place,
                    key,
                    format!(
                        "the variable {name} contains a secret, but roots.variables allows it in every \
                        field; move it to roots.secret_variables in waybill.toml"
                    ),
                );
            }
        } else {
            self.roots.variable(name)?;
        }
        let value = match (self.environment.variable(name), default) {
            (Some(value), None) => value,
            (Some(value), Some(_)) if !value.is_empty() => value,
            (_, Some(default)) => return Ok(default.to_owned()),
            (None, None) => {
                return Err(format!(
                    "the variable {name} is not set; set it, or write ${{env:{name}:-default}} for a default"
                ));
            }
        };
        self.used(name, place, key, to);
        self.hide(&value, &format!("${{env:{name}}}"));
        Ok(value)
    }

    fn file(&self, path: &str, place: &Place, key: &str, to: Use) -> Result<String, String> {
        let written = self.roots.secret(Path::new(path))?;
        let failed = |error: std::io::Error| format!("cannot read {path}: {error}");
        let real = self.environment.real_path(&written).map_err(failed)?;
        self.roots.real_secret(&real, |root| self.environment.real_path(root))?;
        let file = self.environment.read(&real, LARGEST_FILE + 1).map_err(failed)?;
        if file.bytes.len() as u64 > LARGEST_FILE {
            return Err(format!("{path} is larger than 1 MiB"));
        }
        let converted = match to {
            Use::Secret if key.ends_with("private_key") => pkcs12::as_text(&file.bytes),
            Use::Public(PublicMaterial::Certificate) => certificates::as_pem(&file.bytes),
            _ => None,
        };
        let text = converted.or_else(|| text_of(file.bytes, to));
        let mut text = text.ok_or_else(|| format!("{path} is not UTF-8"))?;
        if text.ends_with('\n') {
            // One line end, as editors and `echo` leave it; a second one was meant.
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        if to == Use::Secret && file.readable_by_all {
            self.warning(
                place,
                key,
                format!("every user of this machine can read {path}; prevent that with: chmod o-r {path}"),
            );
        }
        if to == Use::Secret {
            self.hide(&text, &format!("${{file:{path}}}"));
        }
        Ok(text)
    }
}

/// A file's content as text. Lists of host keys and what is in PEM form are read in any character set: only
/// comments in them are ever more than ASCII. A password must be UTF-8, or it would be another one.
fn text_of(bytes: Vec<u8>, to: Use) -> Option<String> {
    const PEM: &[u8] = b"-----BEGIN ";
    String::from_utf8(bytes)
        .or_else(|error| {
            let mut bytes = error.into_bytes();
            let any = matches!(to, Use::Public(_)) || bytes.windows(PEM.len()).any(|part| part == PEM);
            let text = any.then(|| String::from_utf8_lossy(&bytes).into_owned());
            bytes.zeroize();
            text.ok_or(())
        })
        .ok()
}

/// Whether a resolved text may stand in its field. `reference` is the text as written, if it refers to
/// something; the answer never repeats what it stands for.
fn fits(text: &str, to: Use, reference: Option<&str>) -> Result<(), String> {
    if to == Use::Secret {
        return Ok(());
    }
    if public::holds_private_key(text) {
        return Err(
            "contains a private key, and this field is shown in lists and messages; remove it, and treat \
            the key as compromised if the document was stored or sent anywhere"
                .to_owned(),
        );
    }
    match (to, reference) {
        (Use::Public(material), Some(reference)) if !public::is(material, text) => {
            Err(format!("must be {}, but the value of {reference} is not", Kind::Public(material).describe()))
        }
        _ => Ok(()),
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
            ("${env:X", "no closing"),
            ("${evn:X}", "did you mean '${env:…}'"),
            ("${vault:x}", "write ${env:NAME} or"),
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
