//! Against the real `openssl ts` (`tests/servers/timestamp_authority.sh`).

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::*;

const DIGEST: [u8; 32] = [0x5a; 32];

struct Authority(tempfile::TempDir);

fn script(arguments: &[&str], input: &[u8], ess_digest: &str) -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/servers/timestamp_authority.sh");
    let mut child = Command::new(path)
        .args(arguments)
        .env("ESS_DIGEST", ess_digest)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

impl Authority {
    fn with(more: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_str().unwrap();
        script(&[&["make", path], more].concat(), b"", "sha256");
        Self(directory)
    }

    fn good() -> Self {
        Self::with(&[])
    }

    fn ask(&self, what: &str, input: &[u8], ess_digest: &str) -> Vec<u8> {
        script(&[what, self.0.path().to_str().unwrap()], input, ess_digest)
    }

    fn reply(&self, request: &TimestampRequest) -> Vec<u8> {
        self.ask("reply", &request.encode(), "sha256")
    }

    fn trusted(&self) -> TimestampAuthorities {
        TimestampAuthorities::from_pem(&std::fs::read(self.0.path().join("root.pem")).unwrap()).unwrap()
    }
}

fn request() -> TimestampRequest {
    TimestampRequest::new(DIGEST, [0xff; 16])
}

fn token_of(answer: &[u8]) -> Vec<u8> {
    let mut answer = Element::parse(answer).unwrap().children();
    answer.required("status").unwrap();
    answer.required("token").unwrap().raw.to_vec()
}

/// The bytes of a token's TSTInfo.
fn info_of(token: &[u8]) -> Vec<u8> {
    let kind = der::oid(crate::algorithm::oid::TST_INFO);
    let at = token.windows(kind.len()).position(|part| part == kind).unwrap() + kind.len();
    let content = Element::parse(&token[at..]).unwrap();
    content.children().required("TSTInfo").unwrap().octets().unwrap().into_owned()
}

fn refused(result: Result<(Vec<u8>, TimestampProof)>, why: &str) {
    let text = result.unwrap_err().to_string();
    assert!(text.contains(why), "{text} does not contain {why}");
}

#[test]
fn an_answer_of_openssl_is_a_proof_then_and_later() {
    let authority = Authority::good();
    let before = SystemTime::now() - std::time::Duration::from_secs(5);
    for ess_digest in ["sha1", "sha256", "sha512"] {
        let answer = authority.ask("reply", &request().encode(), ess_digest);
        let (token, proof) = request().open(&answer, &authority.trusted()).unwrap();
        assert!(proof.at > before && proof.at < SystemTime::now() + std::time::Duration::from_secs(5));
        assert_eq!(proof.authority, "O=Test, CN=Time Stamps");
        assert_eq!(authority.trusted().check(&token, &DIGEST).unwrap(), proof);
    }
}

#[test]
fn an_answer_to_something_else_is_refused() {
    let authority = Authority::good();
    let trusted = authority.trusted();
    let answer = authority.reply(&TimestampRequest::new(DIGEST, [0; 16]));
    refused(request().open(&answer, &trusted), "nonce");
    let answer = authority.reply(&TimestampRequest::new([1; 32], [0xff; 16]));
    refused(request().open(&answer, &trusted), "other data");
    let error = trusted.check(&token_of(&answer), &DIGEST).unwrap_err().to_string();
    assert!(error.contains("other data"), "{error}");
    // A request without a nonce gets an answer without one.
    let without = der::sequence(&[&der::integer(1), &der::sequence(&[SHA256, &der::octet_string(&DIGEST)])]);
    refused(request().open(&authority.ask("reply", &without, "sha256"), &trusted), "nonce");
}

#[test]
fn a_refusal_is_told_in_the_authoritys_words() {
    let authority = Authority::good();
    let answer = authority.ask("refuse", &request().encode(), "sha256");
    refused(request().open(&answer, &authority.trusted()), "status 2");
    refused(request().open(&answer, &authority.trusted()), "it does not accept SHA-256");
}

#[test]
fn a_certificate_that_is_not_for_time_stamping_alone_is_refused() {
    let good = Authority::good();
    let check = |usage: &str| {
        let authority = Authority::with(&[usage]);
        // Made after the certificate, which is valid from then on.
        let info = info_of(&token_of(&good.reply(&request())));
        authority.trusted().check(&authority.ask("sign", &info, "sha256"), &DIGEST).map_err(|e| e.to_string())
    };
    // The way the others are signed is no fault of its own.
    check("critical,timeStamping").unwrap();
    for (usage, why) in [
        ("", "no extended key usage"),
        ("critical,serverAuth", "not for time stamping only"),
        ("critical,timeStamping,serverAuth", "not for time stamping only"),
        ("timeStamping", "not critical"),
    ] {
        let error = check(usage).unwrap_err();
        assert!(error.contains(why), "{usage}: {error}");
    }
}

#[test]
fn a_signer_that_had_expired_or_that_nobody_trusts_is_refused() {
    let good = Authority::good();
    let expired = Authority::with(&["critical,timeStamping", "-1"]);
    let info = info_of(&token_of(&good.reply(&request())));
    let token = expired.ask("sign", &info, "sha256");
    let error = expired.trusted().check(&token, &DIGEST).unwrap_err().to_string();
    assert!(error.contains("expired"), "{error}");
    let stranger = Authority::good();
    refused(
        request().open(&stranger.reply(&request()), &good.trusted()),
        "was not certified by any of the trusted",
    );
    // The same name and another key: the chain is by signature.
    let (token, _) = request().open(&stranger.reply(&request()), &stranger.trusted()).unwrap();
    assert!(good.trusted().check(&token, &DIGEST).is_err());
    // The signer's own certificate may be what is trusted.
    let own = std::fs::read(good.0.path().join("signer.pem")).unwrap();
    request().open(&good.reply(&request()), &TimestampAuthorities::from_pem(&own).unwrap()).unwrap();
}

#[test]
fn no_byte_of_what_is_signed_can_be_changed() {
    let authority = Authority::good();
    let trusted = authority.trusted();
    let token = token_of(&authority.reply(&request()));
    let info = info_of(&token);
    let start = token.windows(info.len()).position(|part| part == info).unwrap();
    for at in start..start + info.len() {
        let mut changed = token.clone();
        changed[at] ^= 1;
        assert!(trusted.check(&changed, &DIGEST).is_err(), "byte {at}");
    }
    // At the end are the signed attributes, 19 bytes of algorithm and length, and the signature (RSA 2048).
    let signature = token.len() - 256;
    for at in (signature - 19 - 100..signature - 19).chain(signature..token.len()) {
        let mut changed = token.clone();
        changed[at] ^= 1;
        assert!(trusted.check(&changed, &DIGEST).is_err(), "byte {at}");
    }
    for end in (0..token.len()).step_by(7) {
        assert!(trusted.check(&token[..end], &DIGEST).is_err(), "cut at {end}");
    }
    // Nothing panics, whatever byte is another.
    for at in 0..token.len() {
        let mut changed = token.clone();
        changed[at] = changed[at].wrapping_add(0x81);
        let _ = trusted.check(&changed, &DIGEST);
    }
}

#[test]
fn a_signature_that_names_no_certificate_is_refused() {
    let authority = Authority::good();
    let info = info_of(&token_of(&authority.reply(&request())));
    let path = authority.0.path();
    std::fs::write(path.join("info"), info).unwrap();
    // Without -cades there is no ESSCertID; without attributes there is nothing at all.
    for (option, why) in [("-nosmimecap", "ESSCertID"), ("-noattr", "no signed attributes")] {
        let output = Command::new("openssl")
            .args([
                "cms",
                "-sign",
                "-binary",
                "-nodetach",
                option,
                "-econtent_type",
                "1.2.840.113549.1.9.16.1.4",
            ])
            .args(["-signer", "signer.pem", "-inkey", "signer.key", "-outform", "DER", "-in", "info"])
            .current_dir(path)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let error = authority.trusted().check(&output.stdout, &DIGEST).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn openssl_reads_the_request() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("query");
    std::fs::write(&file, request().encode()).unwrap();
    let output = Command::new("openssl").args(["ts", "-query", "-text", "-in"]).arg(file).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("Hash Algorithm: sha256") && text.contains("Certificate required: yes"), "{text}");
    assert!(text.contains("Nonce: 0x7FFFFFFFFF"), "{text}");
}
