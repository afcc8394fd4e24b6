//! What a message is on the wire. asx-rs tells nothing of it: it takes what its profile allows.

use crate::Failure;
use crate::side::Side;
use cms::content_info::ContentInfo;
use cms::enveloped_data::{EnvelopedData, RecipientInfo};
use cms::signed_data::SignedData;
use der::Decode;
use der::asn1::ObjectIdentifier;
use mailparse::{ParsedMail, parse_mail};
use openssl::cms::CmsContentInfo;
use openssl::pkey::PKey;
use openssl::x509::X509;
use serde_json::{Value, json};
use std::fs::read;

const ENVELOPED_DATA: &str = "1.2.840.113549.1.7.3";

/// The fields of a line in `received.jsonl`; those that do not apply are null.
pub fn at(body: &[u8], side: &Side) -> Value {
    let mut seen = json!({ "signed": false, "encrypted": false, "compressed": false, "cipher": null,
        "key_transport": null, "digest": null, "signature": null, "look_error": null });
    if let Err(error) = enveloped(body, side, &mut seen) {
        seen["look_error"] = error.to_string().into();
    }
    seen
}

fn enveloped(body: &[u8], side: &Side, seen: &mut Value) -> Result<(), Failure> {
    let Ok(message) = CmsContentInfo::from_der(body) else {
        return entity(&parse_mail(body)?, seen);
    };
    seen["encrypted"] = true.into();
    // Out of BER, which the crate does not read.
    let info = ContentInfo::from_der(&message.to_der()?)?;
    if info.content_type.to_string() != ENVELOPED_DATA {
        return Err(format!("content type {}", info.content_type).into());
    }
    let data: EnvelopedData = info.content.decode_as()?;
    seen["cipher"] = said(data.encrypted_content.content_enc_alg.oid);
    for recipient in data.recip_infos.0.iter() {
        if let RecipientInfo::Ktri(one) = recipient {
            seen["key_transport"] = said(one.key_enc_alg.oid);
        }
    }
    let key = PKey::private_key_from_pem(&read(&side.decrypt_key)?)?;
    let certificate = X509::from_pem(&read(&side.decrypt_certificate)?)?;
    entity(&parse_mail(&message.decrypt(&key, &certificate)?)?, seen)
}

fn entity(mail: &ParsedMail, seen: &mut Value) -> Result<(), Failure> {
    match (mail.ctype.mimetype.as_str(), mail.subparts.as_slice()) {
        ("multipart/signed", [content, signature]) => {
            seen["signed"] = true.into();
            let info = ContentInfo::from_der(&signature.get_body_raw()?)?;
            let data: SignedData = info.content.decode_as()?;
            for signer in data.signer_infos.0.iter() {
                seen["digest"] = said(signer.digest_alg.oid);
                seen["signature"] = said(signer.signature_algorithm.oid);
            }
            entity(content, seen)
        }
        ("application/pkcs7-mime", _) => {
            let smime_type = mail.ctype.params.get("smime-type").map_or("", String::as_str);
            seen["compressed"] = (smime_type == "compressed-data").into();
            Ok(())
        }
        _ => Ok(()),
    }
}

/// An algorithm in the words of our options.
fn said(oid: ObjectIdentifier) -> Value {
    let oid = oid.to_string();
    let word = match oid.as_str() {
        "1.2.840.113549.3.7" => "3des",
        "2.16.840.1.101.3.4.1.2" => "aes128-cbc",
        "2.16.840.1.101.3.4.1.22" => "aes192-cbc",
        "2.16.840.1.101.3.4.1.42" => "aes256-cbc",
        "1.2.840.113549.1.1.7" => "oaep",
        "1.3.14.3.2.26" => "sha1",
        "2.16.840.1.101.3.4.2.1" => "sha256",
        "2.16.840.1.101.3.4.2.2" => "sha384",
        "2.16.840.1.101.3.4.2.3" => "sha512",
        // Of the content key and of the signature.
        "1.2.840.113549.1.1.1"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.113549.1.1.12"
        | "1.2.840.113549.1.1.13" => "pkcs1",
        "1.2.840.113549.1.1.10" => "pss",
        "1.2.840.10045.4.3.2" | "1.2.840.10045.4.3.3" | "1.2.840.10045.4.3.4" => "ecdsa",
        other => other,
    };
    word.into()
}
