use super::*;
use crate::agreement::{Agreement, As2Id, Compression, Order, SendSecurity};
use crate::outgoing::signed::{self, Covers};
use crate::outgoing::{Envelope, MadeOnce, MessageSeed, OwnKey, build, cipher};
use crate::testing::Key;
use model::{PayloadId, Timestamp};
use proptest::prelude::*;
use smime::{
    DecryptionKey, Digest, EncryptedContentKey, KeyTransport, Keys, Part, PartReceiver, ReadOptions, Report,
};
use std::io::Write;
use std::sync::LazyLock;
use uuid::Uuid;

struct Bytes {
    record: PayloadRecord,
    metadata: Map<String, Value>,
    bytes: Vec<u8>,
}

#[async_trait]
impl Payload for Bytes {
    fn record(&self) -> &PayloadRecord {
        &self.record
    }

    fn sha256(&self) -> Option<Sha256> {
        self.record.content.sha256()
    }

    fn metadata(&self) -> &Map<String, Value> {
        &self.metadata
    }

    fn reader_buffers(&self) -> usize {
        7
    }

    async fn open(&self, range: Range<u64>) -> Result<PayloadReader> {
        Ok(Box::new(Cursor::new(part_of(&self.bytes, &range))))
    }

    fn open_blocking(&self, range: Range<u64>) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(Cursor::new(part_of(&self.bytes, &range))))
    }
}

fn file(name: &str, media_type: &str, bytes: &[u8], metadata: &[(&str, &str)]) -> File {
    let record = PayloadRecord {
        id: PayloadId::new(Uuid::nil()),
        length: bytes.len() as u64,
        content: Content::Staged(Sha256(openssl::sha::sha256(bytes))),
        media_type: Some(media_type.to_owned()),
        file_name: name.into(),
        staged_at: Timestamp::UNIX_EPOCH,
    };
    let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), Value::from(*value))).collect();
    let payload = Arc::new(Bytes { record, metadata, bytes: bytes.to_vec() });
    File { payload, name: name.as_bytes().to_vec(), media_type: media_type.to_owned() }
}

fn delivery() -> DeliveryId {
    DeliveryId::new(Uuid::from_u128(7))
}

fn related(files: &[File]) -> Related {
    Related::new(delivery(), files, FileNameForm::Extended).unwrap()
}

fn read(payload: &Related, range: Range<u64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    payload.open_blocking(range).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn three() -> [File; 3] {
    [
        file("po.xml", "application/xml", b"<po href='cid:plan@globex'/>\r\n", &[]),
        file("größe.pdf", "application/pdf", b"\0\xff%PDF", &[(CONTENT_ID, "<plan@globex>")]),
        file("", "text/plain", b"", &[(CONTENT_TYPE, "text/plain; name=\"x\"; charset=iso-8859-2")]),
    ]
}

#[test]
fn the_bytes_are_those_of_a_multipart_related() {
    let payload = related(&three());
    let text = read(&payload, 0..payload.length());
    assert_eq!(text.len() as u64, payload.length());
    let media = ContentType::parse(payload.media_type().unwrap().as_bytes()).unwrap();
    assert_eq!(media.essence(), RELATED);
    assert_eq!(media.parameter("type").as_deref(), Some("application/xml"));
    let own = |number: usize| format!("<{number}.{}@waybill>", delivery().uuid().simple());
    assert_eq!(media.parameter("start"), Some(own(1)));
    let boundary = media.parameter("boundary").unwrap();
    let expected = format!(
        "--{boundary}\r\nContent-Type: application/xml\r\nContent-ID: {}\r\n\
         Content-Disposition: attachment; filename=po.xml\r\nContent-Transfer-Encoding: binary\r\n\r\n\
         <po href='cid:plan@globex'/>\r\n\r\n\
         --{boundary}\r\nContent-Type: application/pdf\r\nContent-ID: <plan@globex>\r\n\
         Content-Disposition: attachment; filename*=UTF-8''gr%C3%B6%C3%9Fe.pdf\r\nContent-Transfer-Encoding: binary\r\n\r\n",
        own(1)
    );
    let rest = format!(
        "\r\n--{boundary}\r\nContent-Type: text/plain; charset=iso-8859-2\r\nContent-ID: {}\r\n\
         Content-Transfer-Encoding: binary\r\n\r\n\r\n--{boundary}--\r\n",
        own(3)
    );
    let expected = [expected.as_bytes(), b"\0\xff%PDF", rest.as_bytes()].concat();
    assert_eq!(String::from_utf8_lossy(&text), String::from_utf8_lossy(&expected));
    assert_eq!(text, expected);
}

#[test]
fn a_content_id_is_repeated_once_and_where_it_can_be_one() {
    let with = |id: &str| file("a", "text/plain", b"a", &[(CONTENT_ID, id)]);
    for id in ["<a b@c>", "a@c", "<>", "<a@c>\r\nX: y", "<a>b>"] {
        assert_eq!(with(id).content_id(), None, "{id}");
    }
    let heads = heads(delivery(), &[with("<a@c>"), with("<a@c>")], FileNameForm::Extended).unwrap();
    assert_eq!(heads[0].get("Content-ID"), Some(&b"<a@c>"[..]));
    assert_eq!(
        heads[1].get("Content-ID").map(String::from_utf8_lossy).as_deref(),
        Some(&*format!("<2.{}@waybill>", delivery().uuid().simple()))
    );
}

#[test]
fn each_attempt_has_the_same_boundary_and_another_message_another_one() {
    let of = |payload: &Related| payload.media_type().map(str::to_owned);
    assert_eq!(of(&related(&three())), of(&related(&three())));
    let other = Related::new(DeliveryId::new(Uuid::from_u128(8)), &three(), FileNameForm::Extended).unwrap();
    assert_ne!(of(&related(&three())), of(&other));
    let renamed = Related::new(delivery(), &three(), FileNameForm::EncodedWord).unwrap();
    assert_ne!(of(&related(&three())), of(&renamed));
}

#[test]
fn a_file_that_is_shorter_than_it_was_ends_with_an_error() {
    let mut short = file("a", "text/plain", b"abc", &[]);
    let record = PayloadRecord { length: 4, ..short.payload.record().clone() };
    short.payload = Arc::new(Bytes { record, metadata: Map::new(), bytes: b"abc".to_vec() });
    let payload = related(&[short, file("b", "text/plain", b"b", &[])]);
    let mut reader = payload.open_blocking(0..payload.length()).unwrap();
    assert!(reader.read_to_end(&mut Vec::new()).is_err());
}

#[test]
fn heads_of_several_files_are_told_from_others() {
    assert!(is_related("Multipart/Related; boundary=x") && !is_related("multipart/mixed; boundary=x"));
    assert!(has_related(
        b"Content-Transfer-Encoding: binary\r\nContent-Type: multipart/related; boundary=x\r\n"
    ));
    assert!(!has_related(b"Content-Type: text/plain; x=\"multipart/related\"\r\n") && !has_related(b""));
}

proptest! {
    #[test]
    fn any_range_reads_the_bytes_that_stand_there(
        contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..5),
        from in 0..1200_u64,
        length in 0..1200_u64,
    ) {
        let files: Vec<File> = contents.iter().map(|bytes| file("a.edi", "application/edi-x12", bytes, &[])).collect();
        let payload = related(&files);
        let all = read(&payload, 0..payload.length());
        prop_assert_eq!(all.len() as u64, payload.length());
        let range = from..from + length;
        let expected = part_of(&all, &(from.min(payload.length())..(from + length).min(payload.length())));
        prop_assert_eq!(read(&payload, range.clone()), expected.clone());
        let mut bytes = Vec::new();
        let reading = async { payload.open(range).await.unwrap().read_to_end(&mut bytes).await.unwrap() };
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(reading);
        prop_assert_eq!(bytes, expected);
    }
}

/// Made once: making a key takes longer than the test.
static KEYS: LazyLock<(Key, Key)> = LazyLock::new(|| (Key::new("ACME"), Key::new("GLOBEX")));

#[derive(Default)]
struct Collected(Vec<(Part, Vec<u8>)>);

impl PartReceiver for Collected {
    fn begin(&mut self, part: &Part) -> io::Result<Box<dyn Write + '_>> {
        self.0.push((part.clone(), Vec::new()));
        match self.0.last_mut() {
            Some((_, bytes)) => Ok(Box::new(bytes)),
            None => Err(io::Error::other("no part")),
        }
    }
}

fn received(headers: &[(String, String)], body: &[u8]) -> (Report, Vec<(Part, Vec<u8>)>) {
    let (acme, globex) = &*KEYS;
    let headers = headers.iter().fold(Headers::new(), |all, (name, value)| all.with(name, value).unwrap());
    let decrypt = [DecryptionKey { key: globex.key.clone(), certificate: globex.certificate.clone() }];
    let keys = Keys { decrypt: &decrypt, verify: std::slice::from_ref(&acme.certificate) };
    let mut parts = Collected::default();
    let report = smime::read_message(&headers, body, keys, &ReadOptions::default(), &mut parts).unwrap();
    (report, parts.0)
}

#[test]
fn every_protection_covers_all_files_with_one_mic() {
    let (acme, globex) = &*KEYS;
    let payload = related(&three());
    let media_type = payload.media_type().unwrap().to_owned();
    for security in SendSecurity::ALL {
        for (compress, order) in [
            (Compression::No, Order::SignThenEncrypt),
            (Compression::BeforeSigning, Order::SignThenEncrypt),
            (Compression::AfterSigning, Order::SignThenEncrypt),
            (Compression::No, Order::EncryptThenSign),
        ] {
            let agreement = Agreement { send_security: *security, compress, order, ..Agreement::default() };
            let shown = format!("{security} {compress} {order}");
            let content_key = EncryptedContentKey::generate(
                cipher(agreement.cipher),
                std::slice::from_ref(&globex.certificate),
                KeyTransport::default(),
            );
            let seed = MessageSeed {
                message_id: "<1@acme>".into(),
                boundary: "boundary-1".into(),
                date: chrono::DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
                content_key: Some(content_key.unwrap()),
            };
            let own = OwnKey { key: acme.key.clone(), certificate: acme.certificate.clone() };
            let envelope = Envelope {
                from: &As2Id::try_from("ACME".to_owned()).unwrap(),
                to: &As2Id::try_from("GLOBEX".to_owned()).unwrap(),
                agreement: &agreement,
                own: Some(&own),
                seed: &seed,
                made_once: MadeOnce::default(),
                media_type: &media_type,
                file_name: &"po.xml".into(),
            };
            let opened = || payload.open_blocking(0..payload.length()).unwrap();
            let mut message = build(&envelope, opened(), payload.length()).unwrap();
            let mut body = Vec::new();
            message.body.read_to_end(&mut body).unwrap();
            let field = |name: &str| {
                message.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
            };
            assert_eq!(field("EDIINT-Features"), Some("multiple-attachments, CEM"), "{shown}");
            assert_eq!(
                (field("AS2-Version"), field("Content-Disposition")),
                (Some("1.2"), field("Content-Disposition").filter(|value| value.contains("smime"))),
                "{shown}"
            );
            let (report, parts) = received(&message.headers, &body);
            let mic = message.mic.get().unwrap();
            assert_eq!(report.mic(Digest::Sha256), Some(mic), "{shown}");
            let names: Vec<Option<String>> = parts.iter().map(|(part, _)| part.file_name()).collect();
            assert_eq!(names, [Some("po.xml".to_owned()), Some("größe.pdf".to_owned()), None], "{shown}");
            let same = parts.iter().zip(three()).all(|((_, bytes), file)| {
                let mut sent = Vec::new();
                file.payload.open_blocking(0..file.payload.length()).unwrap().read_to_end(&mut sent).unwrap();
                sent == *bytes
            });
            assert!(same, "{shown}");
            // What evidence keeps is what the MIC covers.
            assert_eq!(signed::covers(&envelope), Covers::Layers);
            let mut covered = Vec::new();
            signed::signed_content(&envelope, opened(), payload.length())
                .unwrap()
                .read_to_end(&mut covered)
                .unwrap();
            assert_eq!(openssl::sha::sha256(&covered).as_slice(), mic.digest, "{shown}");
        }
    }
}
