//! Makes payloads by steps.

use crate::context::Context;
use crate::crash;
use crate::processing::streams::{StagedOutput, Stop, StoppableInput};
use crate::staged::{blocking, staged};
use model::definition::StepDefinition;
use model::{AuditEvent, Content, Error, EventKind, PayloadId, PayloadRecord, Result, Retry, Transfer};
use serde_json::{Map, Value};
use std::sync::Arc;
use steps::PayloadStep;
use store::MadePayload;
use transport::StagedPayload;

/// What steps came to.
#[derive(Clone)]
pub(crate) enum Made {
    /// The payload that the last one made; the received one where there is no step.
    Payload(PayloadId),
    /// They cannot process this content.
    Failed(Arc<Error>),
}

/// What a step made, or why it cannot process this content.
type MadeOrFailed = Result<PayloadRecord, Arc<Error>>;

/// What the steps of a transfer have made so far, so that what several deliveries need is made once.
pub(crate) struct Makes<'a> {
    context: &'a Context,
    transfer: &'a Transfer,
    /// By the steps from the received payload on.
    done: Vec<(Vec<StepDefinition>, MadeOrFailed)>,
    made: Vec<MadePayload>,
}

impl<'a> Makes<'a> {
    pub(crate) const fn new(context: &'a Context, transfer: &'a Transfer) -> Self {
        Self { context, transfer, done: Vec::new(), made: Vec::new() }
    }

    /// All that was made.
    pub(crate) fn into_made(self) -> Vec<MadePayload> {
        self.made
    }

    /// Passes the received payload through steps.
    ///
    /// # Errors
    /// An error that another attempt may not meet.
    pub(crate) async fn through(&mut self, steps: &[StepDefinition]) -> Result<Made> {
        let mut payload = self.transfer.payload.clone();
        for count in 1..=steps.len() {
            let so_far = &steps[..count];
            let known = self.done.iter().find(|(done, _)| done == so_far).map(|(_, result)| result.clone());
            let result = match known {
                Some(result) => result,
                None => self.add(so_far, payload).await?,
            };
            payload = match result {
                Ok(made) => made,
                Err(error) => return Ok(Made::Failed(error)),
            };
        }
        Ok(Made::Payload(payload.id))
    }

    /// Does the last of some steps.
    async fn add(&mut self, steps: &[StepDefinition], parent: PayloadRecord) -> Result<MadeOrFailed> {
        let Some(last) = steps.last() else { return Ok(Ok(parent)) };
        let result = match self.make(last, parent).await {
            Ok(made) => {
                let payload = made.payload.clone();
                self.made.push(made);
                Ok(payload)
            }
            Err(error) if error.retry() == Retry::Permanent => Err(Arc::new(error)),
            Err(error) => return Err(error),
        };
        self.done.push((steps.to_vec(), result.clone()));
        Ok(result)
    }

    async fn make(&self, definition: &StepDefinition, parent: PayloadRecord) -> Result<MadePayload> {
        let step = steps::step(definition)?;
        let made_by = step.describe();
        let media_type = parent.media_type.as_deref().map(|before| step.media_type(before));
        let (staged, details) = run(self.context, step, &parent).await?;
        let payload = PayloadRecord {
            id: staged.id,
            length: staged.length,
            content: Content::Staged(staged.sha256),
            media_type,
            file_name: parent.file_name.clone(),
            staged_at: self.context.now(),
        };
        let mut event: AuditEvent = self.context.event(EventKind::StepDone);
        event.detail.extend(details);
        Ok(MadePayload { payload, parent, made_by, event })
    }
}

/// Passes a staged payload through a step into a new one, which is durable when this returns.
async fn run(
    context: &Context,
    step: Box<dyn PayloadStep>,
    parent: &PayloadRecord,
) -> Result<(StagedPayload, Map<String, Value>)> {
    let _lease = context.services.budget.take(step.buffers()).await;
    let (staging, area) = (context.staging.clone(), Arc::clone(&context.services.staging));
    let read = staged(parent)?;
    // The thread ends soon after this future is dropped.
    let (_stop, stopped) = Stop::new();
    blocking("do a step of a flow", move || {
        let mut input = StoppableInput { file: staging.read_verified(&read)?, stopped };
        let mut output = StagedOutput(area.begin()?);
        let details = step.run(&mut input, &mut output)?;
        crash::point("steps.written");
        let staged = output.0.commit()?;
        crash::point("steps.committed");
        Ok((staged, details))
    })
    .await
}
