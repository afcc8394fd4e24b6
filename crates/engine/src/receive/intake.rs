//! What listeners call: the engine's side of a reception.

use crate::context::Context;
use crate::crash;
use crate::receive::keys::{KeyHeld, ReceivingKeys};
use crate::receive::reception::OpenReception;
use crate::receive::reply::read_reply;
use async_trait::async_trait;
use model::{Receipt, Result};
use std::sync::Arc;
use store::IntakeBegun;
use transport::{Begin, Intake, Resolved};

/// The engine's interface for listeners.
pub(crate) struct EngineIntake {
    context: Arc<Context>,
    keys: Arc<ReceivingKeys>,
}

impl EngineIntake {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context, keys: Arc::default() }
    }
}

#[async_trait]
impl Intake for EngineIntake {
    async fn begin(&self, key: &str) -> Result<Begin> {
        let context = &self.context;
        let lease = context.lease.current();
        context.lease.may_act(lease.epoch)?;
        let Some(mut reception) = OpenReception::new(context, &self.keys, key, lease.clone()) else {
            return Ok(Begin::InProgress);
        };
        Ok(match context.store.intake_begin(&lease, key, context.now()).await? {
            IntakeBegun::New => {
                crash::point("intake.begun");
                reception.held = KeyHeld::Yes;
                Begin::New(Box::new(reception))
            }
            IntakeBegun::InProgress => {
                reception.held = KeyHeld::No;
                Begin::InProgress
            }
            IntakeBegun::Answered(reply) => {
                reception.held = KeyHeld::No;
                Begin::Answered(read_reply(reply)?)
            }
        })
    }

    async fn resolve(&self, correlation: &str, receipt: Receipt) -> Result<Resolved> {
        let context = &self.context;
        let node = &context.settings.node;
        let resolved = context.store.resolve(correlation, receipt, node, Vec::new(), context.now()).await?;
        Ok(match resolved {
            store::Resolved::Resolved { .. } => Resolved::Matched,
            store::Resolved::AlreadyResolved { .. } => Resolved::Already,
            store::Resolved::Unmatched => Resolved::Unmatched,
        })
    }
}
