//! Hashes passwords, one after the other.

mod queue;

pub(crate) use queue::Requester;

use control::password::{self, HashMemory};
use model::{Error, ErrorKind, Result, Secret};
use queue::{Job, Next, Queue};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// The memory is freed after so long without a login.
const IDLE: Duration = Duration::from_secs(60);

/// Hashes passwords one after the other, on a thread of its own whose memory is used again and again: as many
/// threads and blocks as there are logins would leave the process as large as the largest flood had made it.
pub(crate) struct Hasher {
    queue: Arc<Queue<Work>>,
}

/// One hash, made in the memory lent to it.
struct Work {
    run: Box<dyn FnOnce(Lent<'_>) + Send>,
    is_void: Box<dyn Fn() -> bool + Send>,
}

/// The memory for a hash; `None` where it is refused.
type Lent<'a> = Option<&'a mut HashMemory>;

impl Job for Work {
    fn is_void(&self) -> bool {
        (self.is_void)()
    }

    fn refuse(self) {
        (self.run)(None);
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self { queue: Arc::new(Queue::new()) }
    }
}

impl Drop for Hasher {
    fn drop(&mut self) {
        self.queue.end();
    }
}

impl Hasher {
    /// The hash of a new password, in PHC string form. `salt` is random.
    pub(crate) async fn hash(
        &self,
        salt: [u8; 16],
        requester: Requester,
        password: Secret<String>,
    ) -> Result<Secret<String>> {
        self.turn(requester, move |memory| password::hash(&password, &salt, memory)).await?
    }

    /// Whether the password is the one that was hashed; never so without a hash, after the same work.
    pub(crate) async fn verify(
        &self,
        requester: Requester,
        password: Secret<String>,
        hash: Option<Secret<String>>,
    ) -> Result<bool> {
        self.turn(requester, move |memory| password::verify(&password, hash.as_ref(), memory)).await?
    }

    async fn turn<T: Send + 'static>(
        &self,
        requester: Requester,
        work: impl FnOnce(&mut HashMemory) -> T + Send + 'static,
    ) -> Result<T> {
        let (done, answer) = oneshot::channel();
        let done = Arc::new(std::sync::Mutex::new(Some(done)));
        let wanted = Arc::clone(&done);
        let is_void = move || {
            let done = wanted.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            done.as_ref().is_none_or(oneshot::Sender::is_closed)
        };
        let run = move |memory: Lent<'_>| {
            let done = done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
            // A caller that has gone needs no answer, and no work.
            if let Some(done) = done.filter(|done| !done.is_closed()) {
                drop(done.send(memory.map(work)));
            }
        };
        let work = Work { run: Box::new(run), is_void: Box::new(is_void) };
        self.queue.push(requester, work, |queue| {
            let thread = std::thread::Builder::new().name("password hashes".to_owned());
            thread.spawn(move || work_off(&queue)).map(drop)
        })?;
        answer.await.map_err(|cause| failed(&cause))?.ok_or_else(queue::refused)
    }
}

/// Ends with the [`Hasher`].
fn work_off(queue: &Queue<Work>) {
    let mut memory = HashMemory::default();
    loop {
        match queue.next(IDLE) {
            Next::Do(work) => {
                // The caller gets an error, as the sender is dropped.
                if catch_unwind(AssertUnwindSafe(|| (work.run)(Some(&mut memory)))).is_err() {
                    tracing::error!("a password hash panicked");
                }
            }
            Next::Idle => memory = HashMemory::default(),
            Next::End => return,
        }
    }
}

/// The thread of the hashes did not answer.
fn failed(cause: &dyn std::fmt::Display) -> Error {
    Error::permanent(ErrorKind::Internal, "check a password").with("cause", cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    const ANYBODY: Requester = Requester { address: IpAddr::V4(Ipv4Addr::LOCALHOST), known: false };

    /// A flood of logins at once: as many threads and as much memory as for one.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_flood_takes_the_memory_of_one() {
        fn status(name: &str) -> u64 {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
        }
        let hasher = std::sync::Arc::new(Hasher::default());
        hasher.verify(ANYBODY, Secret::new("x".into()), None).await.unwrap();
        let (memory, threads) = (status("VmRSS:"), status("Threads:"));
        let mut flood = tokio::task::JoinSet::new();
        for _ in 0..200 {
            let hasher = hasher.clone();
            flood.spawn(async move { hasher.verify(ANYBODY, Secret::new("x".into()), None).await });
        }
        for answer in flood.join_all().await {
            assert!(!answer.unwrap());
        }
        assert!(status("VmRSS:") < memory + 10 * 1024, "{memory} kB, then {} kB", status("VmRSS:"));
        assert!(status("Threads:") <= threads + 1);
    }

    /// One address takes all the room there is: it is refused itself, and others have their turn after one of its.
    #[tokio::test]
    async fn who_floods_is_refused_and_others_are_not() {
        let hasher = Arc::new(Hasher::default());
        let (go, held) = std::sync::mpsc::channel::<()>();
        let holder = hasher.clone();
        let holding = tokio::spawn(async move { holder.turn(ANYBODY, move |_| held.recv().is_ok()).await });
        let mut flood = tokio::task::JoinSet::new();
        for _ in 0..queue::LONGEST + 2 {
            let hasher = hasher.clone();
            flood.spawn(async move { hasher.verify(ANYBODY, Secret::new("x".into()), None).await });
        }
        let refused = flood.join_next().await.unwrap().unwrap().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Throttled);
        let elsewhere = Requester { address: IpAddr::from([192, 0, 2, 1]), known: false };
        let other = hasher.clone();
        let other = tokio::spawn(async move { other.verify(elsewhere, Secret::new("x".into()), None).await });
        while flood.try_join_next().is_some() {}
        drop(go);
        assert!(!other.await.unwrap().unwrap());
        assert!(flood.len() > queue::LONGEST / 2, "{} of the flood still wait", flood.len());
        // Those who have gone meanwhile cost nothing.
        flood.shutdown().await;
        assert!(!holding.await.unwrap().unwrap());
        assert!(!hasher.verify(ANYBODY, Secret::new("x".into()), None).await.unwrap());
    }
}
