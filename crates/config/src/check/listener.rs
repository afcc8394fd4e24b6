//! Listeners.

use super::Checker;
use crate::reader::Declared;
use crate::sections::LISTENER;
use model::definition::Listener;
use model::schema::Section;
use std::sync::Arc;

impl Checker<'_> {
    pub(super) fn listeners(&mut self) {
        for (name, entry) in self.written(Section::LISTENER) {
            let Some(spec) = self.transport_of(Section::LISTENER, name, entry) else { continue };
            let groups = std::iter::once(&LISTENER).chain(spec.listener.iter().copied());
            let Some(reader) = self.open(Section::LISTENER, name, entry, Declared::joined(groups)) else {
                continue;
            };
            if !spec.roles.listener {
                let listening =
                    self.catalogue.iter().filter(|spec| spec.roles.listener).map(|spec| spec.name);
                let listening: Vec<&str> = listening.collect();
                let message = format!(
                    "transport '{}' has no listeners; transports with listeners: {}",
                    spec.name,
                    listening.join(", ")
                );
                reader.error("transport", message);
                continue;
            }
            let (fields, _) = model::schema::joined(spec.listener);
            let Some(options) = reader.values(&fields) else { continue };
            let (own_name, transport) = (name.to_owned(), spec.name.to_owned());
            let listener = Arc::new(Listener { name: own_name, transport, options });
            self.listeners.insert(name.to_owned(), Arc::clone(&listener));
            let is_usable = !reader.is_complete()
                || self.ask(spec.name, (Section::LISTENER, name), "", |own, findings| {
                    own.check_listener(&listener, &self.definitions, findings);
                });
            if is_usable {
                self.definitions.listeners.insert(name.to_owned(), listener);
            }
        }
    }
}
