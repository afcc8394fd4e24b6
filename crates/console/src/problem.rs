//! What a person is told when a page cannot be shown.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use model::ErrorKind;

/// A page that says what went wrong and what to do. Rendered by [`crate::frame::dress`], which knows
/// the request.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) title: &'static str,
    pub(crate) text: String,
    /// What to do.
    pub(crate) advice: String,
    /// For people who are logged in only.
    pub(crate) detail: Option<String>,
}

impl Problem {
    pub(crate) fn new(
        status: StatusCode,
        title: &'static str,
        text: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { status, title, text: text.into(), advice: advice.into(), detail: None }
    }

    pub(crate) fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "Nothing here",
            "There is no page at this address.",
            "Check the address, or start from the list of transfers.",
        )
    }

    /// No such transfer, connection or the like; it may have been.
    pub(crate) fn no_such(what: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "Not on record",
            format!("Waybill knows no {what} with this id."),
            "It may have been removed at the end of its retention, or the link may have been cut short.",
        )
    }

    pub(crate) fn bad_request(text: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "That could not be read",
            text,
            "Go back, change what was entered, and send it again.",
        )
    }

    pub(crate) fn forbidden(text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Not allowed", text, advice)
    }
}

impl From<model::Error> for Problem {
    fn from(error: model::Error) -> Self {
        tracing::warn!(error = %error.chain(), "a page could not be shown");
        let away = matches!(
            error.kind(),
            ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::Throttled | ErrorKind::StorageFull
        );
        let mut problem = if away {
            Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "The database does not answer",
                "Pages are read from the database, and it cannot be reached at the moment. Nothing is lost: \
                 what arrives now waits, and goes on by itself once the database is back.",
                "Try again in a moment. If it stays away, see that the database runs and that this node \
                 reaches it; the log and /readyz name the cause.",
            )
        } else {
            Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "This page failed",
                "Something in Waybill went wrong while this page was made. Transfers are not touched by it.",
                "Try again. If it fails again, the log tells the cause.",
            )
        };
        problem.detail = Some(error.chain());
        problem
    }
}

impl From<askama::Error> for Problem {
    fn from(error: askama::Error) -> Self {
        tracing::error!(%error, "a page could not be rendered");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "This page failed",
            "Something in Waybill went wrong while this page was made. Transfers are not touched by it.",
            "Try again. If it fails again, the log tells the cause.",
        )
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
