//! A source of scripted offers.

use super::Fault;
use super::endpoint::{FakeEndpoint, SettleSeen};
use async_trait::async_trait;
use futures::StreamExt;
use model::definition::{Flow, FlowSource};
use model::{Error, ErrorKind, Offer, OfferIdentity, Outcome, RemotePath, Result, SkipReason, Timestamp};
use serde_json::{Map, Value};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};
use transport::folder::Polling;
use transport::{
    AfterRead, Described, Discovery, FoundOffer, OfferStream, Opened, Part, Probe, Resumptions, Settled,
    SkippedFile, Source,
};

/// An offer that a fake source has.
#[derive(Clone, Debug)]
pub struct ScriptedOffer {
    /// Its path.
    pub path: RemotePath,
    /// Its size, as the listing tells it.
    pub size: Option<u64>,
    /// Its time, as the listing tells it.
    pub modified: Option<Timestamp>,
    /// Its version, as the listing tells it.
    pub version: Option<String>,
    /// Its parts; one for a file.
    pub parts: Vec<ScriptedPart>,
    /// How it opens, call by call; the last one goes on for ever, none opens whole.
    pub openings: VecDeque<Opening>,
    /// How it settles, call by call; when there is none left, as the flow says.
    pub settlings: VecDeque<Settling>,
}

/// One part of a scripted offer.
#[derive(Clone, Debug)]
pub struct ScriptedPart {
    /// Its name.
    pub file_name: RemotePath,
    /// Its bytes.
    pub bytes: Arc<[u8]>,
    /// Its media type.
    pub media_type: Option<String>,
    /// Its metadata.
    pub metadata: Map<String, Value>,
    /// Where its reader fails, once that many bytes were read.
    pub fails_at: Option<u64>,
}

/// How an offer opens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opening {
    /// Whole, and unchanged afterwards.
    Whole,
    /// Whole, but changed meanwhile, says the look afterwards.
    Changed,
    /// Whole, but gone when it is looked at afterwards, as from a mailbox that gives each file once.
    Once,
    /// Gone when it is looked at afterwards, and every part's reader fails after so many bytes.
    OnceFailsAt(u64),
    /// Whole, but gone afterwards, and so many looks fail before one says so.
    OnceUnseen(u32),
    /// Whole, but the look afterwards contradicts the one before.
    Doubtful,
    /// Not at all.
    Fails(Fault),
    /// Every part's reader fails after so many bytes.
    FailsAt(u64),
    /// It never answers.
    Hangs,
    /// The transport breaks down.
    Panics,
}

/// How an offer settles.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settling {
    /// As the flow says.
    Honest,
    /// Done, but the answer is lost.
    DoneAnswerLost,
    /// Not done.
    Fails(Fault),
    /// Something else lies there.
    Changed,
    /// Never answers, and does nothing.
    Hangs,
}

impl ScriptedOffer {
    /// A file with one part of these bytes.
    #[must_use]
    pub fn file(path: impl Into<RemotePath>, bytes: impl Into<Arc<[u8]>>) -> Self {
        let path = path.into();
        let part = ScriptedPart::new(RemotePath::from_bytes(path.file_name()), bytes);
        Self {
            size: Some(part.bytes.len() as u64),
            modified: None,
            version: None,
            path,
            parts: vec![part],
            openings: VecDeque::new(),
            settlings: VecDeque::new(),
        }
    }

    /// The same with these parts.
    #[must_use]
    pub fn with_parts(mut self, parts: Vec<ScriptedPart>) -> Self {
        self.parts = parts;
        self
    }

    /// The same with a time.
    #[must_use]
    pub fn modified_at(mut self, at: Timestamp) -> Self {
        self.modified = Some(at);
        self
    }

    /// The same, opening like this, call by call; the last one for ever.
    #[must_use]
    pub fn opening(mut self, openings: impl IntoIterator<Item = Opening>) -> Self {
        self.openings = openings.into_iter().collect();
        self
    }

    /// The same, settling like this, call by call; then as the flow says.
    #[must_use]
    pub fn settling(mut self, settlings: impl IntoIterator<Item = Settling>) -> Self {
        self.settlings = settlings.into_iter().collect();
        self
    }
}

impl ScriptedPart {
    /// A part of these bytes.
    #[must_use]
    pub fn new(file_name: impl Into<RemotePath>, bytes: impl Into<Arc<[u8]>>) -> Self {
        Self {
            file_name: file_name.into(),
            bytes: bytes.into(),
            media_type: None,
            metadata: Map::new(),
            fails_at: None,
        }
    }
}

pub(super) struct FakeSource {
    pub(super) endpoint: Arc<FakeEndpoint>,
    pub(super) flow: Arc<Flow>,
}

impl FakeSource {
    fn identity(&self, offer: &ScriptedOffer) -> OfferIdentity {
        OfferIdentity {
            flow: self.flow.name.clone(),
            endpoint: self.endpoint.name().to_owned(),
            path: offer.path.clone(),
            size: offer.size,
            modified: offer.modified,
            version: offer.version.clone(),
            rule: model::IdentityRule::default(),
        }
    }

    /// Whether the place still has exactly this, and what it is.
    fn find(&self, identity: &OfferIdentity) -> Option<ScriptedOffer> {
        self.endpoint.offers().into_iter().find(|offer| self.identity(offer) == *identity)
    }
}

/// A file of this machine with these bytes.
fn file_of(bytes: &[u8]) -> Result<File> {
    let mut file = tempfile::tempfile().map_err(|e| Error::local_io("make a file", e))?;
    file.write_all(bytes).map_err(|e| Error::local_io("write a file", e))?;
    Ok(file)
}

#[async_trait]
impl Source for FakeSource {
    async fn discover(&self, discovery: Discovery) -> Result<OfferStream> {
        self.endpoint.check_reachable("list")?;
        let FlowSource::Poll(poll) = &self.flow.source else {
            return Err(Error::permanent(
                ErrorKind::ConfigInvalid,
                "poll for a flow whose source is a listener",
            ));
        };
        if let Some(mailbox) = poll.options.text("mailbox") {
            self.endpoint.asked_for(mailbox);
        }
        let mut identities: Vec<_> = self
            .endpoint
            .offers()
            .iter()
            .filter(|offer| poll.mask.matches(offer.path.file_name()))
            .map(|offer| self.identity(offer))
            .collect();
        let mut known = std::collections::HashSet::new();
        for batch in identities.chunks(1_000) {
            known.extend(discovery.known.known(batch.iter().map(OfferIdentity::key).collect()).await?);
        }
        discovery.known.listing_complete().await?;
        identities.retain(|identity| !known.contains(&identity.key()));
        let limit = if poll.read_limit > 0 { poll.read_limit } else { usize::MAX };
        let mut offered = Vec::new();
        for identity in identities {
            if offered.len() == limit {
                break;
            }
            if discovery.known.has_room(&identity) {
                offered.push(identity);
            } else {
                let (path, why) = (&identity.path, SkipReason::NoRoom);
                discovery.known.skipped(&SkippedFile { path, why, identity: Some(&identity) });
            }
        }
        let identities = offered;
        self.endpoint.saw_discovery(identities.len());
        let found =
            identities.into_iter().map(|identity| Ok(FoundOffer { identity, source_data: Map::new() }));
        Ok(futures::stream::iter(found).boxed())
    }

    fn describe(&self, found: &FoundOffer) -> Result<Described> {
        let offer = self.find(&found.identity);
        let only = offer.as_ref().and_then(|offer| offer.parts.first());
        Ok(Described {
            file_name: RemotePath::from_bytes(found.identity.path.file_name()),
            media_type: only.and_then(|part| part.media_type.clone()),
            metadata: only.map(|part| part.metadata.clone()).unwrap_or_default(),
        })
    }

    async fn open(&self, found: &FoundOffer) -> Result<Opened> {
        self.endpoint.check_reachable("open")?;
        let opening = self.endpoint.next_opening(&found.identity.path);
        self.endpoint.saw_open(&found.identity.path);
        let mut fails_at = None;
        match opening {
            Opening::Whole
            | Opening::Changed
            | Opening::Once
            | Opening::OnceUnseen(_)
            | Opening::Doubtful => {}
            Opening::Fails(fault) => return Err(fault.error("open an offer")),
            Opening::FailsAt(byte) | Opening::OnceFailsAt(byte) => fails_at = Some(byte),
            Opening::Hangs => std::future::pending().await,
            Opening::Panics => panics("opening an offer"),
        }
        let offer = self.find(&found.identity).ok_or_else(|| {
            Error::transient(ErrorKind::NotFound, "open an offer").with("path", &found.identity.path)
        })?;
        let is_local = self.is_local();
        let parts = offer.parts.into_iter().map(move |part| {
            let fails_at = fails_at.or(part.fails_at);
            Ok(Part {
                file_name: part.file_name,
                media_type: part.media_type,
                metadata: part.metadata,
                file: if is_local { Some(file_of(&part.bytes)?) } else { None },
                reader: Box::new(ScriptedReader { bytes: part.bytes, at: 0, fails_at }),
                connection: None,
                resumptions: Resumptions::default(),
            })
        });
        if matches!(opening, Opening::Once | Opening::OnceFailsAt(_) | Opening::OnceUnseen(_)) {
            self.endpoint.remove_offer(&found.identity.path);
        }
        let parts = futures::stream::iter(parts).boxed();
        Ok(Opened { parts, size: found.identity.size, source_data: Map::new() })
    }

    fn is_local(&self) -> bool {
        self.endpoint.is_local()
    }

    async fn look_again(&self, found: &FoundOffer) -> Result<AfterRead> {
        self.endpoint.check_reachable("stat")?;
        let path = &found.identity.path;
        self.endpoint.look_fails(path)?;
        if let Some(seen) = self.endpoint.take_seen(path) {
            return Ok(seen);
        }
        Ok(match self.find(&found.identity) {
            Some(_) => AfterRead::Unchanged,
            None if self.endpoint.offers().iter().any(|other| other.path == *path) => {
                AfterRead::Changed("another offer is there".into())
            }
            None => AfterRead::Gone,
        })
    }

    async fn settle(&self, offer: &Offer, outcome: Outcome) -> Result<Settled> {
        self.endpoint.check_reachable("settle")?;
        let path = &offer.identity.path;
        let settling = self.endpoint.next_settling(path);
        let keeps = match (&self.flow.source, outcome) {
            (FlowSource::Poll(poll), Outcome::Taken) => Polling::of(poll).effects().keeps_files,
            (FlowSource::Poll(poll), Outcome::Refused) => !Polling::of(poll).effects().moves_refused,
            (FlowSource::Receive(_), _) => true,
        };
        let result = match settling {
            Settling::Hangs => std::future::pending().await,
            Settling::Fails(fault) => Err(fault.error("settle an offer")),
            Settling::Changed => Ok(Settled::Changed),
            Settling::Honest | Settling::DoneAnswerLost if keeps => Ok(Settled::Kept),
            Settling::Honest | Settling::DoneAnswerLost => {
                // Gone already is done as well; something else at the same path stays.
                if self.find(&offer.identity).is_some() {
                    self.endpoint.remove_offer(path);
                    Ok(Settled::Done)
                } else if self.endpoint.offers().iter().any(|other| other.path == *path) {
                    Ok(Settled::Changed)
                } else {
                    Ok(Settled::Done)
                }
            }
        };
        let result = match (settling, result) {
            (Settling::DoneAnswerLost, Ok(_)) => Err(Fault::LOST.error("settle an offer")),
            (_, result) => result,
        };
        self.endpoint.saw_settle(SettleSeen {
            offer: offer.id,
            path: path.clone(),
            outcome,
            settled: result.as_ref().ok().cloned(),
        });
        result
    }

    async fn probe(&self) -> Probe {
        self.endpoint.probe()
    }
}

#[allow(clippy::panic, reason = "a transport that breaks down is what the test asked for")]
pub(super) fn panics(doing: &str) -> ! {
    panic!("the test asked for a breakdown while {doing}")
}

/// Reads bytes, and fails where told.
struct ScriptedReader {
    bytes: Arc<[u8]>,
    at: usize,
    fails_at: Option<u64>,
}

impl AsyncRead for ScriptedReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let limit = self.fails_at.map_or(self.bytes.len(), |byte| {
            usize::try_from(byte).unwrap_or(usize::MAX).min(self.bytes.len())
        });
        if self.at >= limit && self.fails_at.is_some() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionReset, "the test asked for it")));
        }
        let end = limit.min(self.at + buffer.remaining());
        buffer.put_slice(&self.bytes[self.at..end]);
        self.at = end;
        Poll::Ready(Ok(()))
    }
}
