//! References to files in definitions.

use model::{Error, ErrorKind, Result};
use std::path::Path;

/// A reference to a file, as a TOML string.
///
/// # Errors
/// Its path cannot stand in a reference.
pub(super) fn reference(path: &Path) -> Result<String> {
    let text = path.to_str().filter(|text| !text.contains(|c: char| c == '}' || c.is_control()));
    let text = text.ok_or_else(|| {
        Error::permanent(ErrorKind::ConfigInvalid, "refer to a file in definitions")
            .with("path", path.display())
            .advice("choose a path in UTF-8 without '}' and control characters")
    })?;
    Ok(format!("\"${{file:{}}}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_would_end_its_reference_is_refused() {
        assert_eq!(reference(Path::new("/a\\b \"c\".pem")).unwrap(), r#""${file:/a\\b \"c\".pem}""#);
        for path in ["/a}b", "/a\nb"] {
            assert!(reference(Path::new(path)).is_err(), "{path:?}");
        }
    }
}
