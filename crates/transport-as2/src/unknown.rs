//! The answer to a message whose sender or receiver is unknown here.

use crate::parties::UnknownParty;
use crate::reply::{ReplyContent, stored_reply};
use crate::request::RequestHead;
use http::StatusCode;
use model::{Error, ErrorKind, PeerText, Result, words};
use transport::{Services, StoredReply};

words! {
    /// How a message of unknown names is answered.
    UnknownAnswer {
        /// With an unsigned receipt where one was asked for; else as `AnswerWithReason`.
        Receipt = "receipt",
        /// With status 200 and nothing else.
        Answer = "answer",
        /// With status 200, and the reason as text.
        AnswerWithReason = "answer_with_reason",
        /// With status 422, and the reason as text.
        Refuse = "refuse",
        /// Not at all: the connection is closed before the body is read.
        Drop = "drop",
    }
}

impl UnknownAnswer {
    /// How a message with this head is answered. A sender that wants its receipt later reads no more of an answer than its
    /// status, and to nobody who is unknown goes anything.
    pub(crate) fn to(self, head: &RequestHead) -> Self {
        match self {
            Self::Receipt if head.mdn.wanted && head.mdn.deliver_to.is_some() => Self::Refuse,
            other => other,
        }
    }

    /// The answer.
    ///
    /// # Errors
    /// None is to be given; or it cannot be written.
    pub(crate) fn reply(
        self,
        services: &Services,
        head: &RequestHead,
        unknown: UnknownParty,
    ) -> Result<StoredReply> {
        let UnknownParty { disposition, reason } = unknown;
        match self {
            // Unsigned: we do not know with whom we speak, or as whom.
            Self::Receipt if head.mdn.wanted => {
                let answer = ReplyContent { disposition, mic: None, by_pss: false, text: reason };
                stored_reply(services, head, None, &answer)
            }
            Self::Receipt | Self::AnswerWithReason => Ok(text(StatusCode::OK, &reason)),
            Self::Answer => Ok(text(StatusCode::OK, "")),
            Self::Refuse => Ok(text(StatusCode::UNPROCESSABLE_ENTITY, &reason)),
            Self::Drop => Err(dropped(&reason)),
        }
    }
}

/// Nothing is answered, and the connection is closed.
pub(crate) fn dropped(reason: &str) -> Error {
    Error::permanent(ErrorKind::Rejected, "answer a message of unknown names")
        .with("reason", PeerText::from(reason))
        .advice("the listener says unknown = \"drop\": the connection is closed before the message is read")
}

fn text(status: StatusCode, text: &str) -> StoredReply {
    let body = if text.is_empty() { Vec::new() } else { format!("{text}\n").into_bytes() };
    let headers = vec![("Content-Type".to_owned(), "text/plain; charset=utf-8".to_owned())];
    StoredReply { status: status.as_u16(), headers, body }
}
