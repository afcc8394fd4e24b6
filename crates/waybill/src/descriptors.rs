//! Open files and sockets: as many as the system lets us have, and some of them kept back, so that strangers'
//! connections never leave none for the files that move.

use config::Settings;
use rustix::process::{Resource, getrlimit, setrlimit};

/// More than any gateway needs; some systems allow a thousand million, and tables would be made for them.
const MOST: u64 = 1 << 20;
/// For the database, the journal, logs, listeners and what libraries open.
const BASE: u64 = 256;
/// Files of messages that are coming in.
const RECEIVING: u64 = 512;
/// For each delivery and each staging: socket, staged file, directory, and one to spare.
const EACH: u64 = 4;

/// Raises the soft limit on open files to the hard one; answers what is allowed now.
pub(crate) fn raise() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(MOST).min(MOST);
    if limit.current.is_some_and(|current| current < wanted) {
        let before = limit.current;
        limit.current = Some(wanted);
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit on open files cannot be raised");
            limit.current = before;
        }
    }
    limit.current.unwrap_or(MOST)
}

/// Connections that each listen address may have, when so many files may be open.
pub(crate) fn connections_each(allowed: u64, settings: &Settings) -> usize {
    let limits = &settings.limits;
    let at_once = limits.deliveries.saturating_add(limits.stagings) as u64;
    let own = BASE.saturating_add(RECEIVING).saturating_add(EACH.saturating_mul(at_once));
    let http: usize = settings.listen.http.values().map(|server| server.addresses.len()).sum();
    let listeners = http as u64 + 1;
    let each = allowed.saturating_sub(own.min(allowed / 2)) / listeners;
    let each = usize::try_from(each).unwrap_or(usize::MAX).max(8);
    if each < limits.connections {
        tracing::warn!(
            connections = each,
            configured = limits.connections,
            open_files = allowed,
            "fewer connections than limits.connections are possible: the system allows too few open files; \
            raise the limit (ulimit -n)"
        );
    }
    each.min(limits.connections)
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::ProcessEnvironment;
    use std::path::Path;

    #[test]
    fn some_files_are_kept_back_for_our_own_work() {
        let text = "[listen.http.a]\naddress = \"127.0.0.1:0\"";
        let environment = ProcessEnvironment::at(model::Timestamp::default());
        let settings = Settings::parse(Path::new("/w.toml"), text.as_bytes(), [], &environment).unwrap().0;
        // Two addresses share what is left.
        assert_eq!(connections_each(1024, &settings), 256);
        assert_eq!(connections_each(2048, &settings), 544);
        assert_eq!(connections_each(1 << 20, &settings), 1024);
        assert_eq!(connections_each(16, &settings), 8);
    }

    #[test]
    fn the_soft_limit_is_raised() {
        let allowed = raise();
        let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(MOST).min(MOST);
        assert!(allowed >= hard);
        assert_eq!(getrlimit(Resource::Nofile).current.unwrap_or(MOST), allowed);
    }
}
