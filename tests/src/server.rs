//! Databases on a real PostgreSQL.

use std::sync::OnceLock;
use testkit::server::Server;

/// The URL of a fresh database on a PostgreSQL that all tests of this process share.
pub fn fresh_database(name: &str) -> String {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let server = SERVER.get_or_init(|| Server::start("postgres", &[]));
    let unique = format!("{name}_{}_{}", std::process::id(), crate::free_port());
    server.command("database", &[&unique.to_lowercase().replace('-', "_")])
}
