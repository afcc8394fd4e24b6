//! Staging an offer: reading it, then checking it at its source.

use crate::at_source::{look_after, read_failed};
use crate::crash;
use crate::guard::guarded;
use crate::ingest::polled_flow::PolledFlow;
use crate::ingest::reading::{Reading, Whole, WrongSize};
use crate::ingest::room::{FileRoom, NoRoom};
use crate::staged::blocking;
use futures::TryStreamExt;
use model::{Error, ErrorKind, Result};
use tokio::io::AsyncRead;
use transport::folder::READER_BUFFERS;
use transport::{AfterRead, FoundOffer, OfferNotes, PartWriter, Source, StagedPart, copy_to_staging};

/// A copied part that is not yet durable.
struct CopiedPart {
    writer: Box<dyn PartWriter>,
    part: transport::Part,
}

/// Copies an offer's parts into staging, makes them durable, and checks the offer at its source again. An offer for which
/// staging has no room is not opened, unless staging may share its blocks.
pub(crate) async fn stage(polled: &PolledFlow, source: &dyn Source, found: &FoundOffer) -> Result<Reading> {
    let read = read_if_room(polled, source, found).await;
    if let Ok(Reading::NoRoom(lacking)) = &read {
        // At once: in an ordered flow, those behind it need not be read.
        polled.count_without_room(found, lacking);
    }
    read
}

async fn read_if_room(polled: &PolledFlow, source: &dyn Source, found: &FoundOffer) -> Result<Reading> {
    if let Some(lacking) = polled.waits_behind_others(found) {
        return Ok(Reading::NoRoom(lacking));
    }
    let needed = polled.room.needed(&found.identity.key(), found.identity.size);
    let (room, lacking) = match polled.staging_room.reserve(needed)? {
        Ok(room) => (room, None),
        // Whether staging can share its blocks is known only when it is open, which asks no server.
        Err(lacking) if source.is_local() && polled.room.may_share(needed) => {
            (polled.staging_room.reserve_nothing(), Some(lacking))
        }
        Err(lacking) => return Ok(Reading::NoRoom(lacking)),
    };
    guarded("read a file", copy_and_commit(polled, source, found, &FileRoom::new(room), lacking)).await
}

/// With `lacking`, there is room only for parts whose blocks staging shares.
async fn copy_and_commit(
    polled: &PolledFlow,
    source: &dyn Source,
    found: &FoundOffer,
    room: &FileRoom,
    mut lacking: Option<NoRoom>,
) -> Result<Reading> {
    crash::point("stage.begin");
    let opened = source.open(found).await?;
    let mut source_data = opened.source_data;
    // What is read replaces what was found; its done file is noted in both.
    if let Some(key) = OfferNotes::of(&found.source_data).done_file {
        OfferNotes::change(&mut source_data, |notes| notes.done_file = Some(key));
    }
    let mut found = found.clone();
    found.source_data.extend(source_data.clone());
    let mut parts = opened.parts;
    let mut copied = Vec::new();
    let mut broken = None;
    while let Some(mut part) = parts.try_next().await? {
        let writer = match polled.context.services.staging.begin() {
            Ok(writer) => room.part(writer),
            Err(error) => return room.ran_out(error).map(Reading::NoRoom),
        };
        let (writer, reader, is_shared) = match share_blocks(polled, &mut part, writer).await {
            Ok(shared) => shared,
            Err(error) => return room.ran_out(error).map(Reading::NoRoom),
        };
        if !is_shared && let Some(lacking) = lacking.take() {
            return Ok(Reading::NoRoom(lacking));
        }
        let reader = polled.context.paces.of(&polled.poll.endpoint).reader(reader);
        let path = found.identity.path.clone();
        let copy = copy_to_staging(reader, writer, &polled.context.services.budget, move |error| {
            read_failed(&path, error)
        });
        let copy = match copy.await {
            Ok(copy) => copy,
            Err(error) => return room.ran_out(error).map(Reading::NoRoom),
        };
        let resumptions = part.resumptions.taken();
        if !resumptions.is_empty() {
            // Plain values always have a JSON form.
            let resumptions = serde_json::to_value(resumptions).unwrap_or_default();
            part.metadata.insert("source_resumed".into(), resumptions);
        }
        match copy.broken {
            // No bytes were read, or only those of our own copy: nothing can be lost.
            Some(error) if copy.bytes == 0 || is_shared => return Err(error),
            error => broken = error,
        }
        copied.push(CopiedPart { writer: copy.writer, part });
        if broken.is_some() {
            break;
        }
    }
    drop(parts);
    crash::point("stage.copied");
    if copied.is_empty() {
        return match look_after(source, &found).await? {
            AfterRead::Changed(why) => Ok(Reading::Changed(why)),
            _ => Err(Error::permanent(ErrorKind::Rejected, "accept an offer that contains no file")
                .with("path", &found.identity.path)),
        };
    }
    let stated = opened.size.or(found.identity.size);
    let wrong_size = match (copied.as_slice(), stated) {
        ([only], Some(stated)) => {
            Some(WrongSize { stated, read: only.writer.length() }).filter(|size| size.stated != size.read)
        }
        _ => None,
    };
    if let Some(size) = wrong_size {
        OfferNotes::change(&mut source_data, |notes| notes.read_bytes = Some(size.read));
    }
    let reached_its_size = copied.len() == 1
        && stated.is_some_and(|size| size > 0 && wrong_size.is_none_or(|wrong| wrong.read > wrong.stated));
    let partial = broken.is_some() && !reached_its_size;
    // The bytes must be durable before the source is asked: they may be the only copy now, whatever it answers.
    let parts = match commit(copied).await {
        Ok(parts) => parts,
        Err(error) => return room.ran_out(error).map(Reading::NoRoom),
    };
    if let [only] = parts.as_slice() {
        OfferNotes::change(&mut source_data, |notes| notes.sha256 = Some(only.staged.sha256));
    }
    crash::point("stage.committed");
    let mut whole = Whole {
        parts,
        source_data,
        wrong_size,
        contradiction: None,
        partial,
        failed: broken,
        unseen: false,
        hold: None,
    };
    match look_after(source, &found).await {
        Ok(AfterRead::Gone) => {
            whole.note_gone();
            return Ok(Reading::Whole(whole));
        }
        Ok(AfterRead::Changed(why)) => {
            polled.discard(whole.parts).await;
            return Ok(Reading::Changed(why));
        }
        Ok(AfterRead::Doubtful(words)) => whole.contradiction = Some(words),
        Ok(AfterRead::Unchanged) => {}
        Err(error) => {
            whole.unseen = true;
            whole.failed.get_or_insert(error);
            return Ok(Reading::Doubtful(whole));
        }
    }
    match whole.failed.take() {
        // The file still exists and can be read again.
        Some(error) if whole.partial => {
            polled.discard(whole.parts).await;
            Err(error)
        }
        Some(error) => {
            whole.contradiction.get_or_insert_with(|| {
                format!("reading was interrupted at the size that the source had reported: {}", error.chain())
            });
            whole.failed = Some(error);
            Ok(Reading::Doubtful(whole))
        }
        None if whole.wrong_size.is_some() || whole.contradiction.is_some() => Ok(Reading::Doubtful(whole)),
        None => Ok(Reading::Whole(whole)),
    }
}

type Reader = Box<dyn AsyncRead + Send + Unpin>;

/// Shares the blocks of a part that is a file of this machine, where staging can. Then the reader reads what staging holds, to
/// hash it: the file may change from now on. Otherwise it is the part's own.
async fn share_blocks(
    polled: &PolledFlow,
    part: &mut transport::Part,
    mut writer: Box<dyn PartWriter>,
) -> Result<(Box<dyn PartWriter>, Reader, bool)> {
    let reader = std::mem::replace(&mut part.reader, Box::new(tokio::io::empty()));
    let Some(file) = part.file.take() else { return Ok((writer, reader, false)) };
    let sharing = blocking("share the blocks of a file", move || {
        let bytes = file.metadata().map_err(|e| Error::local_io("look at a file", e))?.len();
        let shared = writer.share_blocks(&file)?;
        Ok((writer, shared, bytes))
    });
    let (writer, shared, bytes) = sharing.await?;
    polled.room.note_sharing(bytes, shared.is_some());
    let Some(shared) = shared else { return Ok((writer, reader, false)) };
    let mut shared = tokio::fs::File::from_std(shared);
    shared.set_max_buf_size(READER_BUFFERS);
    Ok((writer, Box::new(shared), true))
}

async fn commit(copied: Vec<CopiedPart>) -> Result<Vec<StagedPart>> {
    let commit_each = move || {
        copied
            .into_iter()
            .map(|CopiedPart { writer, part }| {
                Ok(StagedPart {
                    staged: writer.commit()?,
                    file_name: part.file_name,
                    media_type: part.media_type,
                    metadata: part.metadata,
                    connection: part.connection,
                })
            })
            .collect()
    };
    blocking("commit a staged file", commit_each).await
}
