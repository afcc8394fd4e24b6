//! Messages that are posted as HTML forms: read up to where their message begins. From there on they are received as any other is.

use super::Receiver;
use crate::coding::Coding;
use crate::forms::{OpenedForm, Unopened, head, open};
use crate::names::new_message_id;
use crate::reject::EarlyRejection;
use crate::request::RequestHead;
use crate::streaming::Arriving;
use http::{HeaderMap, Response, StatusCode};
use model::Result;
use net::http::{Body, PeerInfo, Standby};

/// What became of the beginning of a form.
pub(super) enum FormBeginning {
    /// The head of its message, or what is wrong with it, and the message's bytes.
    Message(std::result::Result<Box<RequestHead>, String>, Body),
    /// It was refused.
    Answered(Response<Body>),
}

impl Receiver {
    /// Reads a form up to its message.
    ///
    /// # Errors
    /// The connection broke, which is on record; or that could not be recorded.
    pub(super) async fn begin_form(
        &self,
        headers: &HeaderMap,
        body: Body,
        standby: Option<&Standby>,
        peer: &PeerInfo,
    ) -> Result<FormBeginning> {
        let refuse = |status, reason: String| {
            let early = EarlyRejection::new(status, reason);
            // The rest of it is not read: its sender is not known.
            self.reject_early(None, early, Arriving::new(Body::empty(), false), peer)
        };
        if !matches!(Coding::of(headers), Ok(Coding::Identity)) {
            let reason = "A form under a Content-Encoding is not supported: send it without one.";
            let answer = refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason.to_owned()).await?;
            return Ok(FormBeginning::Answered(answer));
        }
        // Nothing but a few fields is held for it: its connection may go for another one.
        let waits = standby.map(Standby::waits);
        let opened = open(headers, body).await;
        drop(waits);
        match opened {
            Ok(form) => {
                let unique = || {
                    let now = self.services.clock.now();
                    new_message_id(self.services.random.uuid(now), "waybill")
                };
                let read = head(headers, &form, unique).map(Box::new);
                let OpenedForm { body, .. } = form;
                Ok(FormBeginning::Message(read, body))
            }
            Err(Unopened::Form(reason)) => {
                let reason = format!("This form is no message: {reason}.");
                Ok(FormBeginning::Answered(refuse(StatusCode::BAD_REQUEST, reason).await?))
            }
            Err(Unopened::Connection(error)) => {
                self.record(self.refusal(peer, None).error(&error)).await?;
                Err(error)
            }
        }
    }
}
