//! `/transfers/{id}/evidence/{evidence}`: all that proves one message, as a file that is made while it is downloaded.

use crate::state::{AppState, path_id};
use crate::web::access::{Authorized, ExportEvidence};
use crate::web::page_error::PageError;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use control::{Caller, EvidencePackage};
use futures::stream;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use model::{Actor, ErrorKind, EvidenceId, TransferId};
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use store::EvidenceView;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Pieces that wait for a slow reader, at most.
const WAITING: usize = 4;
/// Bytes of a piece.
const PIECE: usize = 64 * 1024;

/// Where evidence is downloaded.
pub(crate) fn evidence_path(transfer: TransferId, kept: &EvidenceView) -> String {
    format!("/transfers/{transfer}/evidence/{}", kept.id)
}

/// `GET /transfers/{id}/evidence/{evidence}`
pub(crate) async fn package(
    auth: Authorized<ExportEvidence>,
    State(state): State<Arc<AppState>>,
    Path((transfer, evidence)): Path<(String, String)>,
) -> Result<Response, PageError> {
    let none = || PageError::no_such("evidence");
    let transfer = path_id(&transfer).map(TransferId::new).ok_or_else(none)?;
    let evidence = path_id(&evidence).map(EvidenceId::new).ok_or_else(none)?;
    if !state.store.evidence_of(transfer).await?.iter().any(|kept| kept.id == evidence) {
        return Err(none());
    }
    let (Some(control), Some(payloads)) = (state.node.control(), state.node.payloads()) else {
        return Err(PageError::not_found());
    };
    let caller = Caller { actor: Actor::User(auth.user.name.clone()), role: auth.user.role };
    let request = control::ExportEvidence { evidence };
    let package = match control.export_evidence(&caller, &payloads, &request).await {
        Ok(package) => package,
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(none()),
        Err(error) => return Err(error.into()),
    };
    // Of ids and our own words alone.
    let disposition = format!("attachment; filename=\"{}\"", package.file_name());
    let headers = [(CONTENT_TYPE, "application/zip".to_owned()), (CONTENT_DISPOSITION, disposition)];
    Ok((headers, body(package)).into_response())
}

/// The package, written on a thread of its own as fast as it is read.
fn body(package: EvidencePackage) -> Body {
    let (pieces, received) = mpsc::channel(WAITING);
    let writing = tokio::task::spawn_blocking(move || {
        let mut out = BufWriter::with_capacity(PIECE, Pieces(pieces.clone()));
        let written = package.write(&mut out).and_then(|_| {
            out.flush().map_err(|error| model::Error::local_io("write an evidence package", error))
        });
        if let Err(error) = written {
            if pieces.is_closed() {
                // Whoever downloaded it has left.
                return;
            }
            tracing::warn!(error = %error.chain(), "a download of evidence was broken off");
            // The connection is closed before the end, so that the file is not mistaken for a whole one.
            drop(pieces.blocking_send(Err(io::Error::other(error))));
        }
    });
    let next = |(mut received, writing): Downloading| async move {
        if let Some(piece) = received.recv().await {
            return Some((piece, (received, writing)));
        }
        // Nor for whole what ends because its writer panicked.
        match writing?.await {
            Ok(()) => None,
            Err(error) => Some((Err(io::Error::other(error)), (received, None))),
        }
    };
    Body::from_stream(stream::unfold((received, Some(writing)), next))
}

/// The pieces of a package, and the task that writes them.
type Downloading = (mpsc::Receiver<io::Result<Bytes>>, Option<JoinHandle<()>>);

/// Hands pieces to the connection.
struct Pieces(mpsc::Sender<io::Result<Bytes>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the download was given up"))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
