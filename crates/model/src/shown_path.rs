//! Paths as logs, errors and records show them, without possible secrets.

/// The longest part of a path that is shown: as long as a UUID; tokens are longer.
const LONGEST_PART: usize = 36;

/// A path without the parts that look like tokens, for example one-time links.
#[must_use]
pub fn shown_path(path: &str) -> String {
    let part = |part: &str| {
        let alike = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=%+~".contains(&byte);
        if part.len() > LONGEST_PART && part.bytes().all(alike) { "…".to_owned() } else { part.to_owned() }
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}
