//! Answers that wait for a payload: the connection of a message is kept open until a file for its sender is put into the answer
//! (`destination::answering`), or the time that was agreed is over.

mod places;

use super::Receiver;
use crate::agreement::partner_named;
use crate::reply::to_response;
use crate::request::RequestHead;
use http::Response;
use model::Result;
use net::http::Body;
use places::Places;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use transport::{AnswerState, Payload, StoredReply};

/// How often a waiting connection looks whether the payload is there.
const LOOK: Duration = Duration::from_millis(250);

/// Connections that wait at the same time, of all listeners of the process, a quarter of them for one partner. What comes beside
/// them is answered at once.
static WAITING: LazyLock<Places> = LazyLock::new(|| Places::new(256));

impl Receiver {
    /// The answer to a message: its reply, or with a payload where one was put into it.
    ///
    /// # Errors
    /// The database does not answer, or what it holds cannot be read: the sender gets no answer, and comes again.
    pub(super) async fn whole_answer(
        &self,
        head: &RequestHead,
        reply: StoredReply,
    ) -> Result<Response<Body>> {
        let definitions = self.services.directory.definitions();
        let partner = partner_named(&definitions, &head.from);
        let waits = partner.filter(|partner| partner.agreement.answer_within.is_some());
        let Some(partner) = waits else { return to_response(reply) };
        let key = head.key();
        let place = WAITING.take(&partner.name);
        loop {
            match self.intake.answer(&key, &reply).await? {
                AnswerState::Plain => return to_response(reply),
                AnswerState::Given { head, body } => return streamed(head, &body).await,
                AnswerState::Waiting(until) if place.is_some() && self.services.clock.now() < until => {
                    self.services.clock.sleep(LOOK).await;
                }
                AnswerState::Waiting(_) => match self.intake.close_answer(&key, &reply).await? {
                    // It came at the last moment.
                    AnswerState::Given { head, body } => return streamed(head, &body).await,
                    AnswerState::Plain | AnswerState::Waiting(_) => return to_response(reply),
                },
            }
        }
    }
}

/// An answer whose body is staged.
async fn streamed(head: StoredReply, body: &Arc<dyn Payload>) -> Result<Response<Body>> {
    let length = body.length();
    let reader = body.open(0..length).await?;
    let (parts, _) = to_response(head)?.into_parts();
    Ok(Response::from_parts(parts, Body::reader(reader, Some(length))))
}
