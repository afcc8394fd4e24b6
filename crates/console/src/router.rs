//! Which handler serves which path, and who may reach it.

use crate::pages::{
    assets, audit, certificates, connection, connections, evidence, flows, keys, known_hosts, login, mdn,
    overview, partners, setup, theme, transfers, waybill,
};
use crate::probes;
use crate::state::AppState;
use crate::web::page_error::PageError;
use crate::web::routes::{ConsoleRoute, Routes};
use crate::web::{error_page, security};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use model::Permission;
use std::sync::Arc;

/// Largest form taken, in bytes.
const LARGEST_FORM: usize = 16 * 1024;

/// Every path; each page's handler names the permission that it needs.
fn routes() -> Routes {
    Routes::default()
        .page("/", overview::page)
        .page("/flows", flows::page)
        .page("/partners", partners::page)
        .page("/partners/{name}", partners::one)
        .page("/partners/{name}/tests/{transfer}", partners::tested)
        .form("/partners/{name}/test", partners::test)
        .page("/transfers", transfers::page)
        .page("/transfers/{id}", waybill::page)
        .page("/transfers/{id}/mdn/{which}", mdn::sent)
        .page("/transfers/{id}/mdn/{which}/{delivery}", mdn::received)
        .page("/transfers/{id}/evidence/{evidence}", evidence::package)
        .page("/connections", connections::page)
        .page("/connections/{id}", connection::page)
        .page("/audit", audit::page)
        .page("/keys", keys::page)
        .page("/certificates", certificates::page)
        .form("/certificates/proposals/{id}/accept", certificates::accept)
        .form("/certificates/proposals/{id}/reject", certificates::reject)
        .page("/known-hosts", known_hosts::page)
        .page("/known-hosts/{id}", known_hosts::line)
        .form("/known-hosts/read", known_hosts::read)
        .form("/known-hosts/add", known_hosts::add)
        .form("/known-hosts/scan", known_hosts::scan)
        .form("/known-hosts/forget", known_hosts::forget)
        .form("/known-hosts/{id}/remove", known_hosts::remove)
        .public_get("/login", login::page)
        .public_post("/login", login::submit)
        .public_post("/logout", login::logout)
        .public_get("/setup/{token}", setup::page)
        .public_post("/setup/{token}", setup::submit)
        .public_post("/theme", theme::choose)
        .public_get("/assets/{name}", assets::file)
        .public_get("/healthz", probes::healthz)
        .public_get("/readyz", probes::readyz)
        .local_get("/metrics", Permission::ViewTransfers, probes::metrics)
}

/// Every path and who may reach it.
pub(crate) fn list() -> Vec<ConsoleRoute> {
    routes().into_parts().1
}

pub(crate) fn router(state: Arc<AppState>) -> Router {
    let (router, _) = routes().into_parts();
    router
        .fallback(async || PageError::not_found())
        .method_not_allowed_fallback(async || PageError::method_not_allowed())
        .layer(DefaultBodyLimit::max(LARGEST_FORM))
        .layer(from_fn_with_state(state.clone(), security::same_origin))
        .layer(from_fn_with_state(state.clone(), error_page::render))
        .layer(from_fn(security::headers))
        .with_state(state)
}
