//! What was agreed with a partner about forms and generalized receipts.

use super::{EXPIRATION, FormFields};
use crate::report_types::{ReportType, defined};
use chrono::DateTime;
use model::Timestamp;
use model::schema::Values;
use serde_json::{Map, Value};

/// What was agreed with a partner about forms and generalized receipts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FormTerms {
    /// Whether messages to it are posted as forms.
    pub post: bool,
    /// What their fields say.
    pub fields: FormFields,
    /// The type of the generalized receipt that messages ask for; `None`: an MDN.
    pub report_type: Option<String>,
    /// Types of generalized receipts, besides GISB's.
    pub reports: Vec<ReportType>,
}

impl FormTerms {
    /// Reads a partner's table.
    pub(crate) fn of(side: &Values) -> Self {
        let form = side.table("form");
        Self {
            post: form.bool("post"),
            fields: FormFields::of(form),
            report_type: side.table("mdn").text("report_type").map(str::to_owned),
            reports: defined(side),
        }
    }

    /// Whether forms have a RefNum.
    pub(crate) fn has_ref_num(&self) -> bool {
        self.post && self.fields.ref_num.unwrap_or(true)
    }

    /// When a message that was first sent at this time is no longer to be delivered. A message that is passed on has the time
    /// that its sender gave.
    pub(crate) fn expiration(&self, first: Timestamp, metadata: &Map<String, Value>) -> Option<Timestamp> {
        let own = self
            .fields
            .expires_after
            .and_then(|after| first.checked_add_signed(chrono::TimeDelta::from_std(after).ok()?));
        let given = metadata.get(EXPIRATION).and_then(Value::as_str);
        let given = given.and_then(|text| DateTime::parse_from_rfc3339(text).ok()).map(|at| at.to_utc());
        own.into_iter().chain(given).min().filter(|_| self.post)
    }
}
