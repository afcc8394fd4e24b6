//! Why a page cannot be shown, and what to do.

use crate::web::format::capitalized;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use model::ErrorKind;

/// A page that says what went wrong and what to do. `error_page` renders it, as it
/// knows the request.
#[derive(Clone, Debug)]
pub(crate) struct PageError {
    pub(crate) status: StatusCode,
    pub(crate) title: &'static str,
    pub(crate) text: String,
    /// What to do.
    pub(crate) advice: String,
    /// For people who are logged in only.
    pub(crate) detail: Option<String>,
}

impl PageError {
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
            "Page not found",
            "There is no page at this address.",
            "Check the address, or start from the list of transfers.",
        )
    }

    /// There is no such transfer, connection or the like; it may have been deleted.
    pub(crate) fn no_such(what: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "Not found",
            format!("There is no {what} with this ID."),
            "It may have been deleted at the end of its retention time, or the link may be incomplete.",
        )
    }

    pub(crate) fn bad_request(text: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "Invalid request",
            text,
            "Go back, check what you entered, and send the form again.",
        )
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "Method not allowed",
            "This address does not accept this kind of request.",
            "Start from the list of transfers.",
        )
    }

    /// A request that changes something and did not come from this console.
    pub(crate) fn refused(text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Request refused", text, advice)
    }

    /// The user has not the permission.
    pub(crate) fn forbidden(text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Permission denied", text, advice)
    }
}

impl From<model::Error> for PageError {
    fn from(error: model::Error) -> Self {
        tracing::warn!(error = %error.chain(), "a page could not be shown");
        let away =
            matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::StorageFull);
        let mut page = if error.kind() == ErrorKind::Throttled {
            let advice = error.advised().unwrap_or("Try again in a few seconds.");
            Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "Too many requests",
                "Waybill is handling too many requests at the moment. Transfers are not affected.",
                sentence(advice),
            )
        } else if away {
            Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "The database does not answer",
                "Waybill cannot reach its database at the moment. No file is lost: transfers continue when the database \
                 is back.",
                "Try again in a moment. If the problem lasts, check that the database is running and that this node \
                 can reach it. The log and /readyz show the cause.",
            )
        } else {
            Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "This page failed",
                "An error occurred in Waybill while it made this page. Transfers are not affected.",
                "Try again. If it fails again, see the log for the cause.",
            )
        };
        page.detail = Some(error.chain());
        page
    }
}

/// An error's advice, as a sentence of its own.
fn sentence(advice: &str) -> String {
    let end = if advice.ends_with('.') { "" } else { "." };
    format!("{}{end}", capitalized(advice))
}

impl From<askama::Error> for PageError {
    fn from(error: askama::Error) -> Self {
        tracing::error!(%error, "a page could not be rendered");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "This page failed",
            "An error occurred in Waybill while it made this page. Transfers are not affected.",
            "Try again. If it fails again, see the log for the cause.",
        )
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_requests_are_no_fault_of_the_database() {
        let full = model::Error::transient(ErrorKind::Throttled, "check a password").advice("try it later");
        let error = PageError::from(full);
        assert_eq!((error.title, error.advice.as_str()), ("Too many requests", "Try it later."));
        assert_eq!(error.status, StatusCode::SERVICE_UNAVAILABLE);
        let away = model::Error::transient(ErrorKind::Unreachable, "read a page");
        assert_eq!(PageError::from(away).title, "The database does not answer");
    }
}
