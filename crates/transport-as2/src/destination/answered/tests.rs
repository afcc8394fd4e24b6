use super::*;
use crate::agreement::{Agreement, As2Id};
use crate::disposition::Disposition;
use crate::outgoing::{MadeOnce, MessageSeed};
use http::Response;

fn head(status: u16, fields: &[(&str, &str)]) -> (Parts, Headers) {
    let answer = fields
        .iter()
        .fold(Response::builder().status(status), |answer, (name, value)| answer.header(*name, *value));
    let (head, ()) = answer.body(()).unwrap().into_parts();
    let headers =
        fields.iter().fold(Headers::new(), |headers, (name, value)| headers.with(name, value).unwrap());
    (head, headers)
}

#[test]
fn a_payload_is_looked_for_only_where_one_may_be() {
    let (own, theirs) =
        (As2Id::try_from("ACME".to_owned()).unwrap(), As2Id::try_from("GLOBEX".to_owned()).unwrap());
    let agreement = Agreement::default();
    let seed = MessageSeed {
        message_id: "<1@acme>".into(),
        boundary: "b".into(),
        date: SystemTime::now().into(),
        content_key: None,
    };
    let file_name = RemotePath::from("po.edi");
    let envelope = Envelope {
        from: &own,
        to: &theirs,
        agreement: &agreement,
        own: None,
        seed: &seed,
        made_once: MadeOnce::default(),
        media_type: "application/edi-x12",
        file_name: &file_name,
    };
    let named = [("AS2-From", "GLOBEX"), ("AS2-To", "\"ACME\"")];
    let may = |status, media: &str, names: &[(&str, &str)]| {
        let (head, headers) = head(status, &[&[("Content-Type", media)][..], names].concat());
        may_hold_payload(&head, &headers, &envelope)
    };
    for media in [
        "multipart/mixed; boundary=x",
        "multipart/signed; boundary=x",
        "multipart/signed; boundary=x; protocol=\"application/pgp-signature\"",
        "multipart/encrypted; boundary=x",
        "application/pkcs7-mime",
    ] {
        assert!(may(200, media, &[]) && may(204, media, &named) && !may(500, media, &named), "{media}");
    }
    // Anything else must say between whom it is, as a message does.
    assert!(may(200, "application/edi-x12", &named) && !may(200, "application/edi-x12", &[]));
    assert!(!may(200, "application/edi-x12", &[("AS2-From", "ACME"), ("AS2-To", "GLOBEX")]));
    let with_id = [named[0], named[1], ("Message-ID", "<2@globex>")];
    assert!(!may(200, "text/plain", &named) && may(200, "text/plain", &with_id));
    assert!(!may(200, "text/html", &named) && !may(200, "multipart/report; boundary=x", &named));
}

fn content(read: bool, is_unread: bool, payloads: usize) -> AnswerContent {
    assert_eq!(payloads, 0, "a payload needs staging");
    let refused =
        Refused { disposition: Disposition::Processed, text: String::new(), cause: "not signed".into() };
    AnswerContent {
        read: read.then(|| ReadMdn {
            mdn: crate::mdn::Mdn {
                original_recipient: None,
                final_recipient: "x".into(),
                original_message_id: None,
                disposition: Disposition::Processed,
                mic: None,
                text: String::new(),
            },
            signature: crate::mdn::SignatureState::None,
            unknown_type: None,
        }),
        payloads: Vec::new(),
        refused: vec![refused],
        proved: None,
        head: None,
        is_unread,
    }
}

#[test]
fn an_answer_without_the_receipt_that_was_asked_for_leaves_the_delivery_open() {
    assert!(content(true, false, 0).has_receipt("<1@acme>").is_ok());
    assert!(content(false, true, 0).has_receipt("<1@acme>").is_ok());
    let error = content(false, false, 0).has_receipt("<1@acme>").unwrap_err();
    assert_eq!(error.retry(), Retry::Ambiguous);
    assert!(error.to_string().contains("without a receipt") && error.to_string().contains("not signed"));
}

#[tokio::test]
async fn what_is_longer_than_agreed_ends_the_reading() {
    let (sender, mut reader) = BodyReader::channel();
    let body = Body::bytes(vec![7; 1000]);
    let reading = tokio::task::spawn_blocking(move || {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).map(|_| all.len())
    });
    pump(body, sender, 999).await;
    let error = reading.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("larger than 999 bytes"), "{error}");
}
