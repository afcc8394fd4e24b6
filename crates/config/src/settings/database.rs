//! Where the database is, and which passwords others may read.

use super::beside;
use crate::reader::Reader;
use crate::reference::is_reference;
use crate::tree::{self, Value};
use model::Secret;
use std::path::Path;
use url::Url;

/// Which keys of the settings hold a password in clear.
pub(super) fn passwords_in_clear(path: &Path, text: &[u8]) -> Vec<&'static str> {
    let (table, _) = tree::parse(&path.display().to_string().into(), text);
    let text_at = |keys: &[&str]| {
        let (last, above) = keys.split_last()?;
        let mut table = &table;
        for key in above {
            let Value::Table(below) = &table.get(*key)?.node.value else { return None };
            table = below;
        }
        let Value::Text(text) = &table.get(*last)?.node.value else { return None };
        // A reference in the password's place is none.
        (!is_reference(text)).then_some(text)
    };
    let has_password = |url: &String| Url::parse(url).is_ok_and(|url| url.password().is_some());
    let database = text_at(&["database", "url"]).filter(|url| has_password(url)).map(|_| "database.url");
    let proxy = text_at(&["network", "proxy", "password"]).map(|_| "network.proxy.password");
    database.into_iter().chain(proxy).collect()
}

/// What a URL with a strange password looks like.
const PASSWORD_HINT: &str = "; in a password write '%', '/', '?', '#' and '@' as %25, %2F, %3F, %23 and %40";

/// The database's URL, a relative SQLite path made relative to the file.
pub(super) fn database_url(
    database: &Reader<'_>,
    base: &Path,
    state_directory: &Path,
) -> Option<Secret<String>> {
    if !database.has("url") {
        let path = state_directory.join("waybill.db");
        return Some(Secret::new(sqlite_url(&path)));
    }
    let url = database.secret("url")?;
    let (scheme, rest) = url.reveal().split_once(':').unwrap_or_default();
    match scheme {
        "postgres" | "postgresql" => {
            // The text may hold a password: only the reason is shown.
            if let Err(error) = Url::parse(url.reveal()) {
                database.error("url", format!("is not a URL: {error}{PASSWORD_HINT}"));
                return None;
            }
            // A slash in a password ends the host, and what follows would be shown as a database's name.
            if rest
                .strip_prefix("//")
                .and_then(|rest| rest.split_once(['/', '?', '#']))
                .is_some_and(|(_, after)| after.contains('@'))
            {
                database.error("url", format!("has an '@' after its host{PASSWORD_HINT}"));
                return None;
            }
            Some(url)
        }
        "sqlite" => {
            let (path, query) = match rest.split_once('?') {
                Some((path, query)) => (path, Some(query)),
                None => (rest, None),
            };
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path == ":memory:" {
                database.error("url", "has no file name: a database in memory would lose every transfer");
                return None;
            }
            if query.is_some() {
                database.warning(
                    "url",
                    "the part after '?' has no effect: Waybill opens the file with its own options",
                );
            }
            Some(Secret::new(sqlite_url(&beside(base, path))))
        }
        _ => {
            database.error("url", "must be postgres://user:password@host/database or sqlite:PATH");
            None
        }
    }
}

/// Everything after the slashes is the path, as it is: nothing in it is encoded.
fn sqlite_url(path: &Path) -> String {
    format!("sqlite://{}", path.display())
}
