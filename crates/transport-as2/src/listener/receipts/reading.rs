//! Reads the body of a receipt that a partner sends later.

use crate::admission::Admitted;
use crate::agreement::Partner;
use crate::coding::Coding;
use crate::listener::Receiver;
use crate::mdn::{self, LARGEST_MDN, ReadMdn, Trust};
use crate::reject::{CROWDED, try_again_later};
use crate::rejection::Rejection;
use crate::reply::plain_reply;
use crate::report_types::GISB_ERROR;
use crate::request::RequestHead;
use crate::streaming::{Arriving, BodyReader};
use bytes::Bytes;
use http::StatusCode;
use model::{Error, ErrorKind, Result, Timestamp};
use net::http::PeerInfo;
use openssl::x509::X509;
use pgp_mime::PartnerKey;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::SystemTime;
use transport::StoredReply;

/// A receipt whose body was read, or the answer where it could not be.
pub(super) enum Collected<'a> {
    Read(Bytes, Box<Result<ReadMdn>>, Admitted<'a>),
    Answer(StoredReply),
}

impl Receiver {
    /// Reads the body of a receipt, under the limits of messages.
    ///
    /// # Errors
    /// Its connection is gone, or we cannot read it now: the sender sends it again.
    pub(super) async fn read_receipt(
        &self,
        head: &RequestHead,
        (coding, now): (Coding, Timestamp),
        (partner, certificates, pgp): (&Partner, &[X509], &[Arc<PartnerKey>]),
        arriving: &mut Arriving,
        peer: &PeerInfo,
    ) -> Result<Collected<'_>> {
        let refusal = || self.refusal(peer, Some(head)).partner(&partner.name);
        if let Err(error) = arriving.begin().await {
            self.record(refusal().error(&error)).await?;
            return Err(error);
        }
        let waits = arriving.waits();
        let admitted = match self.admission.enter(peer.remote.ip(), &partner.name).await {
            Ok(admitted) => admitted,
            Err(error) => {
                self.record(refusal().error(&error)).await?;
                return match error.kind() {
                    ErrorKind::Throttled => Ok(Collected::Answer(try_again_later(CROWDED))),
                    _ => Err(error),
                };
            }
        };
        drop(waits);
        let (sender, reader) = BodyReader::channel();
        let (headers, certificates, pgp) = (head.headers.clone(), certificates.to_vec(), pgp.to_vec());
        let (accept_expired, legacy) = (partner.agreement.accept_expired, partner.agreement.legacy);
        let types = partner.agreement.form.reports.clone();
        let posted_as = head.form.as_ref().filter(|form| form.is_error).map(|_| GISB_ERROR);
        let blocking = tokio::task::spawn_blocking(move || {
            let mut body = Vec::new();
            coding.decoder(reader, LARGEST_MDN as u64).read_to_end(&mut body)?;
            let now = SystemTime::from(now);
            let trust = Trust { certificates: &certificates, pgp: &pgp, now, accept_expired, legacy };
            let read = mdn::read_of_types(&headers, &body, trust, &types, posted_as);
            Ok::<_, io::Error>((Bytes::from(body), read))
        });
        let pump = arriving.pump(sender, LARGEST_MDN as u64, || self.admission.is_crowded());
        let (read, ()) = tokio::join!(blocking, pump);
        let read =
            read.map_err(|error| Error::transient(ErrorKind::Internal, "read a receipt").caused_by(error))?;
        match read {
            Ok((body, read)) => Ok(Collected::Read(body, Box::new(read), admitted)),
            Err(error) => match broken(error) {
                Broken::Content(reason) => {
                    self.record(refusal().peer_detail("reason", &reason).detail("status", 400)).await?;
                    Ok(Collected::Answer(plain_reply(StatusCode::BAD_REQUEST, &reason)))
                }
                Broken::Connection(error) => {
                    self.record(refusal().error(&error)).await?;
                    Err(error)
                }
            },
        }
    }
}

/// Why a receipt could not be read to its end.
enum Broken {
    /// A sentence for its sender.
    Content(String),
    Connection(Error),
}

fn broken(error: io::Error) -> Broken {
    let error = match error.downcast::<Rejection>() {
        Ok(rejection) => return Broken::Content(rejection.text()),
        Err(error) => error,
    };
    Broken::Connection(match error.downcast::<Error>() {
        Ok(own) => own,
        Err(error) => Error::transient(ErrorKind::Unreachable, "read a receipt").caused_by(error),
    })
}
