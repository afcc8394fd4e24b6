//! Types of generalized receipts ("HTTP Transport for Secure EDI", 2.1.2 and 2.5.2): a `multipart/report` whose second part is
//! no MDN. What a type is called, how it is written and how it is understood is configuration; those of GISB are known
//! (appendix B).

use model::schema::Values;
use model::words;

/// The receipt by which GISB's members acknowledge a message.
pub(crate) const GISB_ACKNOWLEDGEMENT: &str = "GISB-Acknowledgement-Receipt";
/// What GISB's members send when a message cannot be processed after it was acknowledged.
pub(crate) const GISB_ERROR: &str = "GISB-Error-Notification";

words! {
    /// How the part for programs is written.
    ReportSyntax {
        /// `Name: value`, as header fields are.
        Fields = "fields",
        /// `name=value*`, as GISB has it.
        Assignments = "assignments",
        /// XML.
        Xml = "xml",
    }
}

/// A type of generalized receipts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReportType {
    /// Its value of `report-type`.
    pub name: String,
    /// The media type of the part for programs.
    pub media_type: String,
    /// How that part is written.
    pub syntax: ReportSyntax,
    /// The field of it that says what became of the message.
    pub status: String,
    /// What that field says of a message that was accepted; the first is written.
    pub success: Vec<String>,
    /// What it says of a message that was not, before the reason.
    pub failure: String,
    /// The names of the message's metadata that it gives back as `Original-…`.
    pub returns: Vec<String>,
    /// Whether it says by its type that a message was not accepted.
    pub is_error: bool,
}

impl ReportType {
    /// Reads one of a partner's `reports`.
    fn of(table: &Values) -> Self {
        let text = |name: &str| table.text(name).unwrap_or_default().to_owned();
        let other = Self::named("");
        let syntax = ReportSyntax::parse(&text("syntax")).unwrap_or(other.syntax);
        let media_type = table.text("media_type").map(str::to_owned);
        Self {
            name: text("type"),
            media_type: media_type.unwrap_or_else(|| default_media_type(syntax).to_owned()),
            syntax,
            status: table.text("status").map_or(other.status, str::to_owned),
            success: match table.texts("success").map(str::to_owned).collect::<Vec<_>>() {
                none if none.is_empty() => other.success,
                some => some,
            },
            failure: table.text("failure").map_or(other.failure, str::to_owned),
            returns: table.texts("returns").map(str::to_owned).collect(),
            is_error: table.bool("is_error"),
        }
    }

    /// One of which nothing is known but its name.
    pub(crate) fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            media_type: default_media_type(ReportSyntax::Fields).to_owned(),
            syntax: ReportSyntax::Fields,
            status: "request-status".to_owned(),
            success: vec!["ok".to_owned()],
            failure: "error".to_owned(),
            returns: Vec::new(),
            is_error: false,
        }
    }

    fn gisb(name: &str, is_error: bool) -> Self {
        Self { syntax: ReportSyntax::Assignments, is_error, ..Self::named(name) }
    }
}

fn default_media_type(syntax: ReportSyntax) -> &'static str {
    match syntax {
        ReportSyntax::Fields | ReportSyntax::Assignments => "text/plain",
        ReportSyntax::Xml => "application/xml",
    }
}

/// The types that a partner's table defines.
pub(crate) fn defined(side: &Values) -> Vec<ReportType> {
    let tables = side.list("reports").iter().filter_map(|report| report.as_table());
    tables.map(ReportType::of).collect()
}

/// The type of this name: one that is defined, or one of GISB's.
pub(crate) fn report_type(defined: &[ReportType], name: &str) -> Option<ReportType> {
    let has_name = |report: &&ReportType| report.name.eq_ignore_ascii_case(name);
    if let Some(found) = defined.iter().find(has_name) {
        return Some(found.clone());
    }
    let gisb = [(GISB_ACKNOWLEDGEMENT, false), (GISB_ERROR, true)].into_iter();
    gisb.map(|(name, is_error)| ReportType::gisb(name, is_error)).find(|report| has_name(&report))
}

/// What cannot be a type of receipts: the option, and why.
pub(crate) fn mistakes(report: &ReportType) -> Vec<(&'static str, &'static str)> {
    let is_token = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let is_media =
        report.media_type.split_once('/').is_some_and(|(kind, sub)| is_token(kind) && is_token(sub));
    let is_line = |text: &str| text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    let token = "must be letters, digits, '-', '_' and '.'";
    let mut found = Vec::new();
    if !is_token(&report.name) {
        found.push(("type", token));
    } else if report.name.eq_ignore_ascii_case("disposition-notification") {
        found.push(("type", "must be another one: disposition-notification is the MDN"));
    }
    if !is_media {
        found.push(("media_type", "must be a media type such as \"text/plain\""));
    }
    if !is_token(&report.status) {
        found.push(("status", token));
    }
    if !report.success.iter().chain([&report.failure]).all(|text| is_line(text)) {
        found.push(("success", "must be printable ASCII characters"));
    }
    if !report.returns.iter().all(|name| is_token(name)) {
        found.push(("returns", token));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::schema::Value;

    #[test]
    fn types_are_found_by_name_and_a_defined_one_counts_more() {
        assert_eq!(report_type(&[], "gisb-acknowledgement-receipt").map(|found| found.is_error), Some(false));
        assert_eq!(report_type(&[], GISB_ERROR).map(|found| found.is_error), Some(true));
        assert_eq!(report_type(&[], "ACME-Receipt"), None);
        let text = |text: &str| Value::Text(text.to_owned());
        let table = Values::of([("type", text(GISB_ACKNOWLEDGEMENT)), ("syntax", text("xml"))]);
        let side = Values::of([("reports", Value::List(vec![Value::Table(table)]))]);
        let found = report_type(&defined(&side), GISB_ACKNOWLEDGEMENT).unwrap();
        assert_eq!((found.syntax, found.media_type.as_str()), (ReportSyntax::Xml, "application/xml"));
        assert!(mistakes(&found).is_empty());
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let wrong = ReportType {
            media_type: "text".into(),
            status: "a b".into(),
            success: vec!["o\nk".into()],
            ..ReportType::named("disposition-notification")
        };
        let named: Vec<&str> = mistakes(&wrong).iter().map(|(option, _)| *option).collect();
        assert_eq!(named, ["type", "media_type", "status", "success"]);
    }
}
