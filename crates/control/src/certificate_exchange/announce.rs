//! Announcing a certificate of ours to a partner. A running gateway sends the request, and sends it again until the partner
//! answers or the time is over.

use crate::{Caller, ChooseEndpoint, Control};
use config::read_certificates;
use model::definition::Definitions;
use model::schema::Value;
use model::{
    AnnouncementState, CertificateAnnouncement, CertificateUsage, Error, ErrorKind, ExchangeRequest,
    Permission, Result, Timestamp,
};
use openssl::pkey::Id;
use openssl::x509::X509;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use store::NewAnnouncement;

/// How long the partner has for its answer, unless it is said.
const RESPOND_WITHIN: Duration = Duration::from_secs(14 * 86_400);

/// A certificate that is to be announced.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AnnounceCertificate {
    /// The transport.
    pub transport: String,
    /// The key whose certificate it is.
    pub key: String,
    /// The partner.
    pub partner: String,
    /// The endpoint that it goes to; needed where the partner has several.
    pub endpoint: Option<String>,
    /// What the certificate is for; empty for messages: to verify our signatures and to encrypt for us.
    pub usages: Vec<CertificateUsage>,
    /// Until when the partner is to answer; in 14 days unless it is said.
    pub respond_by: Option<Timestamp>,
    /// Where the partner is to send its answer; left out, where it sends its receipts.
    pub response_url: Option<String>,
}

/// The operation's name in errors.
const OPERATION: &str = "announce a certificate";

impl Control {
    /// Records that a certificate of ours is announced to a partner. Nothing changes in the use of our keys: that is a matter of
    /// the identity's list.
    ///
    /// # Errors
    /// The caller may not work on transfers; a name is not defined; the key has no certificate, or one that has expired;
    /// the partner could encrypt for it and the identity does not have it; messages to the partner are not signed; the database
    /// failed.
    pub async fn announce_certificate(
        &self,
        caller: &Caller,
        definitions: &Definitions,
        request: &AnnounceCertificate,
    ) -> Result<CertificateAnnouncement> {
        caller.require(Permission::OperateTransfers)?;
        let act = self.act(caller, None, None)?;
        let wrong = |advice: String| {
            Error::permanent(ErrorKind::ConfigInvalid, OPERATION)
                .with("key", &request.key)
                .with("partner", &request.partner)
                .advice(advice)
        };
        let to = ChooseEndpoint {
            transport: request.transport.clone(),
            partner: Some(request.partner.clone()),
            endpoint: request.endpoint.clone(),
            identity: None,
        };
        let to = self.choose_endpoint(caller, &to).await?;
        let identity = to.identity.ok_or_else(|| wrong("the endpoint has no identity".to_owned()))?;
        let key = definitions.keys.get(&request.key).ok_or_else(|| {
            let near = model::did_you_mean(&request.key, definitions.keys.keys().map(String::as_str));
            Error::permanent(ErrorKind::NotFound, OPERATION)
                .with("key", &request.key)
                .advice(format!("no key has this name{near}"))
        })?;
        let pem = key.certificate.as_deref().unwrap_or_default();
        let read = read_certificates(pem.as_bytes()).unwrap_or_default();
        let own = read.first().ok_or_else(|| wrong("the key has no certificate".to_owned()))?;
        if own.facts.not_after < act.at {
            return Err(wrong("its certificate has expired: make the next one".to_owned()));
        }
        let respond_by = request.respond_by.unwrap_or(act.at + RESPOND_WITHIN);
        if respond_by <= act.at {
            return Err(wrong(
                "the time for the answer is over: choose a later one (--respond-by)".to_owned(),
            ));
        }
        let format = self.0.catalogue.certificate_exchange(&request.transport).ok_or_else(|| {
            Error::permanent(ErrorKind::Unsupported, OPERATION).with("transport", &request.transport)
        })?;
        let url = request.response_url.clone().or_else(|| format.response_url(definitions, &request.partner));
        let response_url = url.ok_or_else(|| {
            wrong("the partner has to know where its answer goes: give the URL of our listener (--response-url)".to_owned())
        })?;
        let usages = match request.usages.is_empty() {
            true => vec![CertificateUsage::DigitalSignature, CertificateUsage::KeyEncipherment],
            false => request.usages.clone(),
        };
        // The partner may encrypt for it as soon as it has accepted it.
        let decrypts = decrypts(definitions, &identity, request, act.at) && is_encrypted_for(&own.pem);
        if usages.contains(&CertificateUsage::KeyEncipherment) && !decrypts {
            return Err(wrong(format!(
                "identity '{identity}' does not decrypt with this key, or nothing can be encrypted for one of its kind, so messages that the partner encrypts for it could not \
                 be read: add it to its list first, with `from` for the time at which it is to sign, without `uses` or with \
                 \"decrypt\" among them, and without an `until` that is over; or announce it with --usage digitalSignature"
            )));
        }
        let id = (self.0.ids)();
        let request_id = id.simple().to_string();
        let content = format.request(
            definitions,
            &ExchangeRequest {
                id: &request_id,
                partner: &request.partner,
                identity: &identity,
                now: act.at,
                pem,
                usages: &usages,
                respond_by,
                response_url: &response_url,
            },
        )?;
        let announcement = CertificateAnnouncement {
            id,
            key: request.key.clone(),
            transport: request.transport.clone(),
            partner: request.partner.clone(),
            identity,
            endpoint: to.endpoint,
            request_id,
            usages,
            fingerprint: own.facts.sha256.clone(),
            serial: serial(&own.pem).ok_or_else(|| wrong("its certificate cannot be read".to_owned()))?,
            announced_by: caller.actor.to_text(),
            announced_at: act.at,
            respond_by,
            state: AnnouncementState::Waiting,
            reason: None,
            answered_at: None,
            sent: 0,
            next_at: Some(act.at),
            transfer: None,
        };
        let new = NewAnnouncement { announcement: announcement.clone(), content, act };
        self.0.store.announce_certificate(new).await?;
        Ok(announcement)
    }
}

/// Whether the identity's list has the key, to decrypt: it does from then on, whenever it begins to sign.
fn decrypts(
    definitions: &Definitions,
    identity: &str,
    request: &AnnounceCertificate,
    now: Timestamp,
) -> bool {
    let side = definitions.identities.get(identity).and_then(|found| found.side(&request.transport));
    let decrypts = |item: &Value| {
        let Some(table) = item.as_table() else { return item.as_text() == Some(request.key.as_str()) };
        let is_for_it = table.get("uses").is_none() || table.texts("uses").any(|word| word == "decrypt");
        table.text("name") == Some(request.key.as_str())
            && is_for_it
            && table.time("until").is_none_or(|until| now < until)
    };
    side.is_some_and(|side| side.list("keys").iter().any(decrypts))
}

/// Whether messages can be encrypted for the key of a certificate: RSA, or EC.
fn is_encrypted_for(pem: &str) -> bool {
    let key = X509::from_pem(pem.as_bytes()).and_then(|certificate| certificate.public_key());
    key.is_ok_and(|key| matches!(key.id(), Id::RSA | Id::EC))
}

/// The serial number in decimal, as answers name it.
fn serial(pem: &str) -> Option<String> {
    let certificate = X509::from_pem(pem.as_bytes()).ok()?;
    Some(certificate.serial_number().to_bn().ok()?.to_dec_str().ok()?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::definition::Identity;
    use model::schema::Values;
    use std::sync::Arc;

    #[test]
    fn a_key_that_does_not_decrypt_is_not_announced_to_encrypt_for() {
        let at = |seconds| Timestamp::from_timestamp(seconds, 0).unwrap();
        let text = |text: &str| Value::Text(text.to_owned());
        let entry = |uses: &[&str], until| {
            let mut table = Values::of([("name", text("next"))]);
            if !uses.is_empty() {
                table = table.with("uses", Value::List(uses.iter().map(|word| text(word)).collect()));
            }
            if let Some(until) = until {
                table = table.with("until", Value::Time(at(until)));
            }
            Value::Table(table)
        };
        let request = AnnounceCertificate {
            transport: "post".into(),
            key: "next".into(),
            partner: "globex".into(),
            endpoint: None,
            usages: Vec::new(),
            respond_by: None,
            response_url: None,
        };
        for (listed, expected) in [
            (text("next"), true),
            (text("other"), false),
            (entry(&[], None), true),
            (entry(&["decrypt", "sign"], None), true),
            (entry(&["sign"], None), false),
            (entry(&[], Some(11)), true),
            (entry(&[], Some(10)), false),
        ] {
            let side = Values::of([("keys", Value::List(vec![listed.clone()]))]);
            let sides = [("post".to_owned(), side)].into();
            let acme = Identity { name: "acme".into(), title: None, sides };
            let mut definitions = Definitions::default();
            definitions.identities.insert("acme".into(), Arc::new(acme));
            assert_eq!(decrypts(&definitions, "acme", &request, at(10)), expected, "{listed:?}");
        }
        assert!(!decrypts(&Definitions::default(), "acme", &request, at(10)));
    }
}
