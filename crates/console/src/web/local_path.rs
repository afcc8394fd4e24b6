//! Where to go after a login.

/// The path, if it is one of this console's pages, or the first page.
pub(crate) fn local_path(path: Option<&str>) -> &str {
    let local = |path: &&str| {
        path.len() <= 2048
            && path.starts_with('/')
            && !path[1..].starts_with(['/', '\\'])
            && path.bytes().all(|byte| (0x21..0x7f).contains(&byte))
            && !path.starts_with("/login")
    };
    path.filter(local).unwrap_or("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_to_own_pages_only() {
        for own in ["/", "/transfers?state=failed", "/audit/x"] {
            assert_eq!(local_path(Some(own)), own);
        }
        for foreign in [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example/",
            "/a\r\nb",
            "/é",
            "/login?next=/",
        ] {
            assert_eq!(local_path(Some(foreign)), "/", "{foreign}");
        }
        assert_eq!(local_path(Some(&format!("/{}", "a".repeat(3000)))), "/");
        assert_eq!(local_path(None), "/");
    }
}
