//! Calendars of days off: `[calendar.NAME]`.

use super::Checker;
use model::schedule::Calendar;
use model::schema::Section;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Checker<'_> {
    pub(super) fn calendars(&mut self) {
        for (name, reader) in self.section(Section::CALENDAR) {
            let mut days_off = BTreeSet::new();
            let mut whole = true;
            for text in reader.list("days_off") {
                match Calendar::parse_day(&text.value) {
                    Ok(day) => {
                        if !days_off.insert(day) {
                            let message = format!("names {day} twice");
                            reader.context.warning(text.place, &reader.key("days_off"), message);
                        }
                    }
                    Err(message) => {
                        whole = false;
                        reader.context.error(text.place, &reader.key("days_off"), message);
                    }
                }
            }
            let weekends = reader.flag("weekends");
            let today = reader.context.environment.now().date_naive();
            if whole && !weekends && days_off.last().is_none_or(|last| *last < today) {
                let message = "has no day off from today on; add the days that are coming, or remove it";
                reader.context.warning(reader.place, &reader.path, message);
            }
            let calendar = Calendar { name: name.to_owned(), days_off, weekends };
            self.definitions.calendars.insert(name.to_owned(), Arc::new(calendar));
        }
    }
}
