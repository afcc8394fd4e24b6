//! Names that SharePoint refuses: found before a file is taken from elsewhere, and not with the upload.
//! <https://support.microsoft.com/office/64883a5d-228e-48f5-b3d2-eb39e07630fa>

/// Names of files that Windows or SharePoint keep for themselves, in small letters.
const RESERVED: &[&str] = &[".lock", "con", "prn", "aux", "nul", "desktop.ini"];

/// Why a name cannot be that of a file there; `None` if it can.
pub(super) fn why_refused(name: &[u8]) -> Option<&'static str> {
    let Ok(name) = std::str::from_utf8(name) else { return Some("names there are UTF-8") };
    let small = name.to_ascii_lowercase();
    let is_port = ["com", "lpt"].iter().any(|port| {
        small
            .strip_prefix(port)
            .is_some_and(|number| number.len() == 1 && number.as_bytes()[0].is_ascii_digit())
    });
    if name.contains(['"', '*', ':', '<', '>', '?', '\\', '|']) || name.contains(char::is_control) {
        Some("a name there has none of \" * : < > ? \\ | and no control characters")
    } else if name.starts_with(' ') || name.ends_with([' ', '.']) {
        Some("a name there begins with no space, and ends with none and with no dot")
    } else if RESERVED.contains(&small.as_str())
        || is_port
        || small.contains("_vti_")
        || name.starts_with("~$")
    {
        Some("SharePoint keeps the name for itself")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_sharepoint_refuses_are_known() {
        for name in
            ["a.edi", ".a.edi.0a-1.a", "käse #1 100%.txt", "com", "com10", "a b", "communication", "~a"]
        {
            assert_eq!(why_refused(name.as_bytes()), None, "{name}");
        }
        for name in [
            "a:b", "a\"", "what?", "a\\b", " a", "a ", "a.", "CON", "com1", "LPT9", ".lock", "x_vti_y",
            "~$a", "a\tb",
        ] {
            assert!(why_refused(name.as_bytes()).is_some(), "{name}");
        }
        assert!(why_refused(b"caf\xe9").is_some());
    }
}
