//! Where an endpoint is: what URLs are compared by, and the directories that its flows name.

use super::Checker;
use super::directory::Directory;
use crate::reader::Reader;
use crate::reference::Use;
use crate::tree::{Node, Table, Value as Written};
use model::schema::{Field, Kind, Paths, Scheme, TransportSpec};
use percent_encoding::percent_decode_str;
use std::path::Path;
use url::Url;

/// A directory on some machine.
#[derive(Clone)]
pub(super) struct Location {
    /// The same for endpoints that lead to the same server and login.
    pub(super) site: String,
    pub(super) scheme: &'static Scheme,
    pub(super) directory: Directory,
    /// The one node whose disk it is on.
    pub(super) node: Option<String>,
}

impl Location {
    /// Where a URL leads; `None` where there are no directories.
    pub(super) fn of(
        spec: &TransportSpec,
        url: &Url,
        username: Option<&str>,
        node: Option<String>,
    ) -> Option<Self> {
        let scheme = spec.scheme(url.scheme())?;
        let path = percent_decode_str(url.path()).decode_utf8_lossy();
        let directory = match scheme.paths {
            Paths::None | Paths::Address => return None,
            Paths::Host | Paths::Server => Directory::new(true, &path),
            Paths::Login => Directory::new(path.starts_with("//"), &path),
        };
        let port = url.port().or(scheme.port);
        let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
        let user = if scheme.paths == Paths::Login { username.unwrap_or_default() } else { "" };
        let site = format!("{}//{user}@{host}:{port:?}", spec.name);
        Some(Self { site, scheme, directory, node })
    }
}

impl Location {
    /// A directory below this one.
    pub(super) fn below(mut self, text: &str) -> Self {
        self.directory = self.directory.below(text);
        self
    }

    /// Whether both are on one machine, as far as can be told: folders of two named nodes are not.
    pub(super) fn same_machine(&self, other: &Self) -> bool {
        let apart = matches!((&self.node, &other.node), (Some(a), Some(b)) if a != b);
        self.site == other.site && !apart
    }
}

impl Checker<'_> {
    /// Checks every directory that a source names: never inside the polled one, where its files would be taken again.
    pub(super) fn directories(&self, reader: &Reader<'_>, fields: &[Field], location: Option<&Location>) {
        for field in fields {
            if let Some(entry) = reader.entry(field.name) {
                self.directories_in(&entry.node, &reader.key(field.name), field.kind, location);
            }
        }
    }

    fn directories_in(&self, node: &Node, key: &str, kind: Kind, location: Option<&Location>) {
        match (kind, &node.value) {
            (Kind::Directory, Written::Text(text)) => self.directory(node, key, text, location),
            (Kind::LocalDirectory, Written::Text(text)) => {
                let Some(text) = self.context.resolve(text, &node.place, key, Use::Plain) else { return };
                if let Err(message) = self.context.roots.folder(Path::new(&text)) {
                    self.context.error(&node.place, key, message);
                }
            }
            (Kind::Table(group), Written::Table(table)) => self.in_table(table, key, group.fields, location),
            (Kind::OneOf(kinds), _) => {
                for kind in kinds {
                    self.directories_in(node, key, *kind, location);
                }
            }
            (Kind::List(kind), Written::List(items)) => {
                for item in items {
                    self.directories_in(item, key, *kind, location);
                }
            }
            _ => {}
        }
    }

    fn in_table(&self, table: &Table, key: &str, fields: &[Field], location: Option<&Location>) {
        for field in fields {
            if let Some(entry) = table.get(field.name) {
                let key = crate::tree::join(key, field.name);
                self.directories_in(&entry.node, &key, field.kind, location);
            }
        }
    }

    fn directory(&self, node: &Node, key: &str, written: &str, location: Option<&Location>) {
        // What cannot be resolved was reported when the field was read, and is reported once.
        let Some(text) = self.context.resolve(written, &node.place, key, Use::Plain) else { return };
        if text.trim().is_empty() || text.chars().any(char::is_control) {
            return self.context.error(&node.place, key, "must be the name of a directory");
        }
        let Some(location) = location else { return };
        let directory = match location.scheme.paths {
            Paths::None | Paths::Address => return,
            Paths::Host => {
                if let Err(message) = self.context.roots.folder(Path::new(&text)) {
                    return self.context.error(&node.place, key, message);
                }
                Directory::written(&text)
            }
            Paths::Login => Directory::written(&text),
            Paths::Server => Directory::new(true, &text),
        };
        if location.directory.holds(&directory) {
            let message = format!(
                "'{written}' is inside the polled directory, so its files would be polled again; choose a \
                directory outside"
            );
            self.context.error(&node.place, key, message);
        }
    }
}
