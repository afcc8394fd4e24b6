//! A `TimeStampToken` (RFC 3161 section 2.4.2): SignedData with a `TSTInfo` inside, signed by one authority.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use openssl::asn1::Asn1Time;
use openssl::hash::hash;
use openssl::stack::Stack;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::{X509VerifyFlags, X509VerifyParam};
use openssl::x509::{X509, X509PurposeId, X509Ref, X509StoreContext};

use super::TimestampProof;
use crate::algorithm::{Digest, oid};
use crate::cms::attributes;
use crate::cms::certificate::{CertificateId, extension, name_text};
use crate::cms::recipient::digest_of;
use crate::cms::signer::SignerInfo;
use crate::cms::verify::{SignatureRequirements, Signers};
use crate::der::{self, Element};
use crate::error::{CryptoContext, Error, Result};
use crate::mic::Finished;

/// Certificates of a token that are looked at.
const CERTIFICATES: usize = 16;

/// What the authority says.
struct Info {
    digest: Digest,
    imprint: Vec<u8>,
    serial: Vec<u8>,
    at: SystemTime,
    nonce: Option<Vec<u8>>,
}

/// Checks a token; each step says what is wrong.
pub(super) fn check(
    token: &[u8],
    digest: &[u8; 32],
    nonce: Option<&[u8]>,
    authorities: &[X509],
) -> Result<TimestampProof> {
    let (signers, content, carried) = open(token)?;
    let info = Info::parse(&content)?;
    if info.digest != Digest::Sha256 || info.imprint != digest {
        return Err(invalid("it is for other data"));
    }
    if nonce.is_some() && info.nonce.as_deref() != nonce {
        return Err(invalid("it answers another request (the nonce differs)"));
    }
    let [signer] = signers.infos.as_slice() else {
        return Err(invalid("it is not signed by exactly one authority"));
    };
    let certificate = find(signer, &carried, authorities)?;
    check_attributes(signer, &certificate)?;
    let made_by = signer.digest.clone().map_err(Error::unsupported)?;
    let finished = Finished {
        algorithm: made_by,
        exact: hash(made_by.md(), &content).during("digest")?.to_vec(),
        canonical: None,
    };
    let demands =
        SignatureRequirements { valid_at: Some(info.at), accept_expired: false, accept_weak: false };
    signers.verify(&[finished], &content, std::slice::from_ref(&certificate), demands)?;
    check_usage(&certificate)?;
    check_chain(&certificate, carried, authorities, info.at)?;
    Ok(TimestampProof {
        at: info.at,
        authority: name_text(certificate.subject_name()),
        serial: info.serial.iter().take(32).map(|byte| format!("{byte:02x}")).collect(),
    })
}

/// The signers, the bytes of the TSTInfo, and the certificates that came along.
fn open(token: &[u8]) -> Result<(Signers, Cow<'_, [u8]>, Vec<X509>)> {
    let mut info = Element::parse(token)?.expect(der::SEQUENCE, "ContentInfo")?.children();
    if info.required("contentType")?.content != oid::SIGNED_DATA {
        return Err(invalid("it is not SignedData"));
    }
    let signed = info.required("content")?.expect(der::context(0), "content")?;
    let mut fields = signed.children().required("SignedData")?.children();
    fields.required("version")?;
    fields.required("digestAlgorithms")?;
    let mut encapsulated = fields.required("encapContentInfo")?.children();
    let content_type = encapsulated.required("contentType")?.content.to_vec();
    if content_type != oid::TST_INFO {
        return Err(invalid("its signed content is not a TSTInfo"));
    }
    let content = encapsulated.required("eContent")?.expect(der::context(0), "eContent")?;
    let content = content.children().required("TSTInfo")?.octets()?;
    let mut carried = Vec::new();
    if let Some(certificates) = fields.optional(der::context(0))? {
        let mut certificates = certificates.children();
        while let Some(certificate) = certificates.next()? {
            // Other forms than X.509 have other tags.
            if certificate.tag == der::SEQUENCE && carried.len() < CERTIFICATES {
                carried.push(X509::from_der(certificate.raw).during("read a certificate of the token")?);
            }
        }
    }
    fields.optional(der::context(1))?;
    let set = fields.required("signerInfos")?.expect(der::SET, "signerInfos")?;
    let infos = SignerInfo::parse_all(&set, 2)?;
    Ok((Signers { content_type, infos, carried: Vec::new() }, content, carried))
}

impl Info {
    fn parse(content: &[u8]) -> Result<Info> {
        let mut fields = Element::parse(content)?.expect(der::SEQUENCE, "TSTInfo")?.children();
        if fields.required("version")?.small_integer()? != 1 {
            return Err(Error::unsupported("a TSTInfo whose version is not 1"));
        }
        fields.required("policy")?.expect(der::OID, "policy")?;
        let mut imprint = fields.required("messageImprint")?.children();
        let digest = digest_of(&imprint.required("hashAlgorithm")?)?;
        let imprint = imprint.required("hashedMessage")?.expect(der::OCTET_STRING, "hashedMessage")?;
        let serial = fields.required("serialNumber")?.expect(der::INTEGER, "serialNumber")?;
        let at = moment(&fields.required("genTime")?.expect(der::GENERALIZED_TIME, "genTime")?)?;
        fields.optional(der::SEQUENCE)?;
        fields.optional(der::BOOLEAN)?;
        let nonce = fields.optional(der::INTEGER)?.map(|nonce| nonce.content.to_vec());
        Ok(Info { digest, imprint: imprint.content.to_vec(), serial: serial.content.to_vec(), at, nonce })
    }
}

/// `YYYYMMDDhhmmss[.s…]Z`; the fraction counts to the microsecond.
fn moment(time: &Element<'_>) -> Result<SystemTime> {
    let unreadable = || Error::malformed("TSTInfo", "genTime is not a time in UTC");
    let text = std::str::from_utf8(time.content).ok().and_then(|text| text.strip_suffix('Z'));
    let (whole, fraction) =
        text.map(|text| text.split_once('.').unwrap_or((text, "0"))).ok_or_else(unreadable)?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() != 14 || !digits(whole) || !digits(fraction) {
        return Err(unreadable());
    }
    let parsed = Asn1Time::from_str(&format!("{whole}Z")).map_err(|_| unreadable())?;
    let since = Asn1Time::from_unix(0).and_then(|epoch| epoch.diff(&parsed)).during("compare times")?;
    let seconds = i64::from(since.days) * 86_400 + i64::from(since.secs);
    let micros = format!("{fraction:0<6}").get(..6).and_then(|micros| micros.parse().ok());
    let since = u64::try_from(seconds).ok().zip(micros).ok_or_else(unreadable)?;
    Ok(UNIX_EPOCH + Duration::from_secs(since.0) + Duration::from_micros(since.1))
}

/// The certificate that the signer names: it came along, or is configured.
fn find(signer: &SignerInfo, carried: &[X509], authorities: &[X509]) -> Result<X509> {
    for certificate in carried.iter().chain(authorities) {
        if CertificateId::of(certificate)?.is_named(&signer.named) {
            return Ok(certificate.clone());
        }
    }
    Err(Error::TimestampInvalid(format!(
        "the certificate of its signer ({}) is not in it",
        signer.named.describe()
    )))
}

/// What must be among the signed attributes: the type of the content, its digest, and the hash of the very
/// certificate (RFC 5816), so that no other one can be put in its place. Their values but the last are compared
/// with the signature.
fn check_attributes(signer: &SignerInfo, certificate: &X509Ref) -> Result<()> {
    let signed = signer.attributes.as_deref().ok_or_else(|| invalid("it has no signed attributes"))?;
    let signed = Element::parse(signed)?.content;
    let read = attributes::read(signed);
    if read.content_type.as_deref() != Some(oid::TST_INFO) || read.message_digest.is_none() {
        return Err(invalid("its signature is not over a TSTInfo"));
    }
    let second = attributes::value(signed, oid::SIGNING_CERTIFICATE_V2);
    let Some(value) = second.or_else(|| attributes::value(signed, oid::SIGNING_CERTIFICATE)) else {
        return Err(invalid("it does not say which certificate signed it (ESSCertID)"));
    };
    let mut first = value.children().required("certs")?.children().required("ESSCertID")?.children();
    let algorithm = match (second, first.optional(der::SEQUENCE)?) {
        (Some(_), Some(algorithm)) => digest_of(&algorithm)?,
        (Some(_), None) => Digest::Sha256,
        (None, None) => Digest::Sha1,
        (None, Some(_)) => return Err(Error::malformed("ESSCertID", "an OCTET STRING is expected")),
    };
    let named = first.required("certHash")?.octets()?;
    let own = certificate.digest(algorithm.md()).during("fingerprint")?;
    if *named != *own {
        return Err(invalid("it names another certificate than its signer's (ESSCertID)"));
    }
    Ok(())
}

/// RFC 3161 section 2.3: the extended key usage is there, critical, and time stamping alone.
fn check_usage(certificate: &X509Ref) -> Result<()> {
    let what = match extension(certificate, oid::EXTENDED_KEY_USAGE)? {
        None => "has no extended key usage",
        Some((_, value)) if value != der::sequence(&[&der::oid(oid::TIME_STAMPING)]) => {
            "is not for time stamping only (extended key usage)"
        }
        Some((false, _)) => "has an extended key usage that is not critical",
        Some((true, _)) => return Ok(()),
    };
    Err(Error::TimestampInvalid(format!("the certificate of its signer {what}")))
}

/// Whether a chain to a configured certificate was valid at that time.
fn check_chain(certificate: &X509, carried: Vec<X509>, authorities: &[X509], at: SystemTime) -> Result<()> {
    let prepare = || -> std::result::Result<_, openssl::error::ErrorStack> {
        let mut param = X509VerifyParam::new()?;
        let seconds = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        param.set_time(i64::try_from(seconds).unwrap_or(i64::MAX));
        param.set_purpose(X509PurposeId::TIMESTAMP_SIGN)?;
        // What is configured is trusted, be it a root or not.
        param.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
        let mut store = X509StoreBuilder::new()?;
        for authority in authorities {
            store.add_cert(authority.clone())?;
        }
        store.set_param(&param)?;
        let mut chain = Stack::new()?;
        for certificate in carried {
            chain.push(certificate)?;
        }
        X509StoreContext::new()?.init(&store.build(), certificate, &chain, |context| {
            Ok((context.verify_cert()?, context.error()))
        })
    };
    let (holds, result) = prepare().during("verify the chain of a time stamp's signer")?;
    if holds {
        return Ok(());
    }
    let subject = name_text(certificate.subject_name());
    let why = result.error_string();
    Err(Error::TimestampInvalid(format!(
        "its signer ({subject}) was not certified by any of the trusted certificates: {why}"
    )))
}

fn invalid(what: &str) -> Error {
    Error::TimestampInvalid(what.to_owned())
}
