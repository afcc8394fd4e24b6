//! `/transfers/{id}/mdn/…`: an MDN as it came or was sent, for download.

use crate::state::{AppState, path_id};
use crate::web::access::{Authorized, ViewTransfers};
use crate::web::page_error::PageError;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use model::{DeliveryId, TransferId};
use std::sync::Arc;
use store::WhichMdn;

/// Where an MDN of a transfer is downloaded.
pub(crate) fn mdn_path(transfer: TransferId, which: WhichMdn) -> String {
    match which.delivery() {
        Some(delivery) => format!("/transfers/{transfer}/mdn/{}/{delivery}", which.as_str()),
        None => format!("/transfers/{transfer}/mdn/{}", which.as_str()),
    }
}

/// `GET /transfers/{id}/mdn/sent`
pub(crate) async fn sent(
    _: Authorized<ViewTransfers>,
    State(state): State<Arc<AppState>>,
    Path((transfer, which)): Path<(String, String)>,
) -> Result<Response, PageError> {
    let which = Some(WhichMdn::Sent).filter(|sent| sent.as_str() == which);
    answer(&state, &transfer, which).await
}

/// `GET /transfers/{id}/mdn/accepted/{delivery}`, `…/not-accepted/{delivery}` and `…/contradicted/{delivery}`
pub(crate) async fn received(
    _: Authorized<ViewTransfers>,
    State(state): State<Arc<AppState>>,
    Path((transfer, which, delivery)): Path<(String, String, String)>,
) -> Result<Response, PageError> {
    let delivery = path_id(&delivery).map(DeliveryId::new);
    let which = delivery.and_then(|delivery| {
        [WhichMdn::Accepted(delivery), WhichMdn::NotAccepted(delivery), WhichMdn::Contradicted(delivery)]
            .into_iter()
            .find(|known| known.as_str() == which)
    });
    answer(&state, &transfer, which).await
}

/// The bytes, as a file: who wrote them is the other side, so that no browser is to show or run them.
async fn answer(state: &AppState, transfer: &str, which: Option<WhichMdn>) -> Result<Response, PageError> {
    let none = || PageError::no_such("MDN");
    let transfer = path_id(transfer).map(TransferId::new).ok_or_else(none)?;
    let which = which.ok_or_else(none)?;
    let entity = state.store.mdn(transfer, which).await?.ok_or_else(none)?;
    let of = which.delivery().map_or_else(|| transfer.to_string(), |delivery| delivery.to_string());
    // Of ids and our own words alone.
    let disposition = format!("attachment; filename=\"mdn-{}-{of}.eml\"", which.as_str());
    let headers = [(CONTENT_TYPE, "application/octet-stream".to_owned()), (CONTENT_DISPOSITION, disposition)];
    Ok((headers, entity).into_response())
}
