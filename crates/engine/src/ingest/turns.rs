//! The order in which the offers of one poll are recorded, in a flow that keeps the order.

use tokio::sync::oneshot;

/// Gives out turns: each comes when the one before has passed.
#[derive(Default)]
pub(crate) struct Turns {
    last: Option<oneshot::Receiver<()>>,
}

/// An offer's place in the order.
pub(crate) struct Turn {
    before: Option<oneshot::Receiver<()>>,
    after: oneshot::Sender<()>,
}

impl Turns {
    /// The turn after the last one that was given out.
    pub(crate) fn next(&mut self) -> Turn {
        let (after, next) = oneshot::channel();
        Turn { before: self.last.replace(next), after }
    }
}

impl Turn {
    /// Waits for the turn before this one. `None` if that was dropped without being passed.
    pub(crate) async fn come(mut self) -> Option<Self> {
        match self.before.take() {
            Some(before) => before.await.ok().map(|()| self),
            None => Some(self),
        }
    }

    /// Lets the next one come.
    pub(crate) fn pass(self) {
        // Nobody waits after the last one.
        let _ = self.after.send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn each_comes_after_the_one_before_and_never_after_one_that_was_dropped() {
        let mut turns = Turns::default();
        let [first, second, third] = [turns.next(), turns.next(), turns.next()];
        let mut second = Box::pin(second.come());
        assert!((&mut second).now_or_never().is_none());
        first.come().now_or_never().flatten().unwrap().pass();
        let second = second.now_or_never().flatten().unwrap();
        drop(second);
        assert!(third.come().now_or_never().unwrap().is_none());
    }
}
