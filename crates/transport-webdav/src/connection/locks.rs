//! The tokens of the locks that are held, in memory.

use model::RemotePath;
use std::collections::VecDeque;

/// The most tokens that are kept, many more than files are written at a time: those whose UNLOCK had no answer stay too.
const LIMIT: usize = 256;

/// Tokens by path, the oldest first.
#[derive(Default)]
pub(super) struct Locks(VecDeque<(RemotePath, String)>);

impl Locks {
    /// Keeps a token. Where there are too many the oldest one is dropped: its file was written long ago, and its lock ends by
    /// itself. A new one that was dropped instead would not be given back at all.
    pub(super) fn keep(&mut self, path: &RemotePath, token: &str) {
        self.take(path);
        if self.0.len() >= LIMIT {
            self.0.pop_front();
        }
        self.0.push_back((path.clone(), token.to_owned()));
    }

    pub(super) fn of(&self, path: &RemotePath) -> Option<String> {
        self.0.iter().find(|(of, _)| of == path).map(|(_, token)| token.clone())
    }

    pub(super) fn take(&mut self, path: &RemotePath) -> Option<String> {
        let place = self.0.iter().position(|(of, _)| of == path)?;
        self.0.remove(place).map(|(_, token)| token)
    }

    /// Drops a token. Another one of the same path belongs to a newer lock, and stays.
    pub(super) fn forget(&mut self, path: &RemotePath, token: &str) {
        self.0.retain(|(of, held)| of != path || held != token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_tokens_the_oldest_is_dropped_and_the_newest_kept() {
        let mut locks = Locks::default();
        let path = |number: usize| RemotePath::from(format!("/{number}").as_str());
        for number in 0..=LIMIT {
            locks.keep(&path(number), &number.to_string());
        }
        assert_eq!(locks.of(&path(0)), None);
        assert_eq!(locks.of(&path(1)).as_deref(), Some("1"));
        assert_eq!(locks.take(&path(LIMIT)), Some(LIMIT.to_string()));
        assert_eq!(locks.take(&path(LIMIT)), None);
    }

    #[test]
    fn only_the_token_that_is_gone_is_forgotten() {
        let mut locks = Locks::default();
        let path = RemotePath::from("/a");
        locks.keep(&path, "first");
        locks.keep(&path, "second");
        locks.forget(&path, "first");
        assert_eq!(locks.of(&path).as_deref(), Some("second"));
        locks.forget(&path, "second");
        assert_eq!(locks.of(&path), None);
    }
}
