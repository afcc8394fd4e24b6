use super::*;

fn key(message_id: &str) -> AnsweredBy {
    AnsweredBy::Key(serde_json::json!(["as2", "GLOBEX", "ACME", message_id]).to_string())
}

#[test]
fn a_file_names_the_message_that_it_answers() {
    let answered = |template: &str, name: &str| answered_by(template, &name.into(), ("GLOBEX", "ACME"));
    assert_eq!(answered("{stem}", "in/1@globex.edi"), key("<1@globex>"));
    assert_eq!(answered("<{stem}@globex>", "4711.edi"), key("<4711@globex>"));
    assert_eq!(answered("{name}", "1@globex.example"), key("<1@globex.example>"));
    let id = "0192f7a0-0000-7000-8000-000000000001";
    let transfer = TransferId::new(Uuid::parse_str(id).unwrap());
    assert_eq!(answered("{stem}", &format!("{id}.edi")), AnsweredBy::Transfer(transfer));
}

#[test]
fn only_a_message_of_the_partner_to_us_is_answered() {
    let AnsweredBy::Key(key) = key("<1@globex>") else { unreachable!() };
    assert!(is_between(&key, "GLOBEX", "ACME"));
    assert!(!is_between(&key, "ACME", "GLOBEX") && !is_between(&key, "INITECH", "ACME"));
    assert!(!is_between("no key", "GLOBEX", "ACME"));
    let form = serde_json::json!(["as2", "GLOBEX", "ACME", "refnum", "42"]).to_string();
    assert!(is_between(&form, "GLOBEX", "ACME") && !is_between(&form, "INITECH", "ACME"));
}

#[test]
fn what_was_put_into_an_answer_is_not_sent_before_the_time_of_its_receipt_is_over() {
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let note = serde_json::json!({ "key": "k", "attempt": 2, "at": "2026-01-01T00:00:00.500000Z" });
    let mut notes = BTreeMap::from([(GIVEN_ANSWER.to_owned(), note)]);
    let until =
        |notes: &BTreeMap<String, Value>, now: &str| given_until(notes, Duration::from_secs(60), at(now));
    assert_eq!(until(&notes, "2026-01-01T00:00:30Z"), Some(at("2026-01-01T00:01:00.5Z")));
    assert_eq!(until(&notes, "2026-01-01T00:01:00.5Z"), None);
    // A refusal of what was sent before does not count; one that came since does.
    for (refused_in, is_given) in [(1, true), (2, false), (3, false)] {
        notes.insert(ANSWERED.to_owned(), crate::sent_message::refusal_note("<1@acme>", refused_in));
        assert_eq!(until(&notes, "2026-01-01T00:00:30Z").is_some(), is_given, "{refused_in}");
    }
    assert_eq!(until(&BTreeMap::new(), "2026-01-01T00:00:30Z"), None);
}

fn whole(mut body: Box<dyn Measured + Send>) -> String {
    let (length, mut bytes) = (body.total_len(), Vec::new());
    body.read_to_end(&mut bytes).unwrap();
    assert_eq!(length, Some(bytes.len() as u64));
    String::from_utf8(bytes).unwrap()
}

#[test]
fn the_receipt_and_the_payload_stand_beside_each_other() {
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let message = || {
        vec![
            field("AS2-From", "ACME"),
            field("Message-ID", "<2@acme>"),
            field("Content-Type", "application/pkcs7-mime"),
            field("Disposition-Notification-To", "ACME"),
        ]
    };
    let body = || Box::new(&b"payload"[..]) as Box<dyn Measured + Send>;
    let receipt = StoredReply {
        status: 200,
        headers: vec![field("AS2-From", "ACME"), field("Content-Type", "multipart/report; boundary=r")],
        body: b"--r--".to_vec(),
    };
    let (head, body_of_both) = composed(message(), body(), &receipt, "b");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(head.headers.contains(&field("Content-Type", "multipart/mixed; boundary=\"b\"")));
    assert!(head.headers.contains(&field("Disposition-Notification-To", "ACME")));
    assert_eq!(head.headers.iter().filter(|(name, _)| name == "Content-Type").count(), 1);
    assert_eq!(
        whole(body_of_both),
        "--b\r\nContent-Type: multipart/report; boundary=r\r\n\r\n--r--\r\n--b\r\nContent-Type: application/pkcs7-mime\r\n\
         Content-Transfer-Encoding: binary\r\n\r\npayload\r\n--b--\r\n"
    );
    // Where no receipt stands in the answer, the message is the answer.
    let bare =
        StoredReply { status: 200, headers: vec![field("Content-Type", "text/plain")], body: Vec::new() };
    let (head, alone) = composed(message(), body(), &bare, "b");
    assert_eq!(head.headers, message());
    assert_eq!(whole(alone), "payload");
}
