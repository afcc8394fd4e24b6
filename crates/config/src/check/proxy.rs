//! Proxies: `[proxy.NAME]`, and the process's own in `waybill.toml`.

use super::Checker;
use crate::reader::Reader;
use model::Proxy;
use model::definition::ProxyDefinition;
use model::schema::Section;
use std::sync::Arc;

/// The word that an endpoint says instead of a proxy's name.
pub(crate) const NONE: &str = "none";

impl Checker<'_> {
    pub(super) fn proxies(&mut self) {
        for (name, reader) in self.section(Section::PROXY) {
            if name == NONE {
                let message = "the name 'none' means no proxy; choose another name";
                reader.context.error(reader.place, &reader.path, message);
                continue;
            }
            if let Some(proxy) = read_proxy(&reader) {
                let definition = ProxyDefinition { name: name.to_owned(), proxy: Arc::new(proxy) };
                self.definitions.proxies.insert(name.to_owned(), Arc::new(definition));
            }
        }
    }
}

/// `None` with a problem told.
pub(crate) fn read_proxy(reader: &Reader<'_>) -> Option<Proxy> {
    let (username, password) = (reader.text("username"), reader.secret("password"));
    let credentials = match (username, password) {
        (None, None) => None,
        (Some(username), Some(password)) => {
            if username.value.is_empty() {
                reader.error("username", "is empty");
            }
            Some((username.value, password))
        }
        (Some(_), None) => {
            if !reader.has("password") {
                reader.error("username", "needs a 'password' as well");
            }
            return None;
        }
        (None, Some(_)) => {
            if !reader.has("username") {
                reader.error("password", "needs a 'username' as well");
            }
            return None;
        }
    };
    let url = reader.text("url")?;
    Proxy::new(&url.value, credentials).map_err(|message| reader.error("url", message)).ok()
}
