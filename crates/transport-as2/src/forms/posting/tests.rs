use super::*;
use crate::agreement::{Agreement, As2Id, MdnRequest, SendSecurity};
use crate::form_fields::{EXPIRATION, FormFields};
use crate::outgoing::{MadeOnce, MessageSeed, build};
use chrono::DateTime;
use model::RemotePath;
use std::time::Duration;

fn seed() -> MessageSeed {
    MessageSeed {
        message_id: "<1@acme>".into(),
        boundary: "----waybill-b".into(),
        date: DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
        content_key: None,
    }
}

/// The head and the body of a form under these terms.
fn posted(agreement: &Agreement, name: &str) -> (Vec<(String, String)>, String) {
    let id = |text: &str| As2Id::try_from(text.to_owned()).unwrap();
    let (from, to, seed, file_name) = (id("123456789"), id("987654321"), seed(), RemotePath::from(name));
    let envelope = Envelope {
        from: &from,
        to: &to,
        agreement,
        own: None,
        made_once: MadeOnce::default(),
        seed: &seed,
        media_type: "application/edi-x12",
        file_name: &file_name,
    };
    let message = build(&envelope, Box::new(&b"ISA*00"[..]), 6).unwrap();
    let posting = Posting::new(&envelope, &message.headers, &Map::new()).unwrap();
    let headers = posting.headers.clone();
    let mut body = posting.around(message.body);
    let length = body.total_len();
    let mut text = String::new();
    body.read_to_string(&mut text).unwrap();
    assert_eq!(length, Some(text.len() as u64));
    (headers, text)
}

fn plain(form: FormTerms) -> Agreement {
    Agreement { send_security: SendSecurity::None, mdn: MdnRequest::Unsigned, form, ..Agreement::default() }
}

#[test]
fn a_form_has_the_shape_of_appendix_b() {
    let fields = FormFields {
        version: Some("1.3".into()),
        input_format: Some("X12".into()),
        ref_num: Some(false),
        ..FormFields::default()
    };
    let terms = FormTerms {
        post: true,
        fields,
        report_type: Some("GISB-Acknowledgement-Receipt".into()),
        reports: Vec::new(),
    };
    let (headers, body) = posted(&plain(terms), "po.x12");
    let field = |name: &str| headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str());
    let boundary = field("Content-Type").unwrap().split('"').nth(1).unwrap().to_owned();
    assert_eq!((field("AS2-From"), field("Receipt-Disposition-To")), (None, None));
    assert_eq!((field("Message-ID"), field("AS2-Version")), (Some("<1@acme>"), Some("1.0")));
    let part = |name: &str, value: &str| {
        format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let expected = [
        part("from", "123456789"),
        part("to", "987654321"),
        part("Version", "1.3"),
        part("receipt-disposition-to", "123456789"),
        part("receipt-report-type", "GISB-Acknowledgement-Receipt"),
        part("input-format", "X12"),
        format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"input-data\"; filename=po.x12\r\n\
             Content-Type: application/edi-x12\r\n\r\nISA*00\r\n--{boundary}--\r\n"
        ),
    ]
    .concat();
    assert_eq!(body, expected);
}

#[test]
fn an_mdn_is_asked_for_in_fields_too_and_every_field_is_said() {
    let fields = FormFields {
        agent: Some("network".into()),
        application: Some("billing".into()),
        user_param: Some("x".into()),
        transaction_set: Some("850".into()),
        priority: Some(2),
        expires_after: Some(Duration::from_secs(3600)),
        date_time: Some(true),
        input_data: Some("c:\\edi\\po.x12".into()),
        ..FormFields::default()
    };
    let terms = FormTerms { post: true, fields, ..FormTerms::default() };
    let (_, body) = posted(&plain(terms), "po.x12");
    for (name, value) in [
        ("disposition-notification-to", "123456789"),
        ("RefNum", ref_num_of("<1@acme>").as_str()),
        ("DateTime", "Tue, 14 Nov 2023 22:13:20 GMT"),
        ("Agent", "network"),
        ("Application", "billing"),
        ("UserParam", "x"),
        ("Transaction-set", "850"),
        ("Priority", "2"),
        ("Expiration", "Tue, 14 Nov 2023 23:13:20 GMT"),
    ] {
        assert!(body.contains(&format!("name=\"{name}\"\r\n\r\n{value}\r\n")), "{name}: {body}");
    }
    assert!(
        body.contains("disposition-notification-options") && body.contains("filename=\"c:\\\\edi"),
        "{body}"
    );
}

#[test]
fn past_its_expiration_no_attempt_is_made() {
    let fields = FormFields { expires_after: Some(Duration::from_secs(60)), ..FormFields::default() };
    let terms = FormTerms { post: true, fields, ..FormTerms::default() };
    let first = seed().date;
    let after = |seconds| first + chrono::TimeDelta::seconds(seconds);
    assert!(expired(&terms, first, &Map::new(), after(60)).is_none());
    let error = expired(&terms, first, &Map::new(), after(61)).unwrap();
    assert!(error.chain().contains("expired") && error.retry() == model::Retry::Permanent);
    // The time of its first sender counts too.
    let given = Map::from_iter([(EXPIRATION.to_owned(), Value::from(after(10).to_rfc3339()))]);
    assert!(expired(&terms, first, &given, after(11)).is_some());
    assert!(expired(&FormTerms::default(), first, &given, after(11)).is_none());
}
