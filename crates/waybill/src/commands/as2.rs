//! `waybill as2 pack` and `unpack`: AS2 messages as files, in constant memory; `verify`: what proves one; `send` and `ping`:
//! files and test messages that the gateway delivers; `preset`: partners with known products.

use self::message_file::MessageFile;
use super::write;
use crate::cli::{Output, Pack, Unpack, VerifyEvidence};
use crate::process::ClockAndRandom;
use model::{Error, ErrorKind, RemotePath, Result};
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;
use serde_json::json;
use smime::{EncryptedContentKey, NameStyle};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use transport_as2::agreement::{
    Agreement, As2Id, Cipher, Compression, DigestName, KeyTransport, MdnRequest, Order, RsaSignature,
    SendSecurity, SignatureForm,
};
use transport_as2::outgoing::{Envelope, MadeOnce, MessageSeed, OwnKey, build, cipher, key_transport};

mod follow;
mod message_file;
mod on_the_wire;
mod payloads;
mod ping;
mod preset;
mod progress;
mod send;
mod stage;
mod unpack;
mod verify;

pub(crate) use ping::ping;
pub(crate) use preset::preset;
pub(crate) use send::send;

/// Bytes read and written at once.
const CHUNK: usize = 256 * 1024;

pub(crate) async fn pack(pack: Pack) -> Result<ExitCode> {
    blocking(move || pack_file(&pack)).await
}

pub(crate) async fn unpack(unpack: Unpack) -> Result<ExitCode> {
    blocking(move || unpack::unpack_file(&unpack)).await
}

pub(crate) async fn verify(wanted: VerifyEvidence, output: Output) -> Result<ExitCode> {
    blocking(move || verify::verify_file(&wanted, output)).await
}

async fn blocking(work: impl FnOnce() -> Result<ExitCode> + Send + 'static) -> Result<ExitCode> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::permanent(ErrorKind::Internal, "run the command").caused_by(error))?
}

fn pack_file(pack: &Pack) -> Result<ExitCode> {
    let wrong = |key: &'static str, reason: String| {
        Error::permanent(ErrorKind::ConfigInvalid, "read an argument").with(key, reason)
    };
    let as2_id = |name: &str| As2Id::try_from(name.to_owned()).map_err(|reason| wrong("AS2 name", reason));
    let security = match (pack.sign_key.is_some(), !pack.encrypt_cert.is_empty()) {
        (true, true) => SendSecurity::SignedEncrypted,
        (true, false) => SendSecurity::Signed,
        (false, true) => SendSecurity::Encrypted,
        (false, false) => SendSecurity::None,
    };
    let agreement = Agreement {
        send_security: security,
        cipher: Cipher::parse(&pack.cipher).ok_or_else(|| wrong("cipher", one_of(Cipher::ALL)))?,
        digest: DigestName::parse(&pack.digest).ok_or_else(|| wrong("digest", one_of(DigestName::ALL)))?,
        compress: Compression::parse(&pack.compress)
            .ok_or_else(|| wrong("compress", one_of(Compression::ALL)))?,
        order: Order::parse(&pack.order).ok_or_else(|| wrong("order", one_of(Order::ALL)))?,
        signature_form: SignatureForm::parse(&pack.signature_form)
            .ok_or_else(|| wrong("signature-form", one_of(SignatureForm::ALL)))?,
        rsa_signature: RsaSignature::parse(&pack.rsa_signature)
            .ok_or_else(|| wrong("rsa-signature", one_of(RsaSignature::ALL)))?,
        key_transport: KeyTransport::parse(&pack.key_transport)
            .ok_or_else(|| wrong("key-transport", one_of(KeyTransport::ALL)))?,
        mdn: MdnRequest::parse(&pack.mdn).ok_or_else(|| wrong("mdn", one_of(MdnRequest::ALL)))?,
        ..Agreement::default()
    };
    let recipients: Vec<X509> =
        pack.encrypt_cert.iter().map(|path| certificate(path)).collect::<Result<_>>()?;
    let content_key = match recipients.as_slice() {
        [] => None,
        recipients => Some(
            EncryptedContentKey::generate(
                cipher(agreement.cipher),
                recipients,
                key_transport(agreement.key_transport),
            )
            .map_err(|error| message_error("encrypt for the partner", &error))?,
        ),
    };
    let own = match (&pack.sign_key, &pack.sign_cert) {
        (Some(key), Some(cert)) => Some(OwnKey { key: private_key(key)?, certificate: certificate(cert)? }),
        (Some(_), None) => return Err(wrong("sign-cert", "use it together with --sign-key".into())),
        _ => None,
    };
    let ambient = ClockAndRandom::default();
    let now = ambient.clock.now();
    let unique = ambient.random.uuid(now);
    let seed = MessageSeed {
        message_id: format!("<{unique}@waybill>"),
        boundary: format!("----waybill-{}", ambient.random.uuid(now).simple()),
        date: now,
        content_key,
    };
    let read_failed = |error| file_error("read the payload", &pack.file, error);
    let write_failed = |error| file_error("write the message", &pack.out, error);
    let file = File::open(&pack.file).map_err(|e| file_error("open the payload", &pack.file, e))?;
    let payload = file.metadata().map_err(read_failed)?;
    let length = payload.len();
    let name = RemotePath::from_bytes(std::os::unix::ffi::OsStrExt::as_bytes(pack.file.as_os_str()));
    let (from, to) = (as2_id(&pack.from)?, as2_id(&pack.to)?);
    let envelope = Envelope {
        from: &from,
        to: &to,
        agreement: &agreement,
        own: own.as_ref(),
        seed: &seed,
        made_once: MadeOnce::default(),
        media_type: &pack.media_type,
        file_name: &name,
    };
    let mut out = MessageFile::begin(&pack.out, &payload)?;
    let mut counted = build(&envelope, Box::new(file), length)?;
    let (mut message, body_length) = match counted.length() {
        Some(length) => (counted, length),
        None => {
            // Made twice, as its length stands before it; the second time with the same signature.
            let length_of_it = std::io::copy(&mut counted.body, &mut std::io::sink()).map_err(read_failed)?;
            let again = File::open(&pack.file).map_err(read_failed)?;
            (build(&envelope, Box::new(again), length)?, length_of_it)
        }
    };
    for (name, value) in &message.headers {
        write!(out, "{name}: {value}\r\n").map_err(write_failed)?;
    }
    write!(out, "Content-Length: {body_length}\r\n").map_err(write_failed)?;
    out.write_all(b"\r\n").map_err(write_failed)?;
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = message.body.read(&mut chunk).map_err(|error| match smime::Error::from(error) {
            smime::Error::Io(error) => read_failed(error),
            error => message_error("create the message", &error),
        })?;
        if count == 0 {
            break;
        }
        out.write_all(&chunk[..count]).map_err(write_failed)?;
    }
    let bytes = out.publish()?;
    let mic = message.mic.get();
    write::json(&json!({
        "message_id": seed.message_id,
        "mic": mic.map(smime::Mic::base64),
        "mic_algorithm": mic.map(|mic| mic.algorithm.name(NameStyle::Rfc5751)),
        "bytes": bytes,
    }))?;
    Ok(ExitCode::SUCCESS)
}

fn one_of<T: std::fmt::Display>(words: &[T]) -> String {
    let words: Vec<String> = words.iter().map(ToString::to_string).collect();
    format!("one of {}", words.join(", "))
}

fn private_key(path: &Path) -> Result<PKey<Private>> {
    let pem = std::fs::read(path).map_err(|e| file_error("read a private key", path, e))?;
    // A callback that gives nothing: OpenSSL would else ask for a passphrase on the terminal.
    PKey::private_key_from_pem_callback(&pem, |_| Ok(0))
        .map_err(|e| crypto_error("read a private key", path, e))
}

fn certificate(path: &Path) -> Result<X509> {
    let pem = std::fs::read(path).map_err(|e| file_error("read a certificate", path, e))?;
    X509::from_pem(&pem).map_err(|e| crypto_error("read a certificate", path, e))
}

fn file_error(what: &'static str, path: &Path, error: std::io::Error) -> Error {
    Error::local_io(what, error).with("path", path.display())
}

fn crypto_error(what: &'static str, path: &Path, error: openssl::error::ErrorStack) -> Error {
    Error::permanent(ErrorKind::ConfigInvalid, what)
        .with("path", PathBuf::from(path).display())
        .caused_by(error)
}

fn message_error(what: &'static str, error: &smime::Error) -> Error {
    Error::permanent(ErrorKind::Protocol, what).with("reason", error)
}
