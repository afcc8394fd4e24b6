//! Which path is whose.

use crate::door::{first_start, login, session};
use crate::site::Site;
use crate::{
    assets, connections, events, flows, frame, guard, mdn, overview, probes, problem::Problem, transfers,
    waybill,
};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use http::StatusCode;
use std::sync::Arc;

/// Largest form taken, in bytes.
const LARGEST_FORM: usize = 16 * 1024;

pub(crate) fn router(site: Arc<Site>) -> Router {
    let pages = Router::new()
        .route("/", get(overview::page))
        .route("/flows", get(flows::page))
        .route("/transfers", get(transfers::page))
        .route("/transfers/{id}", get(waybill::page))
        .route("/transfers/{id}/mdn/{which}", get(mdn::sent))
        .route("/transfers/{id}/mdn/{which}/{delivery}", get(mdn::received))
        .route("/connections", get(connections::page))
        .route("/connections/{id}", get(connections::detail))
        .route("/audit", get(events::page))
        .route_layer(from_fn_with_state(site.clone(), session::require));
    Router::new()
        .merge(pages)
        .route("/login", get(login::page).post(login::submit))
        .route("/logout", post(login::logout))
        .route("/setup/{token}", get(first_start::page).post(first_start::submit))
        .route("/theme", post(frame::choose_theme))
        .route("/assets/{name}", get(assets::file))
        .route("/healthz", get(probes::healthz))
        .route("/readyz", get(probes::readyz))
        .route("/metrics", get(probes::metrics))
        .fallback(async || Problem::not_found())
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "Method not allowed",
                "This address does not take that kind of request.",
                "Start from the list of transfers.",
            )
        })
        .layer(DefaultBodyLimit::max(LARGEST_FORM))
        .layer(from_fn_with_state(site.clone(), guard::same_origin))
        .layer(from_fn_with_state(site.clone(), frame::dress))
        .layer(from_fn(guard::headers))
        .with_state(site)
}
