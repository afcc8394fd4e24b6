//! The hint for a name that is not defined.

use super::write;
use config::Documents;
use model::schema::Section;
use model::{Error, ErrorKind, TransferId, did_you_mean, quoted};
use store::Store;

/// Says, to the person at the terminal, which of the names asked for is not defined. Never a fault: what was
/// defined once is searched for as well, and a store that cannot be asked has said so already.
pub(crate) async fn tell(store: &Store, asked: &[(Section, Option<&str>)]) {
    let Ok(state) = store.current_definitions().await else { return };
    if state.number == 0 {
        return;
    }
    for (section, name) in asked.iter().filter_map(|(section, name)| Some((*section, (*name)?))) {
        let names = Documents::names_in(&state.definitions, section);
        if !names.clone().any(|known| known == name) {
            let near = did_you_mean(name, names);
            write::note(format_args!("no {} {} is defined now{near}", section.as_str(), quoted(name)));
        }
    }
}

/// The error for a transfer that does not exist.
pub(super) fn transfer(id: TransferId) -> Error {
    Error::permanent(ErrorKind::NotFound, "find a transfer")
        .with("transfer", id)
        .advice("`waybill transfer list` shows the ids")
}
