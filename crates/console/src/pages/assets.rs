//! `/assets/{name}`: style, scripts and pictures.

use crate::state::AppState;
use crate::web::page_error::PageError;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use std::sync::Arc;

/// `GET /assets/{name}`
pub(crate) async fn file(State(state): State<Arc<AppState>>, Path(name): Path<String>) -> Response {
    match state.assets.file(&name) {
        Some(file) => (
            [(CONTENT_TYPE, file.media_type), (CACHE_CONTROL, "public, max-age=31536000, immutable")],
            file.bytes.clone(),
        )
            .into_response(),
        None => PageError::not_found().into_response(),
    }
}
