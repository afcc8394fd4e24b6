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
        let decrypts = lists_key(definitions, &identity, request);
        if usages.contains(&CertificateUsage::KeyEncipherment) && !decrypts {
            return Err(wrong(format!(
                "identity '{identity}' does not have this key in its list, so messages that the partner encrypts for it could not \
                 be read: add it there first, with `from` for the time at which it is to sign; or announce it with \
                 --usage digitalSignature"
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

/// Whether the identity's list has the key: it decrypts from then on, whenever it begins to sign.
fn lists_key(definitions: &Definitions, identity: &str, request: &AnnounceCertificate) -> bool {
    let side = definitions.identities.get(identity).and_then(|found| found.side(&request.transport));
    let is_it = |item: &Value| {
        let name = item.as_text().or_else(|| item.as_table().and_then(|table| table.text("name")));
        name == Some(request.key.as_str())
    };
    side.is_some_and(|side| side.list("keys").iter().any(is_it))
}

/// The serial number in decimal, as answers name it.
fn serial(pem: &str) -> Option<String> {
    let certificate = X509::from_pem(pem.as_bytes()).ok()?;
    Some(certificate.serial_number().to_bn().ok()?.to_dec_str().ok()?.to_string())
}
