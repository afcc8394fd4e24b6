//! Whether polls take what a destination writes: of the same flow, which would transfer its own files again and again, or
//! of others, which pass them on.

use super::Checker;
use super::location::Location;
use model::RemotePath;
use model::definition::PollEffects;
use model::schema::Values;

/// Whether polls take the files of a directory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Taken {
    No,
    /// The directory is one of those of former days, which are polled no more.
    OfFormerDays,
    Yes,
}

impl Checker<'_> {
    /// The directories that a destination writes to: at each address of its endpoint, and of those with a date some examples.
    pub(super) fn directories_written(&self, flow: &str, endpoint: &str, options: &Values) -> Vec<Location> {
        let Some(facts) = self.endpoints.get(endpoint) else { return Vec::new() };
        let declaration = self.catalogue.declaration(facts.transport.name);
        let below = declaration.map(|own| own.delivery_directory(flow, options)).unwrap_or_default();
        let below: Vec<String> = below.examples.iter().map(RemotePath::to_text).collect();
        let at = |location: &Location| -> Vec<Location> {
            below.iter().map(|below| location.clone().below(below)).collect()
        };
        facts.locations.iter().flat_map(at).collect()
    }

    /// Whether polls of a place take the files of a directory.
    pub(super) fn taken(&self, from: &Location, effects: &PollEffects, written: &Location) -> Taken {
        if !from.same_machine(written) {
            return Taken::No;
        }
        let Some(dated) = &effects.dated else {
            let is_below = effects.is_recursive && from.directory.holds(&written.directory);
            return if is_below || from.directory == written.directory { Taken::Yes } else { Taken::No };
        };
        // The location of such a poll is the directory that all of them are in.
        let way = from.directory.way_to(&written.directory);
        let way = way.and_then(|way| RemotePath::from_text(&way).ok());
        let fixed = effects.directory.clone().unwrap_or_default();
        let below = way.map(|way| fixed.join(&way));
        match below.and_then(|below| dated.last_day(&below)) {
            None => Taken::No,
            Some(last) if last < self.context.environment.now().date_naive() => Taken::OfFormerDays,
            Some(_) => Taken::Yes,
        }
    }
}
