//! Sending the payload of a transfer that has ended once more, as a transfer of its own.

use super::TransferAnswer;
use crate::{Caller, Control};
use model::definition::Definitions;
use model::schema::Section;
use model::{Error, ErrorKind, Result, Transfer, TransferAction, TransferId, TransferKind, TransferState};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use store::{Act, NewTransfer, Resubmitted, child_id};
use uuid::Uuid;

/// The keys of the metadata that flows add, by flow and revision.
type FlowKeys = BTreeMap<(String, i64), BTreeSet<String>>;

/// A transfer to be resubmitted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResubmitRequest {
    /// The transfer, which has ended.
    pub transfer: TransferId,
    /// From the caller: the same request, repeated, makes no second transfer.
    pub request: Uuid,
    /// Why, for the audit trail; at most 1,000 characters.
    #[serde(default)]
    pub reason: Option<String>,
}

impl Control {
    /// Sends the payload of a transfer that has ended, also of a completed one, once more: as a new transfer through the
    /// same flow, to the destinations that the flow has now, whose parent is the old one. File names are made of what was
    /// received then, as the flow says now. An AS2 message gets a new Message-ID, so that the partner does not take it for a
    /// repetition.
    ///
    /// # Errors
    /// The caller may not work on transfers; there is no such transfer; it has not ended, or is a receipt or a reply; its
    /// payload was removed at the end of its retention; its flow is no longer defined, or the definitions cannot be used on
    /// this machine; the database failed.
    pub async fn resubmit_transfer(
        &self,
        caller: &Caller,
        request: &ResubmitRequest,
    ) -> Result<TransferAnswer> {
        let act = self.act(caller, request.reason.as_deref(), Some(request.request))?;
        let (revision, definitions) = self.definitions_in_force().await?;
        let in_force = (revision, &definitions);
        let mut answers = self.resubmit(&[request.transfer], request.request, &act, in_force).await?;
        let missing = || Error::permanent(ErrorKind::Internal, "resubmit a transfer");
        answers.pop().map_or_else(|| Err(missing()), |(_, answer)| answer)
    }

    /// Resubmits transfers in their order; each has its own answer.
    pub(super) async fn resubmit(
        &self,
        parents: &[TransferId],
        request: Uuid,
        act: &Act,
        in_force: (i64, &Definitions),
    ) -> Result<Vec<(TransferId, Result<TransferAnswer>)>> {
        let (mut children, mut refused) = (Vec::with_capacity(parents.len()), Vec::new());
        let mut states = Vec::with_capacity(parents.len());
        let mut keys = FlowKeys::new();
        for id in parents {
            let found = self.0.store.transfer(*id).await?;
            if let Some(parent) = &found {
                self.read_flow_keys(parent, &mut keys).await?;
            }
            let child = found
                .ok_or_else(|| Error::permanent(ErrorKind::NotFound, "find a transfer").with("transfer", id))
                .and_then(|parent| Ok((parent.state, self.child(&parent, request, act, (in_force, &keys))?)));
            match child {
                Ok((state, mut child)) => match self.0.store.attachments(*id).await {
                    Ok(attachments) => {
                        child.attachments = attachments;
                        states.push(state);
                        children.push(child);
                    }
                    // Of one whose attachments this version cannot read; the others go on.
                    Err(error) => refused.push((*id, Err(error))),
                },
                Err(error) => refused.push((*id, Err(error))),
            }
        }
        let made = self.0.store.resubmit(children, act).await?;
        let answer = |(Resubmitted { parent, child, made }, state): (Resubmitted, TransferState)| {
            let answer = made.map(|changed| TransferAnswer {
                transfer: parent,
                action: TransferAction::Resubmit,
                changed,
                state,
                deliveries: 0,
                sending: 0,
                child: Some(child),
                retried: Vec::new(),
            });
            (parent, answer)
        };
        Ok(made.into_iter().zip(states).map(answer).chain(refused).collect())
    }

    /// The revision in force and its definitions.
    pub(super) async fn definitions_in_force(&self) -> Result<(i64, Definitions)> {
        let current = self.0.store.current_definitions().await?;
        Ok((current.number, self.resolve(&current.definitions).await?))
    }

    /// Reads which metadata a transfer's flow added, as the transfer's revision has it.
    async fn read_flow_keys(&self, parent: &Transfer, keys: &mut FlowKeys) -> Result<()> {
        let of = (parent.flow.clone(), parent.revision);
        if keys.contains_key(&of) {
            return Ok(());
        }
        let store = &self.0.store;
        let flow = store.definition_at(parent.revision, Section::FLOW.as_str(), &parent.flow).await?;
        let table = flow.and_then(|flow| Some(flow.document.get("metadata")?.as_object()?.clone()));
        keys.insert(of, table.unwrap_or_default().into_iter().map(|(key, _)| key).collect());
        Ok(())
    }

    /// The transfer that sends a payload once more.
    fn child(
        &self,
        parent: &Transfer,
        request: Uuid,
        act: &Act,
        (in_force, keys): ((i64, &Definitions), &FlowKeys),
    ) -> Result<NewTransfer> {
        let refused = |kind| Error::permanent(kind, "resubmit a transfer").with("transfer", parent.id);
        match parent.kind {
            TransferKind::Payload => {}
            TransferKind::Receipt => {
                return Err(refused(ErrorKind::Rejected)
                    .advice("it is a receipt, which belongs to one message: retry it if it failed"));
            }
            TransferKind::Failure => {
                return Err(refused(ErrorKind::Rejected)
                    .advice("it is on a failure route: retry it if it failed, or resubmit the transfer that it came from"));
            }
            TransferKind::ByHand => {
                return Err(refused(ErrorKind::Rejected)
                    .advice("it was sent by hand, and no flow says where it goes: retry it if it failed, or send the file again"));
            }
            // One that a flow took.
            TransferKind::Reply
                if !matches!(parent.state, TransferState::Held | TransferState::Cancelled) => {}
            TransferKind::Reply => {
                return Err(refused(ErrorKind::Rejected)
                    .advice("it came as the answer to a delivery, and no flow says where it goes"));
            }
        }
        let (revision, definitions) = in_force;
        let flow = definitions.flows.get(&parent.flow).ok_or_else(|| {
            refused(ErrorKind::ConfigInvalid)
                .with("flow", &parent.flow)
                .advice("the flow is no longer defined: define it again, then resubmit")
        })?;
        let mut transfer = Transfer {
            id: child_id(request, parent.id),
            revision,
            offer: None,
            parent: Some(parent.id),
            state: TransferState::Staged,
            created_at: act.at,
            ..parent.clone()
        };
        // What the file came with stays; what its flow added then does not.
        if let Some(added) = keys.get(&(parent.flow.clone(), parent.revision)) {
            transfer.metadata.retain(|key, _| !added.contains(key));
        }
        engine::add_metadata(flow, &mut transfer);
        let deliveries = engine::new_deliveries(flow, &transfer, || (self.0.ids)());
        let failure_route = engine::failure_route(flow, revision, definitions);
        let (attachments, retain_for) = (Vec::new(), flow.retention);
        Ok(NewTransfer { transfer, retain_for, deliveries, attachments, failure_route })
    }
}
