//! Certificates that partners propose, and ours that are announced to them (Certificate Exchange Messaging).
//!
//! A person accepts or rejects a proposal here; `carry_on` does what follows on a running gateway: it answers the partner once
//! the certificates are in force, decides by a partner's policy, and sends our announcements until they are answered.
//! Definitions that come from a directory are never changed: the answer waits until the directory has the certificates.

mod announce;
mod carry_on;
mod decide;
mod in_force;

pub use announce::AnnounceCertificate;
pub use decide::{AcceptedCertificates, DecideCertificates};

use crate::{Caller, CertificateList, CertificateUse, Control};
use in_force::ToWrite;
use model::definition::Definitions;
use model::schema::Section;
use model::{
    CertificateAnnouncement, CertificateProposal, CertificateUsage, Permission, ProposalState,
    ProposedCertificate, Result, Timestamp,
};
use serde::Serialize;

/// What partners propose, first what is not answered, and what is announced to them; of each the newest first.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct CertificateExchanges {
    /// What partners propose.
    pub proposals: Vec<ProposalDetail>,
    /// What is announced to them.
    pub announcements: Vec<CertificateAnnouncement>,
}

/// A proposal, and how it stands beside the definitions.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ProposalDetail {
    /// The proposal.
    #[serde(flatten)]
    pub proposal: CertificateProposal,
    /// Whether the partner's list has its certificates.
    pub in_force: bool,
    /// Whether it was decided and the partner could not be answered: no endpoint led to it.
    pub is_unanswered: bool,
    /// What to write into the definitions to accept it, where they come from a directory; with where to write it.
    pub to_write: Option<String>,
}

impl ProposalDetail {
    /// Whether a person is to do something: to decide, or to write what was accepted into the definitions.
    #[must_use]
    pub const fn wants_a_person(&self) -> bool {
        match self.proposal.state {
            ProposalState::Waiting => true,
            ProposalState::Agreed => !self.in_force,
            _ => false,
        }
    }
}

impl Control {
    /// The proposals of partners, those that are not answered first, and our announcements. `definitions` are those in force.
    ///
    /// # Errors
    /// The caller may not see definitions; the database failed.
    pub async fn certificate_exchanges(
        &self,
        caller: &Caller,
        definitions: &Definitions,
    ) -> Result<CertificateExchanges> {
        caller.require(Permission::ViewDefinitions)?;
        let proposals = self.0.store.certificate_proposals().await?;
        let announcements = self.0.store.certificate_announcements().await?;
        let proposals = self.proposal_details(caller, definitions, proposals).await?;
        Ok(CertificateExchanges { proposals, announcements })
    }

    /// The proposals that wait for a person, oldest first. `definitions` are those in force.
    ///
    /// # Errors
    /// As [`Control::certificate_exchanges`].
    pub async fn waiting_proposals(
        &self,
        caller: &Caller,
        definitions: &Definitions,
    ) -> Result<Vec<ProposalDetail>> {
        caller.require(Permission::ViewDefinitions)?;
        let open = self.0.store.open_certificate_proposals().await?;
        let mut found = self.proposal_details(caller, definitions, open).await?;
        found.retain(ProposalDetail::wants_a_person);
        Ok(found)
    }

    /// How proposals stand beside the definitions.
    async fn proposal_details(
        &self,
        caller: &Caller,
        definitions: &Definitions,
        proposals: Vec<CertificateProposal>,
    ) -> Result<Vec<ProposalDetail>> {
        if proposals.is_empty() {
            return Ok(Vec::new());
        }
        let list = self.certificates_of(caller, definitions).await?;
        let now = (self.0.now)();
        let stored = self.0.store.current_definitions().await?.definitions;
        let detail = |proposal: CertificateProposal| {
            let in_force = is_in_force(&list, &proposal, now);
            let is_open = matches!(proposal.state, ProposalState::Waiting | ProposalState::Agreed);
            let to_write = (is_open && !in_force)
                .then(|| ToWrite::of(&stored, &list, &proposal, now))
                .and_then(|found| found.ok().flatten())
                .map(|found| found.to_string());
            let is_unanswered = proposal.response.is_none()
                && matches!(proposal.state, ProposalState::Accepted | ProposalState::Rejected);
            ProposalDetail { proposal, in_force, is_unanswered, to_write }
        };
        Ok(proposals.into_iter().map(detail).collect())
    }
}

/// Whether a partner's list has all certificates for messages that it proposed, each for all that it is proposed for, and not
/// only until a time that is over. Those for TLS alone stand in no list.
fn is_in_force(list: &CertificateList, proposal: &CertificateProposal, now: Timestamp) -> bool {
    let mut wanted = proposal.certificates.iter().filter(|one| is_of_messages(one));
    wanted.all(|one| {
        let words = list_words(one);
        entries(list, proposal, one).any(|used| {
            used.until.is_none_or(|until| now < until)
                && (used.uses.is_empty()
                    || words.iter().all(|word| used.uses.iter().any(|known| known == word)))
        })
    })
}

/// Whether the partner's list has one of the certificates until a time that is over: its key may have been given up, so that a
/// person decides whether it is used again.
fn was_given_up(list: &CertificateList, proposal: &CertificateProposal, now: Timestamp) -> bool {
    proposal
        .certificates
        .iter()
        .any(|one| entries(list, proposal, one).any(|used| used.until.is_some_and(|until| until <= now)))
}

/// The entries of a partner's list that have a certificate that it proposed.
fn entries<'a>(
    list: &'a CertificateList,
    proposal: &CertificateProposal,
    one: &'a ProposedCertificate,
) -> impl Iterator<Item = &'a CertificateUse> + use<'a> {
    let definition = format!("{}.{}", Section::PARTNER.as_str(), proposal.partner);
    let field = format!("{}.certificates", proposal.transport);
    let known = list.certificates.iter().filter(move |known| {
        known.section == Section::CERTIFICATE.as_str()
            && known.position == 0
            && known.facts.sha256 == one.fingerprint
    });
    let used = known.flat_map(|known| known.used_by.iter());
    used.filter(move |used| used.definition == definition && used.field == field)
}

/// The words of a partner's list for what a certificate is proposed for.
fn list_words(one: &ProposedCertificate) -> Vec<&'static str> {
    let is_for = |usage: &CertificateUsage| one.usages.contains(usage);
    let words =
        [(CertificateUsage::KeyEncipherment, "encrypt"), (CertificateUsage::DigitalSignature, "verify")];
    words.into_iter().filter(|(usage, _)| is_for(usage)).map(|(_, word)| word).collect()
}

/// Whether a certificate is for messages, and not for TLS alone.
fn is_of_messages(one: &ProposedCertificate) -> bool {
    one.usages.iter().any(|usage| usage.is_of_messages())
}
