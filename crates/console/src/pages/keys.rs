//! `/keys`: the named keys of this node's definitions, with their public halves as partners' servers want them.

use crate::state::AppState;
use crate::web::access::{Authorized, ViewDefinitions};
use crate::web::layout::{Layout, Section};
use crate::web::page_error::PageError;
use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use control::KeyDetail;
use model::{Error, ErrorKind};
use std::sync::Arc;

#[derive(Template)]
#[template(path = "keys.html")]
struct KeysPage {
    layout: Layout,
    keys: Vec<Key>,
}

struct Key {
    name: String,
    problem: Option<String>,
    public: Option<Public>,
}

struct Public {
    algorithm: String,
    fingerprint: String,
    authorized_keys: String,
    known_hosts: String,
}

impl From<KeyDetail> for Key {
    fn from(detail: KeyDetail) -> Self {
        let KeyDetail { name, public, problem, .. } = detail;
        let public = public.map(|public| Public {
            authorized_keys: public.authorized_keys_line(&name),
            known_hosts: public.known_hosts_line("HOST"),
            algorithm: public.algorithm,
            fingerprint: public.fingerprint,
        });
        Self { name, problem, public }
    }
}

/// `GET /keys`
pub(crate) async fn page(
    auth: Authorized<ViewDefinitions>,
    State(state): State<Arc<AppState>>,
) -> Result<Response, PageError> {
    let node = Arc::clone(&state.node);
    let keys = tokio::task::spawn_blocking(move || node.keys())
        .await
        .map_err(|e| Error::transient(ErrorKind::Internal, "read the keys").caused_by(e))?;
    let page =
        KeysPage { layout: auth.layout(Section::Keys), keys: keys.into_iter().map(Key::from).collect() };
    Ok(Html(page.render()?).into_response())
}
