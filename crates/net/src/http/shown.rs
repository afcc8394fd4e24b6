//! Paths and URLs as logs, errors and records show them, without possible secrets.

use http::Uri;
pub(crate) use model::shown_path;
use std::fmt;

/// A URL without user, password and query, where partners put their tokens.
pub(crate) struct ShownUrl<'a>(pub(crate) &'a Uri);

impl fmt::Display for ShownUrl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uri = self.0;
        if let Some(scheme) = uri.scheme_str() {
            write!(f, "{scheme}://")?;
        }
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        write!(f, "{host}{}", shown_path(uri.path()))?;
        f.write_str(if uri.query().is_some() { "?…" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::{ShownUrl, shown_path};

    #[test]
    fn what_looks_like_a_token_is_left_out() {
        let token = "x-Y_".repeat(11);
        assert_eq!(shown_path(&format!("/setup/{token}")), "/setup/…");
        assert_eq!(shown_path(&format!("/{token}/a")), "/…/a");
        assert_eq!(shown_path(&format!("/setup/%41{}", &token[3..])), "/setup/…");
        let transfer = "/transfers/01890a5d-ac96-774b-bcce-b302099a8057";
        assert_eq!(shown_path(transfer), transfer);
        assert_eq!(shown_path("/as2/"), "/as2/");
        assert_eq!(shown_path(""), "");
    }

    #[test]
    fn a_url_shows_where_it_leads_and_nothing_to_enter_with() {
        for (url, shown) in [
            ("https://u:hunter2@h.example:8443/in?token=hunter2&x=1", "https://h.example:8443/in?…"),
            ("http://h/", "http://h/"),
            ("/in?hunter2", "/in?…"),
            ("h.example:443", "h.example:443"),
        ] {
            assert_eq!(ShownUrl(&url.parse().unwrap()).to_string(), shown);
        }
    }
}
