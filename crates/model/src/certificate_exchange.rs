//! Certificate Exchange Messaging (draft-meadors-certificate-exchange-14): partners propose new certificates of theirs, and we
//! announce ours. A proposal changes nothing by itself: a person or a partner's policy accepts it.

use crate::connection::words;
use crate::definition::Definitions;
use crate::{Result, Timestamp, TransferId};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

words! {
    /// What a certificate is to be used for (section 3.1 of the draft).
    CertificateUsage {
        /// To verify signatures of its owner.
        DigitalSignature = "digitalSignature",
        /// To encrypt for its owner.
        KeyEncipherment = "keyEncipherment",
        /// Its owner's TLS server shows it.
        TlsServer = "tlsServer",
        /// Its owner shows it to TLS servers.
        TlsClient = "tlsClient",
    }
}

impl CertificateUsage {
    /// Whether it concerns messages. Certificates for TLS alone are trusted by endpoints, not by the partner's list.
    #[must_use]
    pub const fn is_of_messages(self) -> bool {
        matches!(self, Self::DigitalSignature | Self::KeyEncipherment)
    }
}

words! {
    /// What is done with a partner's proposals.
    ExchangePolicy {
        /// A person decides.
        Ask = "ask",
        /// They are accepted.
        Accept = "accept",
        /// They are rejected.
        Refuse = "refuse",
    }
}

words! {
    /// Where a proposal stands.
    ProposalState {
        /// It waits for a decision.
        Waiting = "waiting",
        /// It was accepted. The partner is answered once its certificates are in force.
        Agreed = "agreed",
        /// It was rejected. The partner is answered next.
        Refused = "refused",
        /// It was accepted and is in force. The partner is answered so, unless no endpoint leads to it.
        Accepted = "accepted",
        /// It was rejected. The partner is answered so, unless no endpoint leads to it.
        Rejected = "rejected",
        /// Nobody decided in time, or its certificates have expired.
        Expired = "expired",
        /// It was not decided when the partner proposed the same certificates again.
        Superseded = "superseded",
    }
}

impl ProposalState {
    /// Whether nothing is to be done any more, whether or not the partner was answered.
    #[must_use]
    pub const fn is_concluded(self) -> bool {
        matches!(self, Self::Accepted | Self::Rejected | Self::Expired | Self::Superseded)
    }
}

words! {
    /// Where an announcement of one of our certificates to a partner stands.
    AnnouncementState {
        /// The partner has not answered.
        Waiting = "waiting",
        /// The partner accepted it.
        Accepted = "accepted",
        /// The partner rejected it.
        Rejected = "rejected",
        /// The time in which the partner was to answer is over.
        Expired = "expired",
    }
}

/// How long a proposal can still be decided after the time by which the partner wanted its answer.
const STILL_DECIDED: TimeDelta = TimeDelta::days(7);

/// How long a proposal can be decided whose partner names no time.
const DECIDED_WITHIN: TimeDelta = TimeDelta::days(90);

/// A certificate that a partner proposes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProposedCertificate {
    /// What it is for.
    pub usages: Vec<CertificateUsage>,
    /// The certificate, PEM.
    pub pem: String,
    /// SHA-256 of its DER, in hexadecimal.
    pub fingerprint: String,
    /// Its subject.
    pub subject: String,
    /// Its issuer, as the partner wrote it: the answer repeats it.
    pub issuer: String,
    /// Its serial number in decimal.
    pub serial: String,
    /// The begin of its validity.
    pub not_before: Timestamp,
    /// The end of its validity.
    pub not_after: Timestamp,
    /// Until when the partner wants an answer.
    pub respond_by: Option<Timestamp>,
    /// Where the partner wants the answer; it goes to the partner's endpoint, wherever that is.
    pub response_url: Option<String>,
}

/// A request of a partner to accept new certificates.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CertificateProposal {
    /// Its id here.
    pub id: Uuid,
    /// The transport by which it came.
    pub transport: String,
    /// The partner.
    pub partner: String,
    /// The identity of ours that it was sent to.
    pub identity: String,
    /// The partner's id for it.
    pub request_id: String,
    /// The message that held it.
    pub message_id: String,
    /// The certificate of the partner, by its name here, that signed the message.
    pub signed_with: String,
    /// When it came.
    pub received_at: Timestamp,
    /// The partner's policy at that time.
    pub policy: ExchangePolicy,
    /// The certificates.
    pub certificates: Vec<ProposedCertificate>,
    /// Where it stands.
    pub state: ProposalState,
    /// Who decided.
    pub decided_by: Option<String>,
    /// When.
    pub decided_at: Option<Timestamp>,
    /// Why it was rejected.
    pub reason: Option<String>,
    /// The transfer of the answer.
    pub response: Option<TransferId>,
}

impl CertificateProposal {
    /// Until when the partner wants an answer: the earliest time that it names.
    #[must_use]
    pub fn respond_by(&self) -> Option<Timestamp> {
        self.certificates.iter().filter_map(|one| one.respond_by).min()
    }

    /// When it expires: undecided, [`STILL_DECIDED`] after the partner wanted its answer, or [`DECIDED_WITHIN`] after it came
    /// where the partner names no time; accepted and not in force, with the last of its certificates, as does any other at the
    /// latest. What was rejected does not expire: it is concluded next.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        let last = self.certificates.iter().map(|one| one.not_after).max();
        match self.state {
            ProposalState::Waiting => {
                let late = match self.respond_by() {
                    Some(until) => until.checked_add_signed(STILL_DECIDED),
                    None => self.received_at.checked_add_signed(DECIDED_WITHIN),
                };
                late.into_iter().chain(last).min()
            }
            ProposalState::Agreed => last,
            _ => None,
        }
    }

    /// Whether a request that came later proposes all of it: the same certificates, each for at least the same uses, from the
    /// same partner to the same identity.
    #[must_use]
    pub fn is_repeated_by(&self, later: &Self) -> bool {
        let has = |one: &ProposedCertificate| {
            let is_it = |other: &&ProposedCertificate| other.fingerprint == one.fingerprint;
            let of_later = || later.certificates.iter().filter(is_it).flat_map(|other| &other.usages);
            one.usages.iter().all(|usage| of_later().any(|other| other == usage))
        };
        self.transport == later.transport
            && self.partner == later.partner
            && self.identity == later.identity
            && self.certificates.iter().all(has)
    }
}

/// What a partner says of certificates that we announced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateAnswers {
    /// The partner.
    pub partner: String,
    /// The id of our request.
    pub request_id: String,
    /// The message that held it.
    pub message_id: String,
    /// The answers.
    pub answers: Vec<CertificateAnswer>,
}

/// What a partner says of one certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateAnswer {
    /// Its serial number in decimal; more than one where it can be read in more than one way.
    pub serials: Vec<String>,
    /// Whether it is accepted; `None` while the partner has not decided.
    pub accepted: Option<bool>,
    /// Why not.
    pub reason: Option<String>,
}

/// What a message about certificates says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CertificateExchange {
    /// New certificates of the partner.
    Proposal(CertificateProposal),
    /// What the partner says of ours.
    Answers(CertificateAnswers),
}

/// One of our certificates, announced to a partner.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CertificateAnnouncement {
    /// Its id here.
    pub id: Uuid,
    /// The key whose certificate it is.
    pub key: String,
    /// The transport by which it goes.
    pub transport: String,
    /// The partner.
    pub partner: String,
    /// The identity of ours that sends it.
    pub identity: String,
    /// The endpoint that it goes to.
    pub endpoint: String,
    /// Our id of the request, the same in each repetition.
    pub request_id: String,
    /// What the certificate is for.
    pub usages: Vec<CertificateUsage>,
    /// SHA-256 of its DER, in hexadecimal.
    pub fingerprint: String,
    /// Its serial number in decimal.
    pub serial: String,
    /// Who announced it.
    pub announced_by: String,
    /// When.
    pub announced_at: Timestamp,
    /// Until when the partner is to answer.
    pub respond_by: Timestamp,
    /// Where it stands.
    pub state: AnnouncementState,
    /// Why the partner rejected it.
    pub reason: Option<String>,
    /// When the partner answered.
    pub answered_at: Option<Timestamp>,
    /// How often the request was sent.
    pub sent: u32,
    /// When it is sent next, unless the partner answers.
    pub next_at: Option<Timestamp>,
    /// The transfer of the newest request.
    pub transfer: Option<TransferId>,
}

/// A message about certificates, ready to be sent as a file by its transport.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExchangeContent {
    /// Its media type, with parameters.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The name of the file.
    pub file_name: String,
    /// The Subject.
    pub subject: String,
}

/// A request of ours to accept a certificate.
#[derive(Clone, Debug)]
pub struct ExchangeRequest<'a> {
    /// Its id.
    pub id: &'a str,
    /// The partner that is asked.
    pub partner: &'a str,
    /// The identity that asks.
    pub identity: &'a str,
    /// The time.
    pub now: Timestamp,
    /// The certificate and those of its authorities, PEM.
    pub pem: &'a str,
    /// What it is for.
    pub usages: &'a [CertificateUsage],
    /// Until when an answer is wanted.
    pub respond_by: Timestamp,
    /// Where an answer is wanted.
    pub response_url: &'a str,
}

/// An answer of ours.
#[derive(Clone, Debug)]
pub struct ExchangeResponse<'a> {
    /// What it answers.
    pub proposal: &'a CertificateProposal,
    /// Whether the certificates are accepted.
    pub accepted: bool,
    /// Why not.
    pub reason: Option<&'a str>,
    /// The time.
    pub now: Timestamp,
}

/// How a transport writes messages about certificates.
pub trait CertificateExchangeFormat: Send + Sync {
    /// A request.
    ///
    /// # Errors
    /// The identity is not defined for this transport; messages to the partner are not signed; the certificate cannot be read.
    fn request(&self, definitions: &Definitions, request: &ExchangeRequest<'_>) -> Result<ExchangeContent>;

    /// A response.
    ///
    /// # Errors
    /// The identity is not defined for this transport; messages to the partner are not signed.
    fn response(&self, definitions: &Definitions, response: &ExchangeResponse<'_>)
    -> Result<ExchangeContent>;

    /// Where a partner can send its answer, where that follows from the definitions.
    fn response_url(&self, definitions: &Definitions, partner: &str) -> Option<String>;
}
