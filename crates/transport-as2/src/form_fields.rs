//! The fields of a form by name ("HTTP Transport for Secure EDI", 2.1.2), as a partner sends them: what they must be, and the
//! metadata that they become; and what was agreed with a partner about those that we send.

pub(crate) mod dates;
mod terms;

pub use terms::FormTerms;

use model::schema::Values;
use model::{PeerText, RemotePath};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::time::Duration;

/// The part that is the message.
pub(crate) const INPUT_DATA: &str = "input-data";

/// Names with a meaning of their own, and the metadata under which their values are kept.
const METADATA: [(&str, &str); 13] = [
    ("to", "form_to"),
    ("from", "form_from"),
    ("input-format", "form_input_format"),
    ("agent", "form_agent"),
    ("application", "form_application"),
    ("datetime", "form_date_time"),
    ("refnum", REF_NUM),
    ("userparam", "form_user_param"),
    ("version", "form_version"),
    ("transaction-set", "form_transaction_set"),
    ("priority", "form_priority"),
    ("expiration", EXPIRATION),
    ("receipt-disposition-to", "form_receipt_to"),
];

/// Whether a field becomes metadata, in any case.
pub(crate) fn is_metadata(name: &str) -> bool {
    METADATA.iter().any(|(field, _)| field.eq_ignore_ascii_case(name.trim()))
}

/// The metadata with a form's RefNum, as it was written: so it is given back.
pub(crate) const REF_NUM: &str = "form_ref_num";
/// The metadata with a form's Expiration, as RFC 3339 has times.
pub(crate) const EXPIRATION: &str = "form_expiration";
/// The metadata with the sender's own name of its file, as it was written.
const INPUT_DATA_NAME: &str = "form_input_data";

/// The metadata that fields of a form become.
pub(crate) fn keys() -> impl Iterator<Item = &'static str> {
    METADATA.into_iter().map(|(_, key)| key).chain([INPUT_DATA_NAME])
}

/// Longest RefNum, in digits.
const LONGEST_REF_NUM: usize = 64;

/// The fields of a form that stand before its message, in their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Received(Vec<(String, String)>);

impl Received {
    pub(crate) fn add(&mut self, name: String, value: String) {
        self.0.push((name, value));
    }

    /// The first value under a name, in any case, that is not blank.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let named = self.0.iter().filter(|(given, _)| given.trim().eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.trim()).find(|value| !value.is_empty())
    }
}

/// What a message has by being a form.
#[derive(Clone, Debug, Default)]
pub(crate) struct Posted {
    /// Its RefNum as a number, without leading zeros.
    pub(crate) ref_num: Option<String>,
    /// Whether its sender names no message by a Message-ID.
    pub(crate) has_no_message_id: bool,
    /// Whether it says that it is an error notification (`input-format`).
    pub(crate) is_error: bool,
    /// For the transfers that it becomes.
    pub(crate) metadata: Map<String, Value>,
}

impl Posted {
    /// Reads the fields. A value comes from `header` where that has one ("HTTP Transport for Secure EDI", 2.1.3), and else from
    /// the form.
    ///
    /// # Errors
    /// A sentence for the sender: a value that says something else than it must.
    pub(crate) fn of(
        fields: &Received,
        header: impl Fn(&str) -> Option<String>,
        file_name: Option<&[u8]>,
    ) -> Result<Self, String> {
        let value = |name: &str| match name {
            // These have meanings of their own in HTTP and mail.
            "from" | "to" => fields.get(name).map(str::to_owned),
            _ => header(name).or_else(|| fields.get(name).map(str::to_owned)),
        };
        let ref_num = value("refnum").map(|text| ref_num(&text)).transpose()?;
        let mut metadata = Map::new();
        for (name, key) in METADATA {
            let Some(text) = value(name) else { continue };
            let text = match key {
                EXPIRATION => dates::parse(&text)
                    .map(|at| at.to_rfc3339())
                    .ok_or_else(|| format!("the Expiration {text:?} is no date (RFC 822, 5)"))?,
                _ => PeerText::from(text.as_str()).as_str().to_owned(),
            };
            metadata.insert(key.to_owned(), text.into());
        }
        if let Some(name) = file_name.filter(|name| !name.is_empty()) {
            metadata.insert(INPUT_DATA_NAME.to_owned(), PeerText::new(name).as_str().into());
        }
        let is_error = value("input-format").is_some_and(|format| format.eq_ignore_ascii_case("error"));
        Ok(Self { ref_num, has_no_message_id: false, is_error, metadata })
    }

    /// What a field said, by its name in any case.
    pub(crate) fn said(&self, name: &str) -> Option<String> {
        let (_, key) = METADATA.iter().find(|(field, _)| field.eq_ignore_ascii_case(name))?;
        self.metadata.get(*key)?.as_str().map(str::to_owned)
    }
}

/// A RefNum as one writes a number, so that the same number is the same key.
fn ref_num(text: &str) -> Result<String, String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let is_number =
        (1..=LONGEST_REF_NUM).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number {
        return Err(format!(
            "the RefNum {:?} is no integer of at most {LONGEST_REF_NUM} digits",
            PeerText::from(text).as_str()
        ));
    }
    Ok(match digits.trim_start_matches('0') {
        "" => "0".to_owned(),
        digits => format!("{sign}{digits}"),
    })
}

/// What is said in the fields of the forms that we post. What is none is left out.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct FormFields {
    /// `to`, where it is not the partner's AS2 name.
    pub to: Option<String>,
    /// `from`, where it is not our AS2 name.
    pub from: Option<String>,
    /// `Version`.
    pub version: Option<String>,
    /// `input-format`.
    pub input_format: Option<String>,
    /// `Transaction-set`.
    pub transaction_set: Option<String>,
    /// `Agent`.
    pub agent: Option<String>,
    /// `Application`.
    pub application: Option<String>,
    /// `UserParam`.
    pub user_param: Option<String>,
    /// The name of the file in `input-data`, where it is not the file's own.
    pub input_data: Option<String>,
    /// `Priority`, from 1 to 5.
    pub priority: Option<u8>,
    /// `Expiration`, from when the message is sent first.
    pub expires_after: Option<Duration>,
    /// Whether there is a `RefNum`.
    pub ref_num: Option<bool>,
    /// Whether there is a `DateTime`.
    pub date_time: Option<bool>,
}

impl FormFields {
    /// Reads the table of a partner or of a flow's destination. The priority is said beside it.
    pub(crate) fn of(table: &Values) -> Self {
        let text = |name: &str| table.text(name).map(str::to_owned);
        let switch = |name: &str| table.get(name).is_some().then(|| table.bool(name));
        Self {
            to: text("to"),
            from: text("from"),
            version: text("version"),
            input_format: text("input_format"),
            transaction_set: text("transaction_set"),
            agent: text("agent"),
            application: text("application"),
            user_param: text("user_param"),
            input_data: text("input_data"),
            priority: None,
            expires_after: table.duration("expires_after"),
            ref_num: switch("ref_num"),
            date_time: switch("date_time"),
        }
    }

    /// The same, with what is said for one flow in the place of what is said for the partner.
    pub(crate) fn with(self, flow: &Self) -> Self {
        let flow = flow.clone();
        Self {
            to: flow.to.or(self.to),
            from: flow.from.or(self.from),
            version: flow.version.or(self.version),
            input_format: flow.input_format.or(self.input_format),
            transaction_set: flow.transaction_set.or(self.transaction_set),
            agent: flow.agent.or(self.agent),
            application: flow.application.or(self.application),
            user_param: flow.user_param.or(self.user_param),
            input_data: flow.input_data.or(self.input_data),
            priority: flow.priority.or(self.priority),
            expires_after: flow.expires_after.or(self.expires_after),
            ref_num: flow.ref_num.or(self.ref_num),
            date_time: flow.date_time.or(self.date_time),
        }
    }

    /// The texts, each with its option, that a field cannot hold: it is one line of printable ASCII.
    pub(crate) fn mistakes(&self) -> Vec<(&'static str, String)> {
        let texts = [
            ("to", &self.to),
            ("from", &self.from),
            ("version", &self.version),
            ("input_format", &self.input_format),
            ("transaction_set", &self.transaction_set),
            ("agent", &self.agent),
            ("application", &self.application),
            ("user_param", &self.user_param),
            ("input_data", &self.input_data),
        ];
        let is_line = |text: &str| text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) && !text.is_empty();
        let wrong = |text: &&Option<String>| text.as_deref().is_some_and(|text| !is_line(text));
        texts
            .into_iter()
            .filter(|(_, text)| wrong(text))
            .map(|(name, _)| (name, "must be one line of printable ASCII characters".to_owned()))
            .collect()
    }

    /// The name of the file in `input-data`.
    pub(crate) fn file_name<'a>(&'a self, own: &'a RemotePath) -> &'a [u8] {
        self.input_data.as_deref().map_or(own.file_name(), str::as_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posted(fields: &[(&str, &str)], headers: &[(&str, &str)]) -> Result<Posted, String> {
        let mut received = Received::default();
        for (name, value) in fields {
            received.add((*name).to_owned(), (*value).to_owned());
        }
        let header = |name: &str| {
            let found = headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name));
            found.map(|(_, value)| (*value).to_owned())
        };
        Posted::of(&received, header, Some(b"c:\\po.x12"))
    }

    #[test]
    fn fields_in_any_case_become_metadata() {
        let fields = [
            ("FROM", "123"),
            ("To", " 456 "),
            ("Input-Format", "X12"),
            ("refNum", "0042"),
            ("Transaction-set", "850"),
            ("Expiration", "Fri, 30 Sep 98 23:59:59 -0500"),
            ("something", "else"),
        ];
        let found = posted(&fields, &[("Transaction-Set", "860"), ("From", "edi@acme.example")]).unwrap();
        assert_eq!(found.ref_num.as_deref(), Some("42"));
        let text = |key: &str| found.metadata.get(key).and_then(Value::as_str);
        // Header fields win, but `From`, which is another thing in HTTP.
        assert_eq!((text("form_from"), text("form_to")), (Some("123"), Some("456")));
        assert_eq!((text("form_transaction_set"), text("form_input_format")), (Some("860"), Some("X12")));
        assert_eq!((text("form_ref_num"), found.said("RefNum").as_deref()), (Some("0042"), Some("0042")));
        assert_eq!(text("form_expiration"), Some("1998-10-01T04:59:59+00:00"));
        assert_eq!(text("form_input_data"), Some("c:\\po.x12"));
        assert!(!found.is_error && posted(&[("input-format", "Error")], &[]).unwrap().is_error);
    }

    #[test]
    fn what_is_no_number_or_date_is_refused() {
        for (name, value) in [
            ("RefNum", "12a"),
            ("RefNum", "1.5"),
            ("RefNum", "-"),
            ("Expiration", "tomorrow"),
            ("Expiration", "2027-01-01"),
        ] {
            assert!(posted(&[(name, value)], &[]).unwrap_err().contains(name), "{name} {value}");
        }
        assert!(ref_num(&"1".repeat(65)).is_err());
        for (text, number) in [("7", "7"), ("007", "7"), ("+7", "7"), ("-07", "-7"), ("00", "0"), ("-0", "0")]
        {
            assert_eq!(ref_num(text).as_deref(), Ok(number));
        }
    }

    #[test]
    fn what_a_flow_says_counts_more_than_what_its_partner_says() {
        let partner = FormFields {
            version: Some("1.3".into()),
            priority: Some(3),
            ref_num: Some(true),
            ..FormFields::default()
        };
        let flow =
            FormFields { priority: Some(1), transaction_set: Some("850".into()), ..FormFields::default() };
        let both = partner.with(&flow);
        assert_eq!(
            (both.version.as_deref(), both.priority, both.ref_num),
            (Some("1.3"), Some(1), Some(true))
        );
        assert_eq!(both.transaction_set.as_deref(), Some("850"));
        let wrong = FormFields { agent: Some("a\r\nb".into()), ..both };
        assert_eq!(wrong.mistakes().iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["agent"]);
    }
}
