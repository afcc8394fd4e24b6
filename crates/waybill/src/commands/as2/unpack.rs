//! `waybill as2 unpack`: a message out of a file, its payloads into a directory.

use super::payloads::{MissingProtection, Payloads};
use super::{certificate, file_error, private_key};
use crate::cli::Unpack;
use crate::cli::values::Protections;
use crate::commands::{FOUND_WRONG, write};
use crate::process::ClockAndRandom;
use model::{Error, ErrorKind, Result};
use serde_json::{Value, json};
use smime::threads::{Queue, ReadAhead};
use smime::{DecryptionKey, Digest, Headers, Keys, Limits, NameStyle, ReadOptions, Weakness};
use std::fs::File;
use std::io::{BufReader, Read};
use std::process::ExitCode;
use transport_as2::disposition::{Disposition, DispositionError};
use transport_as2::{disposition_of, read_name};

/// Why a message was not taken.
struct Refused {
    disposition: Disposition,
    reason: String,
    /// Verifying takes this digest too.
    lacks: Option<Digest>,
}

impl Refused {
    /// A fault for which dispositions have no word of its own.
    fn because(reason: impl Into<String>) -> Self {
        let disposition = Disposition::Error(DispositionError::UnexpectedProcessingError);
        Self { disposition, reason: reason.into(), lacks: None }
    }
}

impl From<smime::Error> for Refused {
    fn from(error: smime::Error) -> Self {
        if let smime::Error::Io(io) = &error
            && let Some(MissingProtection(lacks)) = io.get_ref().and_then(|inner| inner.downcast_ref())
        {
            return unprotected(lacks);
        }
        let disposition = disposition_of(&error);
        let lacks = match &error {
            smime::Error::DigestUnannounced { digest } => Some(*digest),
            _ => None,
        };
        let reason = Error::permanent(ErrorKind::Protocol, "read the message").caused_by(error).chain();
        Self { disposition, reason, lacks }
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::because(error.chain())
    }
}

/// Once the message is open, whatever goes wrong is told as JSON with its disposition.
pub(crate) fn unpack_file(unpack: &Unpack) -> Result<ExitCode> {
    let key = match (&unpack.key, &unpack.cert) {
        (Some(key), Some(cert)) => {
            Some(DecryptionKey { key: private_key(key)?, certificate: certificate(cert)? })
        }
        // clap has seen to it that both are given, or neither.
        _ => None,
    };
    let certificates =
        unpack.partner_cert.iter().map(|path| certificate(path)).collect::<Result<Vec<_>>>()?;
    let open = || File::open(&unpack.message).map_err(|e| file_error("open the message", &unpack.message, e));
    let file = open()?;
    let mut told = json!({ "from": null, "to": null, "message_id": null });
    let keys = Keys { decrypt: key.as_slice(), verify: &certificates };
    // Each digest costs a pass over the message: a second one only when the first was the wrong one.
    let mut result = read(unpack, file, keys, &[Digest::Sha256], &mut told);
    if let Err(Refused { lacks: Some(digest), .. }) = result {
        result = read(unpack, open()?, keys, &[digest], &mut told);
    }
    if let Err(refused) = &result {
        told["disposition"] = refused.disposition.to_string().into();
        told["error"] = refused.reason.as_str().into();
    }
    write::json(&told)?;
    Ok(if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(FOUND_WRONG) })
}

/// Reads the message and publishes its payloads; on an error none of them is left.
fn read(
    unpack: &Unpack,
    file: File,
    keys: Keys<'_>,
    digests: &[Digest],
    told: &mut Value,
) -> std::result::Result<(), Refused> {
    let mut reader = BufReader::new(ReadAhead::new(file, Queue::OF_A_COMMAND));
    let (headers, rest) = Headers::read(&mut reader, &Limits::default())?;
    let head = Head::of(&headers);
    told["from"] = head.from.as_deref().map(read_name).into();
    told["to"] = head.to.as_deref().map(read_name).into();
    told["message_id"] = head.message_id.as_deref().into();
    let (message_id, announced) = head.check(&headers)?;

    std::fs::create_dir_all(&unpack.out).map_err(|e| file_error("make the directory", &unpack.out, e))?;
    // What was begun is removed when `payloads` is dropped without having been published.
    let required = unpack
        .require
        .unwrap_or(Protections { signed: !keys.verify.is_empty(), encrypted: !keys.decrypt.is_empty() });
    let mut payloads = Payloads::into_directory(&unpack.out, &message_id, required);
    let options = ReadOptions {
        digests: digests.to_vec(),
        alternatives: false,
        valid_at: Some(ClockAndRandom::default().clock.now().into()),
        accept_expired: unpack.accept_expired,
        accept_weak: unpack.legacy,
        ..ReadOptions::default()
    };
    let mut body = Measured { inner: std::io::Cursor::new(rest).chain(reader), count: 0, at_end: false };
    let report = smime::read_message(&headers, &mut body, keys, &options, &mut payloads);
    let wrong_length = body.differs_from(announced);
    let report = match (report, wrong_length) {
        (Ok(report), None) => report,
        (Ok(_), Some(words)) => return Err(Refused::because(words)),
        (Err(error), words) => {
            let refused = Refused::from(error);
            // A cut message fails somewhere inside: that it is cut is the cause.
            let cause = words.map(|words| format!("{words}: ")).unwrap_or_default();
            return Err(Refused { reason: cause + &refused.reason, ..refused });
        }
    };
    // By what is proved, where `payloads` went by what was claimed.
    if let Some(lacks) = lacking(required, report.signed().is_some(), report.encrypted().is_some()) {
        return Err(unprotected(lacks));
    }
    let files = payloads.publish()?;
    let algorithm = report.signed().map_or(Digest::Sha256, |proof| proof.digest);
    told["signed"] = report.signed().map(|proof| proof.digest.name(NameStyle::Rfc5751)).into();
    told["weak"] = report.signed().map(|proof| words_of(&proof.weaknesses)).unwrap_or_default().into();
    told["encrypted"] = report.encrypted().map(smime::Cipher::name).into();
    told["compressed"] = report.compressed().into();
    told["mic"] = report.mic(algorithm).map(smime::Mic::base64).into();
    told["mic_algorithm"] = algorithm.name(NameStyle::Rfc5751).into();
    told["files"] = files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().into();
    Ok(())
}

fn words_of(weaknesses: &[Weakness]) -> Vec<String> {
    weaknesses.iter().map(Weakness::to_string).collect()
}

/// The protection that is required and missing.
pub(super) fn lacking(required: Protections, signed: bool, encrypted: bool) -> Option<&'static str> {
    match () {
        () if required.encrypted && !encrypted => Some("encrypted"),
        () if required.signed && !signed => Some("signed"),
        () => None,
    }
}

/// The message lacks a protection.
fn unprotected(lacks: &str) -> Refused {
    Refused {
        disposition: Disposition::Error(DispositionError::InsufficientMessageSecurity),
        reason: format!(
            "the message is not {lacks}, although you gave a key for that: somebody may have removed the \
            protection in transit. To unpack it anyway, use --require none, or --require with what the \
            message must be"
        ),
        lacks: None,
    }
}

/// What the header block of every AS2 message says (RFC 4130, 6).
struct Head {
    from: Option<String>,
    to: Option<String>,
    message_id: Option<String>,
    length: Option<String>,
}

impl Head {
    fn of(headers: &Headers) -> Self {
        let text = |name: &str| {
            let value = headers.get(name).map(|value| String::from_utf8_lossy(value).into_owned());
            value.filter(|value| !value.is_empty())
        };
        Self {
            from: text("AS2-From"),
            to: text("AS2-To"),
            message_id: text("Message-ID"),
            length: text("Content-Length"),
        }
    }

    /// Message-ID, and the body's length where it is announced; refused when this is no AS2 message, or
    /// one whose head was cut.
    fn check(self, headers: &Headers) -> std::result::Result<(String, Option<u64>), Refused> {
        if headers.is_empty() {
            return Err(Refused::because(
                "the file has no HTTP headers, with which every AS2 message begins",
            ));
        }
        if headers.end().is_empty() {
            return Err(Refused::because("the message ends within its HTTP headers: it is incomplete"));
        }
        let missing =
            |name| Refused::because(format!("the header {name} is missing: this is not an AS2 message"));
        self.from.ok_or_else(|| missing("AS2-From"))?;
        self.to.ok_or_else(|| missing("AS2-To"))?;
        let message_id = self.message_id.ok_or_else(|| missing("Message-ID"))?;
        let coding =
            headers.get("Content-Encoding").map(|value| String::from_utf8_lossy(value).trim().to_owned());
        if let Some(coding) = coding.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("identity"))
        {
            return Err(Refused::because(format!(
                "the body is compressed (Content-Encoding: {coding:?}): decompress it first"
            )));
        }
        let length = self.length.map(|text| {
            text.parse::<u64>()
                .map_err(|_| Refused::because(format!("the Content-Length {text:?} is not a number")))
        });
        Ok((message_id, length.transpose()?))
    }
}

/// A body whose length is counted.
struct Measured<R> {
    inner: R,
    count: u64,
    at_end: bool,
}

impl<R> Measured<R> {
    /// In words, when the body was read to its end and is not as long as announced.
    fn differs_from(&self, announced: Option<u64>) -> Option<String> {
        let announced = announced.filter(|announced| self.at_end && *announced != self.count)?;
        let what = if self.count < announced { "is cut" } else { "is too long" };
        Some(format!("the body {what}: it has {} bytes, but Content-Length is {announced}", self.count))
    }
}

impl<R: Read> Read for Measured<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(into)?;
        self.count += count as u64;
        self.at_end |= count == 0 && !into.is_empty();
        Ok(count)
    }
}
