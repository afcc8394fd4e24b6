//! Recording a staged file that a person sends.

use super::ChosenEndpoint;
use super::test_message::TestMessage;
use crate::{Caller, Control};
use engine::{FileByHand, StagedPayloads, sent_by_hand};
use model::{
    ByHand, CHOSEN_SUBJECT, Content, DeliveryId, Error, ErrorKind, PayloadId, PayloadRecord, Permission,
    RemotePath, Result, Retry, Sha256, TransferId,
};
use serde::Serialize;
use serde_json::Map;
use uuid::Uuid;

/// Longest Subject, in bytes.
const LONGEST_SUBJECT: usize = 600;

/// Longest file name, in bytes.
const LONGEST_NAME: usize = 255;

/// Longest media type, in bytes.
const LONGEST_MEDIA_TYPE: usize = 255;

/// Times that a commit is repeated whose answer was lost.
const REPEATED: u32 = 5;

/// A staged file that is to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileToSend {
    /// The name that the partner gets.
    pub file_name: String,
    /// Its media type; left out, as the endpoint or the name says.
    pub media_type: Option<String>,
    /// The Subject of the message; left out, as was agreed with the partner.
    pub subject: Option<String>,
    /// Its bytes in staging, which nothing refers to yet.
    pub payload: PayloadId,
    /// Their number.
    pub length: u64,
    /// Their hash.
    pub sha256: Sha256,
    /// From the caller: the same request, repeated, makes no second transfer.
    pub request: Uuid,
    /// Why, for the audit trail; at most 1,000 characters.
    pub reason: Option<String>,
}

/// A file that is recorded to be sent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SentFile {
    /// Its transfer.
    pub transfer: TransferId,
    /// The endpoint that it goes to.
    pub endpoint: String,
    /// Its partner.
    pub partner: Option<String>,
    /// Whether this request recorded it: not when the same request did before.
    pub recorded: bool,
}

impl FileToSend {
    /// Checks what a person typed, before anything is staged.
    ///
    /// # Errors
    /// `ConfigInvalid`: a file name, media type or Subject that cannot be sent.
    pub fn check(file_name: &str, media_type: Option<&str>, subject: Option<&str>) -> Result<()> {
        let wrong = |key: &'static str, value: &str, advice: &'static str| {
            Err(Error::permanent(ErrorKind::ConfigInvalid, "send a file").with(key, value).advice(advice))
        };
        let is_name = !file_name.is_empty()
            && file_name.len() <= LONGEST_NAME
            && !matches!(file_name, "." | "..")
            && !file_name.contains('/')
            && !file_name.chars().any(char::is_control);
        if !is_name {
            return wrong(
                "file_name",
                file_name,
                "give a name of 1 to 255 bytes without slashes and control characters (--name)",
            );
        }
        if let Some(media_type) = media_type {
            let is_type = media_type.len() <= LONGEST_MEDIA_TYPE
                && media_type.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
                && media_type
                    .split_once('/')
                    .is_some_and(|(kind, rest)| !kind.trim().is_empty() && !rest.trim().is_empty());
            if !is_type {
                return wrong("media_type", media_type, "give a media type such as application/edi-x12");
            }
        }
        if let Some(subject) = subject
            && (subject.len() > LONGEST_SUBJECT || subject.chars().any(char::is_control))
        {
            return wrong("subject", subject, "give a subject of one line and at most 600 bytes");
        }
        Ok(())
    }
}

impl Control {
    /// Records a staged file as a transfer to an endpoint. The gateway delivers it as any other, and tries again as a flow does
    /// that says nothing of it. On an error that is not ambiguous nothing refers to the staged bytes: the caller removes them.
    ///
    /// # Errors
    /// The caller may not send files; a name, media type, Subject or reason cannot be used; the database failed.
    pub async fn send_file(
        &self,
        caller: &Caller,
        to: &ChosenEndpoint,
        file: &FileToSend,
    ) -> Result<SentFile> {
        self.send(caller, to, file, false).await
    }

    /// Sends a small test message to an endpoint, which is tried once: its name, its Subject and its content say that it is a
    /// test.
    ///
    /// # Errors
    /// The caller may not send files; `Rejected` while the endpoint is offline after failures; staging has no room; the
    /// database failed.
    pub async fn send_test_message(
        &self,
        caller: &Caller,
        payloads: &StagedPayloads,
        to: &ChosenEndpoint,
    ) -> Result<SentFile> {
        caller.require(Permission::OperateTransfers)?;
        // It would not be tried before the endpoint is online again.
        let failing = self.0.store.failing_endpoints((self.0.now)()).await?;
        if let Some(found) = failing.iter().find(|found| found.endpoint == to.endpoint) {
            let advice = format!("`waybill endpoint online {}` ends that, then test again", to.endpoint);
            return Err(Error::permanent(ErrorKind::Rejected, "send a test message")
                .with("endpoint", &to.endpoint)
                .with("offline on node", &found.node)
                .with("its last error", found.error.as_deref().unwrap_or("unknown"))
                .advice(advice));
        }
        let TestMessage { file_name, media_type, subject, content } =
            TestMessage::new((self.0.now)(), &self.0.settings.node, to);
        let payload = PayloadId::new((self.0.ids)());
        let staging = payloads.clone();
        let bytes = content.into_bytes();
        let length = bytes.len() as u64;
        let staged = tokio::task::spawn_blocking(move || staging.stage(payload, &bytes));
        let sha256 = staged.await.map_err(|error| {
            Error::transient(ErrorKind::Internal, "stage a test message").caused_by(error)
        })??;
        let file = FileToSend {
            file_name,
            media_type: Some(media_type.to_owned()),
            subject: Some(subject.to_owned()),
            payload,
            length,
            sha256,
            request: (self.0.ids)(),
            reason: None,
        };
        let error = match self.send(caller, to, &file, true).await {
            Err(error) if error.retry() != Retry::Ambiguous => error,
            sent => return sent,
        };
        // Nothing refers to them. What is left all the same, the sweep moves to quarantine.
        let staging = payloads.clone();
        let removed = tokio::task::spawn_blocking(move || staging.remove(payload)).await;
        Err(match removed {
            Ok(Ok(())) => error,
            Ok(Err(failed)) => error.with("its staged bytes were not removed", failed.chain()),
            Err(failed) => error.with("its staged bytes were not removed", failed),
        })
    }

    async fn send(
        &self,
        caller: &Caller,
        to: &ChosenEndpoint,
        file: &FileToSend,
        is_test: bool,
    ) -> Result<SentFile> {
        let act = self.act(caller, file.reason.as_deref(), Some(file.request))?;
        FileToSend::check(&file.file_name, file.media_type.as_deref(), file.subject.as_deref())?;
        let by_hand = ByHand { endpoint: &to.endpoint, is_test };
        let mut metadata = Map::new();
        if let Some(subject) = &file.subject {
            metadata.insert(CHOSEN_SUBJECT.to_owned(), subject.as_str().into());
        }
        let transfer = TransferId::new(file.request);
        let new = sent_by_hand(FileByHand {
            to: by_hand,
            partner: to.partner.clone(),
            transfer,
            delivery: DeliveryId::new((self.0.ids)()),
            revision: to.revision,
            payload: PayloadRecord {
                id: file.payload,
                length: file.length,
                content: Content::Staged(file.sha256),
                media_type: file.media_type.clone(),
                file_name: RemotePath::from(file.file_name.as_str()),
                staged_at: act.at,
            },
            metadata,
        });
        // A commit whose answer was lost is repeated: it is idempotent by the transfer's id.
        let mut repeated = 0;
        let recorded = loop {
            match self.0.store.send_file(new.clone(), &act).await {
                Err(error) if error.retry() == Retry::Ambiguous && repeated < REPEATED => repeated += 1,
                done => break done?,
            }
        };
        let (endpoint, partner) = (to.endpoint.clone(), to.partner.clone());
        Ok(SentFile { transfer, endpoint, partner, recorded })
    }
}

#[cfg(test)]
mod tests {
    use super::FileToSend;

    #[test]
    fn what_cannot_be_sent_is_refused_before_anything_is_staged() {
        let check = |name: &str, media_type: Option<&str>, subject: Option<&str>| {
            FileToSend::check(name, media_type, subject).is_ok()
        };
        assert!(check("Bestellung 7 ä.edi", Some("text/plain; charset=utf-8"), Some("Orders of März")));
        for name in ["", ".", "..", "in/a.edi", "a\r\nb", &"x".repeat(256)] {
            assert!(!check(name, None, None), "{name:?}");
        }
        for media_type in ["edi", "/x", "text/", "text/pl\r\nain", "tëxt/plain"] {
            assert!(!check("a.edi", Some(media_type), None), "{media_type:?}");
        }
        for subject in ["a\r\nBcc: x", &"x".repeat(601)] {
            assert!(!check("a.edi", None, Some(subject)), "{subject:?}");
        }
    }
}
