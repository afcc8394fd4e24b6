//! Accepting and rejecting what a partner proposes. The partner is answered by a running gateway.

use super::is_in_force;
use crate::{Caller, Control};
use model::{CertificateProposal, Error, ErrorKind, Permission, ProposalState, Result};
use serde::{Deserialize, Serialize};
use store::{Act, DecideProposal};
use uuid::Uuid;

/// A decision about a proposal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DecideCertificates {
    /// The proposal's id.
    pub id: Uuid,
    /// Why, for the audit trail; the partner gets it with a rejection. At most 1,000 characters.
    pub reason: Option<String>,
}

/// The result of accepting.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AcceptedCertificates {
    /// The proposal as it was.
    pub proposal: CertificateProposal,
    /// The revision that has the certificates.
    pub revision: Option<i64>,
    /// What is to be written into the definitions, where they come from a directory: the partner is answered once they are in
    /// force.
    pub to_write: Option<String>,
}

impl Control {
    /// Accepts what a partner proposes: its list gets the certificates by a revision, or the answer says what to write into the
    /// directory that the partner comes from. The partner is answered once they are in force.
    ///
    /// # Errors
    /// The caller may not change definitions; `NotFound`; `Rejected` for one that was decided before; the definitions would
    /// have mistakes; the database failed.
    pub async fn accept_certificates(
        &self,
        caller: &Caller,
        request: &DecideCertificates,
    ) -> Result<AcceptedCertificates> {
        caller.require(Permission::ChangeDefinitions)?;
        let proposal = self.undecided(request.id).await?;
        let act = self.act(caller, request.reason.as_deref(), None)?;
        let definitions = self.usable_definitions().await?;
        let known = self.certificates_of(caller, &definitions).await?;
        let (revision, to_write) = self.put_in_force(caller, &known, &proposal).await?;
        let from = vec![ProposalState::Waiting, ProposalState::Agreed];
        self.decide(&proposal, from, ProposalState::Agreed, act)
            .await
            .map_err(|error| with_revision(error, revision))?;
        Ok(AcceptedCertificates { proposal, revision, to_write })
    }

    /// Rejects what a partner proposes. None of it is used, and the partner receives the reason.
    ///
    /// # Errors
    /// As [`Control::accept_certificates`]; `Rejected` also while certificates that were accepted are in force.
    pub async fn reject_certificates(
        &self,
        caller: &Caller,
        request: &DecideCertificates,
    ) -> Result<CertificateProposal> {
        caller.require(Permission::ChangeDefinitions)?;
        let proposal = self.undecided(request.id).await?;
        let act = self.act(caller, request.reason.as_deref(), None)?;
        if proposal.state == ProposalState::Agreed {
            let definitions = self.usable_definitions().await?;
            let known = self.certificates_of(caller, &definitions).await?;
            if is_in_force(&known, &proposal, act.at) {
                return Err(Error::permanent(ErrorKind::Rejected, OPERATION)
                    .with("proposal", proposal.id)
                    .advice("it was accepted, and its certificates are in force: take them out of the partner's list first"));
            }
        }
        let from = vec![ProposalState::Waiting, ProposalState::Agreed];
        self.decide(&proposal, from, ProposalState::Refused, act).await?;
        Ok(proposal)
    }

    /// A proposal that can be decided. One that was accepted, and whose partner is not answered, can still be rejected.
    async fn undecided(&self, id: Uuid) -> Result<CertificateProposal> {
        let found = self.0.store.certificate_proposal(id).await?.ok_or_else(|| {
            Error::permanent(ErrorKind::NotFound, OPERATION)
                .with("proposal", id)
                .advice("`waybill cert proposals` lists what partners propose")
        })?;
        match found.state {
            ProposalState::Waiting | ProposalState::Agreed => Ok(found),
            _ => Err(decided(&found)),
        }
    }

    pub(super) async fn decide(
        &self,
        proposal: &CertificateProposal,
        from: Vec<ProposalState>,
        to: ProposalState,
        act: Act,
    ) -> Result<()> {
        let decide = DecideProposal { id: proposal.id, from, to, act, response: None };
        match self.0.store.decide_certificate_proposal(decide).await? {
            true => Ok(()),
            false => Err(decided(proposal)),
        }
    }
}

/// The error of a decision that came too late, where a revision was made for it already.
pub(super) fn with_revision(error: Error, revision: Option<i64>) -> Error {
    match revision {
        Some(revision) if error.kind() == ErrorKind::Rejected => error.with("revision", revision).advice(
            "it was decided otherwise at the same time, and this revision has its certificates: if they were rejected, take \
             them out of the partner's list",
        ),
        _ => error,
    }
}

/// The operation's name in errors.
const OPERATION: &str = "decide about certificates that a partner proposes";

fn decided(proposal: &CertificateProposal) -> Error {
    let error = Error::permanent(ErrorKind::Rejected, OPERATION).with("proposal", proposal.id);
    match proposal.state {
        ProposalState::Superseded => error.advice("the partner made it again: decide about the newer one"),
        ProposalState::Expired => {
            error.advice("no decision was made in time; the partner can propose the certificates again")
        }
        _ => error
            .with("decided by", proposal.decided_by.as_deref().unwrap_or("another person"))
            .advice("it was decided before; the partner can propose the certificates again"),
    }
}
