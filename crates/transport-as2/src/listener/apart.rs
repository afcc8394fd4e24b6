//! Messages of which a part is a receipt, or is protected by itself: taken apart once they were read. A receipt goes into the
//! record of its delivery, as one that comes alone; what is left is a message like any other.

use super::Receiver;
use crate::composite::{Around, Composite, CompositeReader, FoundPayload, FoundReceipt, Refused};
use crate::disposition::{Disposition, DispositionError};
use crate::file_names::unlike;
use crate::mdn::LARGEST_MDN;
use crate::parties::Parties;
use crate::receipt_form::{is_notification, is_protected, is_receipt};
use crate::receive::{ReadMessage, ReadPart, Unread};
use crate::rejection::Rejection;
use crate::reply::ReplyContent;
use crate::request::RequestHead;
use crate::staging_writer::{ReadAlone, ReadBack};
use model::{Error, ErrorKind, Result};
use net::http::PeerInfo;
use smime::{ContentType, Digest, Headers};
use std::io::Read;
use std::sync::Arc;
use std::time::SystemTime;
use transport::{Reception, StoredReply};

/// A message without its receipts.
pub(super) struct Apart {
    pub(super) message: ReadMessage,
    pub(super) receipts: Vec<FoundReceipt>,
}

impl Receiver {
    /// Takes the receipts of a message, then what else it holds.
    ///
    /// # Errors
    /// Nothing may be said: the sender comes again. A receipt that was taken then changes nothing.
    pub(super) async fn take_composite(
        &self,
        head: &RequestHead,
        parties: Parties,
        peer: &PeerInfo,
        message: ReadMessage,
        reception: Box<dyn Reception>,
    ) -> Result<StoredReply> {
        let Apart { message, receipts } = match self.take_apart(head, &parties, message).await? {
            Ok(apart) => apart,
            Err(Refused { disposition, text, cause }) => {
                let answer = ReplyContent { disposition, mic: None, by_pss: false, text };
                return self.refuse(head, &parties, peer, reception, answer, &cause).await;
            }
        };
        match self.take_receipts(head, peer, receipts).await? {
            // It is no message, and needs no key: each time that it comes it is judged anew.
            Some(reply) if message.parts.is_empty() => {
                drop(reception);
                Ok(reply)
            }
            _ => {
                let parties = parties.answering(&message.report);
                self.commit(head, &parties, peer, message, reception).await
            }
        }
    }

    /// Takes the receipts of a message; the answer to the first of them. One that was taken before changes nothing.
    ///
    /// # Errors
    /// Nothing may be said: the sender comes again.
    pub(super) async fn take_receipts(
        &self,
        head: &RequestHead,
        peer: &PeerInfo,
        receipts: Vec<FoundReceipt>,
    ) -> Result<Option<StoredReply>> {
        let mut answer = None;
        for receipt in receipts {
            let reply = self.take_found(head, peer, receipt).await?;
            answer.get_or_insert(reply);
        }
        Ok(answer)
    }

    /// Takes a message apart; the inner error is why a part of it is not taken.
    ///
    /// # Errors
    /// Ours: nothing may be said.
    pub(super) async fn take_apart(
        &self,
        head: &RequestHead,
        parties: &Parties,
        message: ReadMessage,
    ) -> Result<Result<Apart, Refused>> {
        let reader = CompositeReader {
            keys: parties.decryption_keys(),
            certificates: parties.pinned(),
            pgp: parties.pgp.clone(),
            now: SystemTime::from(self.services.clock.now()),
            agreement: parties.partner.agreement.clone(),
            digest: head.mdn.digests.first().copied().unwrap_or(Digest::Sha256),
            staging: Arc::clone(&self.services.staging),
            message_id: head.message_id.clone(),
            keeps_signed: false,
        };
        let done = tokio::task::spawn_blocking(move || apart(&reader, message)).await;
        done.map_err(|error| Error::transient(ErrorKind::Internal, "take a message apart").caused_by(error))?
    }
}

/// Takes a message apart. Blocks.
fn apart(reader: &CompositeReader, message: ReadMessage) -> Result<Result<Apart, Refused>> {
    let around = reader.around(&message.report, message.pgp.as_ref());
    let taken = parts_of(reader, message, &around)?;
    // No answer may tell that it could be decrypted.
    Ok(taken.map_err(|refused| match around.is_open_to_change {
        true => refused.undecipherable(),
        false => refused,
    }))
}

fn parts_of(
    reader: &CompositeReader,
    message: ReadMessage,
    around: &Around,
) -> Result<Result<Apart, Refused>> {
    let ReadMessage { report, pgp, parts, signed_content, .. } = message;
    let copied = match &signed_content {
        Some((copy, _)) => copy.bytes(LARGEST_MDN)?,
        None => None,
    };
    let mut found = Composite::default();
    let mut payloads: Vec<ReadPart> = Vec::new();
    for mut part in parts {
        let media = part.headers.content_type();
        let kind = media.as_ref().map(ContentType::essence).unwrap_or_default();
        if is_receipt(&part.headers) || is_notification(kind) {
            let mut body = Vec::new();
            let most = LARGEST_MDN as u64;
            let mut bytes = ReadBack::of(&*part.writer).take(most + 1);
            bytes.read_to_end(&mut body).map_err(crate::streaming::stream_error)?;
            if body.len() as u64 > most {
                return Ok(Err(refused(Rejection::TooLarge { most })));
            }
            let signed = (&report, pgp.as_ref(), copied.as_deref());
            match reader.receipt_within(&part.headers, body, around, signed) {
                Ok(receipt) => found.receipts.push(receipt),
                Err(error) => return Ok(Err(unreadable(&error))),
            }
        } else if is_protected(kind) {
            let before = (found.receipts.len(), found.payloads.len(), found.refused.len());
            let body = ReadAlone::of(&mut *part.writer);
            match reader.read_within(&part.headers, body, around, &mut found) {
                Ok(()) => {}
                Err(Unread::Message { .. }) if reader.is_for_another(kind, around) => {
                    found.receipts.truncate(before.0);
                    found.payloads.truncate(before.1);
                    found.refused.truncate(before.2);
                    payloads.push(part);
                }
                Err(Unread::Message { disposition, text, cause }) => {
                    return Ok(Err(Refused { disposition, text, cause }));
                }
                Err(Unread::Ours(error)) => return Err(error),
            }
        } else {
            payloads.push(part);
        }
    }
    if let Some(refused) = found.refused.into_iter().next() {
        return Ok(Err(refused));
    }
    for payload in found.payloads {
        let FoundPayload { writer, file_name, media_type, metadata, .. } = payload;
        let others: Vec<&str> = payloads.iter().map(|part| part.file_name.as_str()).collect();
        let file_name = unlike(file_name, &others);
        let headers = Headers::new();
        payloads.push(ReadPart { writer, file_name, media_type, metadata, headers, _place: None });
    }
    // Where nothing is around the parts, what protects the only payload is what there is to say of the message.
    let (report, pgp, signed_content) = match found.report {
        Some(own) if pgp.is_none() && report.layers.is_empty() && payloads.len() == 1 => {
            (own, found.pgp, None)
        }
        _ => (report, pgp, signed_content),
    };
    let message = ReadMessage { report, pgp, parts: payloads, is_composite: false, signed_content };
    Ok(Ok(Apart { message, receipts: found.receipts }))
}

fn refused(rejection: Rejection) -> Refused {
    Refused { disposition: rejection.disposition(), text: rejection.text(), cause: rejection.to_string() }
}

fn unreadable(error: &Error) -> Refused {
    Refused {
        disposition: Disposition::Error(DispositionError::UnexpectedProcessingError),
        text: "The receipt in the message cannot be read.".to_owned(),
        cause: error.chain(),
    }
}
