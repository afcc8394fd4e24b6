//! `waybill transfer retry|hold|release|cancel|resubmit`: transfers by their ids, or all that a filter means.

use super::super::ask::is_meant;
use super::super::operation::beside;
use super::super::{FOUND_WRONG, write};
use super::filter_as_given;
use crate::cli::{ActOnTransfers, Output};
use crate::process::ClockAndRandom;
use config::Settings;
use control::{
    BulkRequest, Caller, Control, CountRequest, KeptRevision, RefusedTransfer, ResubmitRequest,
    RetriedDelivery, TransferAnswer, TransferRequest,
};
use model::{Error, ErrorKind, Result, TransferAction, TransferId};
use serde_json::{Value, json};
use std::io::IsTerminal as _;
use std::process::ExitCode;
use store::TransferFilter;
use uuid::Uuid;

pub(crate) async fn act(
    settings: &Settings,
    action: TransferAction,
    wanted: ActOnTransfers,
    request: Option<Uuid>,
    output: Output,
) -> Result<ExitCode> {
    let ambient = ClockAndRandom::default();
    let filter = filter_as_given(&wanted.which);
    let by_filter = !wanted.which.is_empty();
    if by_filter != wanted.ids.is_empty() {
        return Err(Error::permanent(ErrorKind::ConfigInvalid, "choose transfers").advice(
            "name transfers by their ids, or say by options which are meant, such as --state failed --flow orders; not both",
        ));
    }
    // A list may show one day of them; an action that silently left the others out would seem to be done to all.
    if filter.searches() && filter.from.is_none() {
        return Err(Error::permanent(ErrorKind::ConfigInvalid, "choose transfers").with("action", action).advice(
            "with --endpoint, --file or --mask, say from when on with --from, such as --from 2027-01-31; for all \
             transfers, --from 1970-01-01",
        ));
    }
    let act = Act {
        action,
        reason: wanted.reason,
        request: request.unwrap_or_else(|| ambient.random.uuid(ambient.clock.now())),
        asks: !wanted.yes,
        output,
    };
    let refused = beside(settings, |control, caller| async move {
        let mut results = Results::new(act.request, act.output);
        let done = if wanted.ids.is_empty() {
            act.all(&control, &caller, &filter, &mut results).await
        } else {
            act.each(&control, &caller, &wanted.ids, &mut results).await
        };
        match done {
            Ok(()) => results.end(act.action),
            // What was done until then is told before the error is.
            Err(error) if results.begun => results.end(act.action).and(Err(error)),
            Err(error) => Err(error),
        }
    })
    .await?;
    Ok(if refused { ExitCode::from(FOUND_WRONG) } else { ExitCode::SUCCESS })
}

/// What is done, and how.
struct Act {
    action: TransferAction,
    reason: Option<String>,
    request: Uuid,
    asks: bool,
    output: Output,
}

impl Act {
    /// Does it to transfers by their ids.
    async fn each(
        &self,
        control: &Control,
        caller: &Caller,
        ids: &[TransferId],
        results: &mut Results,
    ) -> Result<()> {
        for id in ids {
            let request = TransferRequest { transfer: *id, reason: self.reason.clone() };
            let done = match self.action {
                TransferAction::Retry => control.retry_transfer(caller, &request).await,
                TransferAction::Hold => control.hold_transfer(caller, &request).await,
                TransferAction::Release => control.release_transfer(caller, &request).await,
                TransferAction::Cancel => control.cancel_transfer(caller, &request).await,
                TransferAction::Resubmit => {
                    let TransferRequest { transfer, reason } = request;
                    let request = ResubmitRequest { transfer, request: self.request, reason };
                    control.resubmit_transfer(caller, &request).await
                }
            };
            match done {
                Ok(answer) => results.done(&answer, true)?,
                // Of what has nothing to do with one transfer the others would say the same.
                Err(error) if error.retry() != model::Retry::Permanent => return Err(error),
                Err(error) => results.refused(&RefusedTransfer::new(*id, &error))?,
            }
        }
        Ok(())
    }

    /// Does it to all that a filter means, after saying how many these are.
    async fn all(
        &self,
        control: &Control,
        caller: &Caller,
        filter: &TransferFilter,
        results: &mut Results,
    ) -> Result<()> {
        let request = CountRequest { action: self.action, filter: filter.clone() };
        let counted = control.count_transfers(caller, &request).await?;
        let number = counted.transfers;
        write::note(format_args!("{}: {}", self.action, transfers(number)));
        if number == 0 || (self.asks && !self.is_wanted(number)?) {
            return Ok(());
        }
        if self.action == TransferAction::Resubmit {
            write::note(format_args!(
                "if this is interrupted, repeat it with --request {}: nothing is sent twice",
                self.request
            ));
        }
        let mut after = None;
        loop {
            let batch = BulkRequest {
                request: self.request,
                action: self.action,
                filter: counted.filter.clone(),
                reason: self.reason.clone(),
                after,
            };
            let answer = control.act_on_transfers(caller, &batch).await?;
            for done in &answer.done {
                results.done(done, false)?;
            }
            for refused in &answer.refused {
                results.refused(refused)?;
            }
            after = answer.next;
            if after.is_none() {
                return Ok(());
            }
            if std::io::stderr().is_terminal() {
                write::note(format_args!(
                    "{} of {number}",
                    results.changed + results.unchanged + results.refused
                ));
            }
        }
    }

    /// Asks the person at the terminal.
    fn is_wanted(&self, number: u64) -> Result<bool> {
        let question = format!("{} {}?", capital(self.action.as_str()), transfers(number));
        is_meant(question, "there is no terminal to ask at: add --yes. Nothing was changed")
    }
}

fn transfers(number: u64) -> String {
    if number == 1 { "1 transfer".to_owned() } else { format!("{number} transfers") }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Writes the results as they come: none is kept.
struct Results {
    output: Output,
    request: Uuid,
    begun: bool,
    changed: u64,
    unchanged: u64,
    refused: u64,
    /// Deliveries that were retried and do not go through the flow in force.
    kept: usize,
}

impl Results {
    const fn new(request: Uuid, output: Output) -> Self {
        Self { output, request, begun: false, changed: 0, unchanged: 0, refused: 0, kept: 0 }
    }

    fn begin(&mut self) -> Result<()> {
        if self.output == Output::Json && !self.begun {
            write::line(format_args!("{{\"request\": \"{}\", \"transfers\": [", self.request))?;
        }
        self.begun = true;
        Ok(())
    }

    fn element(&mut self, value: &Value) -> Result<()> {
        self.begin()?;
        let before = if self.changed + self.unchanged + self.refused == 0 { "" } else { "," };
        write::line(format_args!("{before}{value}"))
    }

    /// Writes an answer; for people only where each is to be `told`.
    fn done(&mut self, answer: &TransferAnswer, told: bool) -> Result<()> {
        match self.output {
            Output::Json => {
                let mut value = serde_json::to_value(answer).map_err(|error| {
                    Error::permanent(ErrorKind::Internal, "write the result").caused_by(error)
                })?;
                value["outcome"] = if answer.changed { "done" } else { "unchanged" }.into();
                self.element(&value)?;
            }
            Output::Text if told => {
                write::line(format_args!("{}: {}", answer.transfer, words(answer)))?;
                answer.retried.iter().try_for_each(kept_revision)?;
            }
            Output::Text => {}
        }
        self.kept += answer.retried.iter().filter(|one| one.kept.is_some()).count();
        *if answer.changed { &mut self.changed } else { &mut self.unchanged } += 1;
        Ok(())
    }

    fn refused(&mut self, refused: &RefusedTransfer) -> Result<()> {
        match self.output {
            Output::Json => self.element(&json!({
                "transfer": refused.transfer, "outcome": "refused", "kind": refused.kind, "message": refused.message,
            }))?,
            Output::Text => write::note(format_args!("waybill: {}", refused.message)),
        }
        self.refused += 1;
        Ok(())
    }

    /// Whether one or more were refused.
    fn end(mut self, action: TransferAction) -> Result<bool> {
        self.begin()?;
        let (changed, unchanged, refused) = (self.changed, self.unchanged, self.refused);
        match self.output {
            Output::Json => write::line(format_args!(
                "], \"done\": {changed}, \"unchanged\": {unchanged}, \"refused\": {refused}}}"
            ))?,
            Output::Text if changed + unchanged + refused > 1 => {
                write::line(format_args!(
                    "{action}: done to {}, {unchanged} unchanged, {refused} refused",
                    transfers(changed)
                ))?;
                if self.kept > 0 {
                    write::line(format_args!(
                        "{} through the flow of an earlier revision: the flow is no longer defined, or no longer has \
                         this destination; --output json names them",
                        match self.kept {
                            1 => "1 delivery goes".to_owned(),
                            many => format!("{many} deliveries go"),
                        }
                    ))?;
                }
            }
            Output::Text => {}
        }
        Ok(refused > 0)
    }
}

/// Says of a delivery that was retried why it does not go through the flow in force.
fn kept_revision(retried: &RetriedDelivery) -> Result<()> {
    let Some(kept) = retried.kept else { return Ok(()) };
    let RetriedDelivery { destination, revision, .. } = retried;
    let advice = match kept {
        KeptRevision::FlowRemoved => "to change how it is sent, define the flow again and retry",
        KeptRevision::DestinationRemoved => {
            "when the transfer has ended, `waybill transfer resubmit` sends the file to all destinations that the \
             flow has now"
        }
    };
    write::line(format_args!(
        "  the delivery to {destination} goes through the flow of revision {revision} as before: {}; {advice}",
        kept.words()
    ))
}

/// The revision that all retried deliveries go through, where that is the one in force for each.
fn revision_in_force(answer: &TransferAnswer) -> Option<i64> {
    let first = answer.retried.first()?.revision;
    let all = answer.retried.iter().all(|one| one.kept.is_none() && one.revision == first);
    all.then_some(first)
}

/// The result as text.
fn words(answer: &TransferAnswer) -> String {
    let deliveries = match answer.deliveries {
        1 => "1 delivery".to_owned(),
        number => format!("{number} deliveries"),
    };
    let state = answer.state;
    let done = match answer.action {
        _ if !answer.changed && answer.child.is_none() => {
            format!("nothing to change; the transfer is {state}")
        }
        TransferAction::Retry => match revision_in_force(answer) {
            Some(revision) => format!(
                "{deliveries} sent again; the transfer is {state}; it goes through the flow of revision {revision}"
            ),
            None if answer.deliveries == 0 => {
                format!("the steps of its flow are tried again; the transfer is {state}")
            }
            None => format!("{deliveries} sent again; the transfer is {state}"),
        },
        TransferAction::Hold => "held".to_owned(),
        TransferAction::Release => format!("released; the transfer is {state}"),
        TransferAction::Cancel => format!("{deliveries} cancelled; the transfer is {state}"),
        TransferAction::Resubmit => match answer.child {
            Some(child) if answer.changed => format!("resubmitted as transfer {child}"),
            Some(child) => format!("was resubmitted by this request before, as transfer {child}"),
            None => "resubmitted".to_owned(),
        },
    };
    match answer.sending {
        0 => done,
        1 => format!("{done}; 1 delivery is being sent now and ends as it will"),
        number => format!("{done}; {number} deliveries are being sent now and end as they will"),
    }
}
