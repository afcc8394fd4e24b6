//! What becomes of a file at its source, once it is ours or given up.
//!
//! Everything is decided from the offer alone, so that a settle that was cut off anywhere is simply
//! called again, by any node.
//!
//! One gap stays where a server has no handles: between the last `stat` and the `remove` of a plain
//! delete another program may replace the file. Archive and move have no such gap: what was moved is
//! looked at, and put back when it is not what was taken.

use super::compare::{Look, Presence, Told, noted_look};
use super::copy_away::may_be_another_file_system;
use super::{CAUSE, FolderSource, GONE, READ_BYTES, RELATIVE};
use crate::Settled;
use crate::folder::{Published, names, parse_directory};
use model::definition::After;
use model::{Error, ErrorKind, Offer, OfferIdentity, Outcome, PeerText, RemotePath, Result};
use serde_json::Value;

/// Most names tried for a file whose name is taken in the directory it is moved to.
const NUMBER_LIMIT: u32 = 1_000;

/// Most directories remembered as made.
const MADE_LIMIT: usize = 1_000;

/// The file that was taken: what the listing told of it, and what a look told when it was opened. Neither holds
/// the time of the system's last change: permissions may have been changed since.
pub(super) struct Taken<'a> {
    identity: &'a OfferIdentity,
    found: Told,
    before: Look,
    /// The bytes that were read of it, where the place states another size. After a move it may state this one.
    read: Option<u64>,
}

impl<'a> Taken<'a> {
    pub(super) fn of(offer: &'a Offer) -> Self {
        let found = Told::when_found(&offer.identity, None);
        let before = match noted_look(&offer.source_data, &found) {
            Look::Told(told) => Look::Told(told.lasting()),
            other => other,
        };
        let read = offer.source_data.get(READ_BYTES).and_then(Value::as_u64);
        Self { identity: &offer.identity, found, before, read }
    }

    /// Whether what is told of another path is this file, which was told like this before it was moved. The place may
    /// state any of the sizes there that it stated, or that was read.
    fn is_moved(&self, before: &Told, there: &Told) -> bool {
        self.of_each_size(before).any(|before| before.is_moved_to(there))
    }

    /// The same, whatever time is told.
    fn may_be_moved(&self, before: &Told, there: &Told) -> bool {
        self.of_each_size(before).any(|before| before.may_be_moved_to(there))
    }

    fn of_each_size(&self, before: &Told) -> impl Iterator<Item = Told> {
        let sizes = [self.found.size, self.read];
        let before = before.clone();
        let others: Vec<Told> = sizes.into_iter().flatten().map(|size| before.with_size(size)).collect();
        std::iter::once(before).chain(others)
    }

    fn path(&self) -> &RemotePath {
        &self.identity.path
    }
}

/// How a move ended.
pub(super) enum Moved {
    /// It lies there, by this call or an earlier one.
    To(RemotePath),
    /// Neither the file nor what an earlier call made of it is to be found.
    Gone,
    /// Something else lies at its path; left alone, or put back.
    Changed,
}

impl FolderSource {
    pub(super) async fn settle_offer(&self, offer: &Offer, outcome: Outcome) -> Result<Settled> {
        match (outcome, &self.poll.after, &self.poll.error_directory) {
            (Outcome::Refused, _, None) | (Outcome::Taken, After::Keep, _) => Ok(Settled::Kept),
            (Outcome::Refused, _, Some(directory)) => self.refuse(offer, directory).await,
            (Outcome::Taken, After::Delete, _) => self.delete(offer).await,
            (Outcome::Taken, After::Archive { directory, timestamp }, _) => {
                let target = self.target(offer, directory, *timestamp)?;
                Ok(settled(self.move_away(offer, &target).await?))
            }
            (Outcome::Taken, After::Move { directory }, _) => {
                let target = self.target(offer, directory, false)?;
                Ok(settled(self.move_away(offer, &target).await?))
            }
        }
    }

    /// Whether the file that was taken still lies where it was found.
    pub(super) async fn presence_of(&self, taken: &Taken<'_>) -> Result<Presence> {
        self.presence(taken.identity, &taken.found, Some(&taken.before)).await
    }

    async fn delete(&self, offer: &Offer) -> Result<Settled> {
        let taken = Taken::of(offer);
        match self.presence_of(&taken).await? {
            Presence::Missing => {
                self.went_before(taken.path()).await?;
                let was_gone = offer.source_data.get(GONE).is_some();
                return Ok(if was_gone { Settled::Gone } else { Settled::Done });
            }
            Presence::Different(_) => return Ok(Settled::Changed),
            // Listings show it as it was found; that looks at it contradict each other must not keep it for ever.
            Presence::Same(_) | Presence::Doubtful(_) => {}
        }
        if found(self.folder.remove(taken.path()).await)?.is_none() {
            self.went_before(taken.path()).await?;
        }
        Ok(Settled::Done)
    }

    /// A name is found gone, or given, by an earlier call: that call may have been cut off before it was durable.
    async fn went_before(&self, path: &RemotePath) -> Result<()> {
        let parent = path.parent().unwrap_or_default();
        found(self.folder.sync_directory(&parent).await).map(drop)
    }

    async fn refuse(&self, offer: &Offer, directory: &str) -> Result<Settled> {
        let target = self.target(offer, directory, false)?;
        let moved = self.move_away(offer, &target).await?;
        if let Moved::To(path) = &moved {
            let cause = offer.source_data.get(CAUSE).and_then(Value::as_str).unwrap_or("cause not recorded");
            self.write_cause(offer, path, cause).await?;
        }
        Ok(settled(moved))
    }

    /// Where the file goes: below the directory as it lay below the polled one. The time in a name is
    /// when the file was found, so that a second call finds what the first one moved.
    fn target(&self, offer: &Offer, directory: &str, timestamp: bool) -> Result<RemotePath> {
        let relative = offer
            .source_data
            .get(RELATIVE)
            .and_then(Value::as_str)
            .and_then(|text| RemotePath::from_text(text).ok())
            .filter(|path| !path.escapes() && !path.is_absolute() && !path.is_empty())
            .unwrap_or_else(|| RemotePath::from_bytes(offer.identity.path.file_name()));
        let relative = if timestamp {
            let name = names::timestamped(relative.file_name(), offer.found_at, names::NAME_LIMIT);
            relative.with_file_name(&name)
        } else {
            relative
        };
        Ok(parse_directory(directory)?.join(&relative))
    }

    /// Moves the file to `target`, by way of a name beside it that is this offer's alone: whatever is cut
    /// off, the next call finds under that name what was moved, and whether it is what was taken.
    async fn move_away(&self, offer: &Offer, target: &RemotePath) -> Result<Moved> {
        let taken = &Taken::of(offer);
        let aside = beside(offer, target, ".moving");
        let here = self.presence_of(taken).await?;
        if !matches!(here, Presence::Same(_) | Presence::Doubtful(_)) {
            if let Some(moved) = self.finish(taken, &aside, target).await? {
                return Ok(moved);
            }
            let is_missing = here == Presence::Missing;
            if let Some(moved) = self.finish_copy(offer, target, !is_missing).await? {
                return Ok(moved);
            }
            return if is_missing { self.moved_before(taken, target).await } else { Ok(Moved::Changed) };
        }
        self.make_parent(target).await?;
        let mut renamed = self.rename_new(taken.path(), &aside).await;
        if matches!(&renamed, Err(error) if error.kind() == ErrorKind::NotFound) {
            // Either the file went, or somebody removed the directory since it was made.
            if found(self.folder.stat(taken.path()).await)?.is_none() {
                return self.moved_before(taken, target).await;
            }
            self.forget_made();
            self.make_parent(target).await?;
            renamed = self.rename_new(taken.path(), &aside).await;
        }
        match renamed {
            // Whoever watches that directory may have been quick: then there is nothing to finish.
            Ok(()) => Ok(self.finish(taken, &aside, target).await?.unwrap_or(Moved::Gone)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                // An earlier call got as far as that, so what lies at the source now is a new file.
                let moved = self.finish(taken, &aside, target).await?;
                // Where versions tell files apart it is still the old one: the folder copied it to another file
                // system, and was cut off before it removed it.
                if taken.identity.version.is_some() && matches!(moved, Some(Moved::To(_))) {
                    found(self.folder.remove(taken.path()).await)?;
                    return Ok(moved.unwrap_or(Moved::Gone));
                }
                Ok(Moved::Changed)
            }
            Err(error) if may_be_another_file_system(&error) => self.copy_away(offer, target, error).await,
            Err(error) => Err(error),
        }
    }

    /// Looks at what was moved aside: the file that was taken gets its name, any other goes back to where
    /// it lay. `None` when nothing lies aside.
    async fn finish(
        &self,
        taken: &Taken<'_>,
        aside: &RemotePath,
        target: &RemotePath,
    ) -> Result<Option<Moved>> {
        match self.is_taken_file(taken, aside).await? {
            None => return Ok(None),
            Some(true) => {}
            Some(false) => return self.put_back(taken.identity, aside).await.map(Some),
        }
        for number in 1..=NUMBER_LIMIT {
            let name = names::numbered(target.file_name(), number, names::NAME_LIMIT);
            let to = target.with_file_name(&name);
            match self.rename_new(aside, &to).await {
                Ok(()) => return Ok(Some(Moved::To(to))),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    if self.moved_by_earlier_call(taken, &to).await? {
                        return self.put_back(taken.identity, aside).await.map(Some);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::transient(ErrorKind::AlreadyExists, "find a free name for a file that is to be moved")
            .with("path", taken.path())
            .with("target", target)
            .advice("clear the directory of files with the same name"))
    }

    /// Whether what lies at a path, where it was moved to, is the file that was taken: a move may give it another
    /// version, but not another size or time. `None` when nothing lies there.
    async fn is_taken_file(&self, taken: &Taken<'_>, path: &RemotePath) -> Result<Option<bool>> {
        let told = match self.look(path).await? {
            Look::Told(told) => told,
            Look::Missing if matches!(taken.before, Look::Told(_)) => return Ok(None),
            // Looks tell nothing here; the listing does.
            Look::Missing | Look::Untold => {
                let listed = self.list_again(path).await?;
                return Ok(listed.map(|listed| taken.is_moved(&taken.found, &listed)));
            }
        };
        let expected = match &taken.before {
            Look::Told(before) => before,
            Look::Untold | Look::Missing => &taken.found,
        };
        if taken.is_moved(expected, &told) {
            return Ok(Some(true));
        }
        if !taken.may_be_moved(expected, &told) {
            return Ok(Some(false));
        }
        // Only the time differs: some servers tell another one at each look.
        let listed = self.list_again(path).await?;
        Ok(listed.map(|listed| taken.is_moved(&taken.found, &listed)))
    }

    /// Whether a name that is taken was taken by an earlier call for this very offer. Then what was moved
    /// is a new file, even where size and time cannot tell it from the one taken. Only a name with the
    /// offer's own time says so: any other may be of an older file that looked the same.
    async fn moved_by_earlier_call(&self, taken: &Taken<'_>, to: &RemotePath) -> Result<bool> {
        if !matches!(self.poll.after, After::Archive { timestamp: true, .. }) {
            return Ok(false);
        }
        Ok(self.is_taken_file(taken, to).await? == Some(true))
    }

    /// The file is gone from its place, and nothing lies aside: finds what an earlier call made of it.
    async fn moved_before(&self, taken: &Taken<'_>, target: &RemotePath) -> Result<Moved> {
        let mut copy = None;
        for number in 1..=NUMBER_LIMIT {
            let name = names::numbered(target.file_name(), number, names::NAME_LIMIT);
            let to = target.with_file_name(&name);
            match self.is_taken_file(taken, &to).await? {
                None => break,
                Some(true) => return self.moved_to(taken, to).await,
                Some(false) => {
                    if copy.is_none() && self.may_be_copy(taken, &to).await? {
                        copy = Some(to);
                    }
                }
            }
        }
        if let Some(to) = copy {
            return self.moved_to(taken, to).await;
        }
        self.went_before(taken.path()).await?;
        tracing::warn!(path = %taken.path(), target = %target, "file to be moved is gone; somebody else took it");
        Ok(Moved::Gone)
    }

    async fn moved_to(&self, taken: &Taken<'_>, to: RemotePath) -> Result<Moved> {
        self.went_before(&to).await?;
        self.went_before(taken.path()).await?;
        Ok(Moved::To(to))
    }

    /// Whether a file may be the copy that an earlier call made on another file system: it is as large as the one
    /// taken, and newer, because copies do not keep the time.
    async fn may_be_copy(&self, taken: &Taken<'_>, path: &RemotePath) -> Result<bool> {
        let Look::Told(told) = self.look(path).await? else { return Ok(false) };
        Ok(taken.may_be_moved(&taken.found, &told) && told.is_newer_than(&taken.found))
    }

    /// Puts a file that was not taken back to where it lay; where a still newer one has the name,
    /// beside it, where it is offered too.
    async fn put_back(&self, identity: &OfferIdentity, aside: &RemotePath) -> Result<Moved> {
        for number in 1..=NUMBER_LIMIT {
            let name = names::numbered(identity.path.file_name(), number, names::NAME_LIMIT);
            let back = identity.path.with_file_name(&name);
            match self.rename_new(aside, &back).await {
                Ok(()) => {
                    tracing::warn!(path = %identity.path, back = %back, "file was replaced before it was moved; put back");
                    return Ok(Moved::Changed);
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::transient(
            ErrorKind::AlreadyExists,
            "put back a file that was replaced before it was moved",
        )
        .with("path", &identity.path)
        .with("now at", aside))
    }

    /// Renames without replacing; where the place cannot promise that, looks first.
    pub(super) async fn rename_new(&self, from: &RemotePath, to: &RemotePath) -> Result<()> {
        let guarded = self.folder.capabilities().await?.rename_no_replace;
        if !guarded && found(self.folder.stat(to).await)?.is_some() {
            return Err(Error::permanent(ErrorKind::AlreadyExists, "move a file").with("path", to));
        }
        self.folder.rename(from, to).await
    }

    async fn write_cause(&self, offer: &Offer, moved: &RemotePath, cause: &str) -> Result<()> {
        let name = names::wrapped(b"", moved.file_name(), b".cause.txt");
        let suffix = [b".cause", self.options.temporary_suffix.as_bytes()].concat();
        let temporary = moved.with_file_name(&names::wrapped(b".", moved.file_name(), &suffix));
        let text = format!(
            "{}\nfile: {}\nflow: {}\noffer: {}\nfailed attempts: {}\n",
            PeerText::new(cause.as_bytes()),
            offer.identity.path,
            offer.identity.flow,
            offer.id,
            offer.failures,
        );
        let mut upload = self.folder.begin_write(&temporary, Some(text.len() as u64)).await?;
        upload.write(text.into()).await?;
        upload.finish().await?;
        let name = moved.with_file_name(&name);
        match self.folder.publish(&temporary, &name, true).await? {
            Published::Published => Ok(()),
            // Settling is asked for again, and writes it again.
            Published::Exists | Published::Unknown => {
                Err(Error::transient(ErrorKind::Unreachable, "put the cause beside a refused file")
                    .with("endpoint", &self.options.endpoint)
                    .with("path", name)
                    .advice("nobody told whether it got its name; it is written again"))
            }
        }
    }

    async fn make_parent(&self, target: &RemotePath) -> Result<()> {
        let Some(parent) = target.parent() else { return Ok(()) };
        if self.made.lock().is_ok_and(|made| made.contains(&parent)) {
            return Ok(());
        }
        self.folder.make_directory(&parent).await?;
        if let Ok(mut made) = self.made.lock() {
            if made.len() >= MADE_LIMIT {
                made.clear();
            }
            made.insert(parent);
        }
        Ok(())
    }

    fn forget_made(&self) {
        if let Ok(mut made) = self.made.lock() {
            made.clear();
        }
    }
}

/// A name beside the target that is this offer's alone.
pub(super) fn beside(offer: &Offer, target: &RemotePath, what: &str) -> RemotePath {
    let id = offer.id.uuid().simple().to_string();
    let tail = format!(".{}{what}", &id[id.len() - 12..]);
    target.with_file_name(&names::wrapped(b".", target.file_name(), tail.as_bytes()))
}

fn settled(moved: Moved) -> Settled {
    match moved {
        Moved::To(_) => Settled::Done,
        Moved::Gone => Settled::Gone,
        Moved::Changed => Settled::Changed,
    }
}

/// `None` for what is not there.
pub(super) fn found<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
