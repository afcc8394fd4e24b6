//! Passwords and their hashes.

mod queue;

pub(crate) use queue::Requester;

use argon2::password_hash::phc::{Output, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use model::{Error, ErrorKind, Result, Secret};
use queue::{Job, Next, Queue};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// What OWASP's Password Storage Cheat Sheet asks of Argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Made with the same costs, of no password: checked for users that do not exist, so that the answer
/// takes as long as for those that do.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$d2F5YmlsbC1ub2JvZHktMQ\
                      $AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The memory is given back when nobody has logged in for so long.
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
type Lent<'a> = Option<&'a mut Vec<Block>>;

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
        self.turn(requester, move |memory| {
            let params = params(MEMORY_KIB, PASSES, LANES)?;
            let hash = PasswordHash {
                algorithm: Algorithm::Argon2id.ident(),
                version: Some(Version::V0x13.into()),
                params: (&params).try_into().map_err(|cause| failed(&cause))?,
                salt: Some(Salt::new(&salt).map_err(|cause| failed(&cause))?),
                hash: Some(digest(Version::V0x13, params, &password, &salt, memory)?),
            };
            Ok(Secret::new(hash.to_string()))
        })
        .await?
    }

    /// Whether the password is the one that was hashed; never so without a hash, after the same work.
    pub(crate) async fn verify(
        &self,
        requester: Requester,
        password: Secret<String>,
        hash: Option<Secret<String>>,
    ) -> Result<bool> {
        self.turn(requester, move |memory| {
            let known = hash.is_some();
            let hash = hash.as_ref().map_or(NOBODY, |hash| hash.reveal().as_str());
            let hash = PasswordHash::new(hash).map_err(|cause| failed(&cause))?;
            let (Some(salt), Some(wanted)) = (&hash.salt, &hash.hash) else {
                return Err(failed(&"the stored hash is not whole"));
            };
            if hash.algorithm != Algorithm::Argon2id.ident() {
                return Err(failed(&"the stored hash is of another kind than Argon2id"));
            }
            let version = hash.version.map_or(Ok(Version::V0x13), Version::try_from);
            let version = version.map_err(|cause| failed(&cause))?;
            let params = Params::try_from(&hash).map_err(|cause| failed(&cause))?;
            // Compared in constant time.
            Ok(digest(version, params, &password, salt.as_ref(), memory)? == *wanted && known)
        })
        .await?
    }

    async fn turn<T: Send + 'static>(
        &self,
        requester: Requester,
        work: impl FnOnce(&mut Vec<Block>) -> T + Send + 'static,
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
            // Whoever asked and is gone needs no answer, and no work.
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
    let mut memory = Vec::new();
    loop {
        match queue.next(IDLE) {
            Next::Do(work) => {
                // Whoever waits for what panicked is told so, as the sender is dropped.
                if catch_unwind(AssertUnwindSafe(|| (work.run)(Some(&mut memory)))).is_err() {
                    tracing::error!("a password hash panicked");
                }
            }
            Next::Idle => memory = Vec::new(),
            Next::End => return,
        }
    }
}

fn params(memory: u32, passes: u32, lanes: u32) -> Result<Params> {
    Params::new(memory, passes, lanes, None).map_err(|cause| failed(&cause))
}

fn digest(
    version: Version,
    params: Params,
    password: &Secret<String>,
    salt: &[u8],
    memory: &mut Vec<Block>,
) -> Result<Output> {
    let length = params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
    let mut bytes = vec![0; length];
    memory.resize(params.block_count(), Block::default());
    Argon2::new(Algorithm::Argon2id, version, params)
        .hash_password_into_with_memory(password.reveal().as_bytes(), salt, &mut bytes, &mut memory[..])
        .map_err(|cause| failed(&cause))?;
    Output::new(&bytes).map_err(|cause| failed(&cause))
}

/// The library's errors are told by their text: not all of them are errors to Rust's standard library.
fn failed(cause: &dyn std::fmt::Display) -> Error {
    Error::permanent(ErrorKind::Internal, "check a password").with("cause", cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::password_hash::{PasswordHasher, PasswordVerifier};
    use std::net::{IpAddr, Ipv4Addr};

    const ANYBODY: Requester = Requester { address: IpAddr::V4(Ipv4Addr::LOCALHOST), known: false };

    #[tokio::test]
    async fn nobody_has_no_password_and_costs_as_much() {
        let hasher = Hasher::default();
        for password in ["", "waybill-nobody-1", "\0"] {
            assert!(!hasher.verify(ANYBODY, Secret::new(password.into()), None).await.unwrap());
        }
        let nobody = PasswordHash::new(NOBODY).unwrap();
        let params = Params::try_from(&nobody).unwrap();
        assert_eq!((params.m_cost(), params.t_cost(), params.p_cost()), (MEMORY_KIB, PASSES, LANES));
        assert_eq!(nobody.hash.unwrap().as_bytes().len(), 32);
    }

    /// What the library makes of the same, so that hashes of other versions and makers stay good.
    #[tokio::test]
    async fn hashes_are_the_librarys_own() {
        let hasher = Hasher::default();
        let argon2 =
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params(MEMORY_KIB, PASSES, LANES).unwrap());
        let made: PasswordHash =
            argon2.hash_password_with_salt(b"correct horse", b"sixteen bytes ab").unwrap();
        let hash = || Some(Secret::new(made.to_string()));
        assert!(hasher.verify(ANYBODY, Secret::new("correct horse".into()), hash()).await.unwrap());
        assert!(!hasher.verify(ANYBODY, Secret::new("correct horsf".into()), hash()).await.unwrap());
        // And the other way round: what is made here, by the library. Other costs are read from the hash.
        let salt = *b"another salt 123";
        let own = hasher
            .turn(ANYBODY, move |memory| {
                let params = params(8 * 1024, 3, 1).unwrap();
                let output =
                    digest(Version::V0x13, params.clone(), &Secret::new("p".into()), &salt, memory).unwrap();
                PasswordHash {
                    algorithm: Algorithm::Argon2id.ident(),
                    version: Some(Version::V0x13.into()),
                    params: (&params).try_into().unwrap(),
                    salt: Some(Salt::new(&salt).unwrap()),
                    hash: Some(output),
                }
            })
            .await
            .unwrap();
        argon2.verify_password(b"p", &own).unwrap();
        assert!(
            hasher
                .verify(ANYBODY, Secret::new("p".into()), Some(Secret::new(own.to_string())))
                .await
                .unwrap()
        );
    }

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
