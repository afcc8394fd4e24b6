//! Passwords and their hashes.

use crate::site::Site;
use argon2::password_hash::phc::{Output, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use model::{Error, ErrorKind, Result, Secret};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
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

/// Hashes that wait their turn at most; each takes about 20 ms.
const QUEUE: usize = 512;
/// The memory is given back when nobody has logged in for so long.
const IDLE: Duration = Duration::from_secs(60);

/// Hashes passwords one after the other, on a thread of its own whose memory is used again and again: as many
/// threads and blocks as there are logins would leave the process as large as the largest flood had made it.
#[derive(Default)]
pub(crate) struct Hasher {
    queue: OnceLock<SyncSender<Work>>,
}

/// One hash, made in the memory lent to it.
type Work = Box<dyn FnOnce(&mut Vec<Block>) + Send>;

impl Hasher {
    /// The hash of a new password, in PHC string form.
    pub(crate) async fn hash(&self, site: &Site, password: Secret<String>) -> Result<Secret<String>> {
        let mut salt = [0; 16];
        site.fill(&mut salt);
        self.turn(move |memory| {
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
        password: Secret<String>,
        hash: Option<Secret<String>>,
    ) -> Result<bool> {
        self.turn(move |memory| {
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
        work: impl FnOnce(&mut Vec<Block>) -> T + Send + 'static,
    ) -> Result<T> {
        let (done, answer) = oneshot::channel();
        let work: Work = Box::new(move |memory| {
            // Whoever asked and is gone needs no answer, and no work.
            if !done.is_closed() {
                drop(done.send(work(memory)));
            }
        });
        self.queue()?.try_send(work).map_err(|_| {
            Error::transient(ErrorKind::Throttled, "check a password")
                .with("waiting", QUEUE)
                .advice("too many people log in at this moment: try again in a few seconds")
        })?;
        answer.await.map_err(|cause| failed(&cause))
    }

    fn queue(&self) -> Result<&SyncSender<Work>> {
        if let Some(queue) = self.queue.get() {
            return Ok(queue);
        }
        let (queue, work) = sync_channel(QUEUE);
        std::thread::Builder::new()
            .name("password hashes".to_owned())
            .spawn(move || work_off(&work))
            .map_err(|error| Error::local_io("begin a thread for password hashes", error))?;
        // Of two that begin at once one is used, and the other one's thread ends with its queue.
        Ok(self.queue.get_or_init(|| queue))
    }
}

/// Ends with the last sender.
fn work_off(queue: &Receiver<Work>) {
    let mut memory = Vec::new();
    loop {
        match queue.recv_timeout(IDLE) {
            Ok(work) => work(&mut memory),
            Err(RecvTimeoutError::Timeout) => memory = Vec::new(),
            Err(RecvTimeoutError::Disconnected) => return,
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

    #[tokio::test]
    async fn nobody_has_no_password_and_costs_as_much() {
        let hasher = Hasher::default();
        for password in ["", "waybill-nobody-1", "\0"] {
            assert!(!hasher.verify(Secret::new(password.into()), None).await.unwrap());
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
        assert!(hasher.verify(Secret::new("correct horse".into()), hash()).await.unwrap());
        assert!(!hasher.verify(Secret::new("correct horsf".into()), hash()).await.unwrap());
        // And the other way round: what is made here, by the library. Other costs are read from the hash.
        let salt = *b"another salt 123";
        let own = hasher
            .turn(move |memory| {
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
        assert!(hasher.verify(Secret::new("p".into()), Some(Secret::new(own.to_string()))).await.unwrap());
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
        hasher.verify(Secret::new("x".into()), None).await.unwrap();
        let (memory, threads) = (status("VmRSS:"), status("Threads:"));
        let mut flood = tokio::task::JoinSet::new();
        for _ in 0..200 {
            let hasher = hasher.clone();
            flood.spawn(async move { hasher.verify(Secret::new("x".into()), None).await });
        }
        for answer in flood.join_all().await {
            assert!(!answer.unwrap());
        }
        assert!(status("VmRSS:") < memory + 10 * 1024, "{memory} kB, then {} kB", status("VmRSS:"));
        assert!(status("Threads:") <= threads + 1);
    }

    #[tokio::test]
    async fn more_than_may_wait_are_refused() {
        let hasher = std::sync::Arc::new(Hasher::default());
        let (go, held) = std::sync::mpsc::channel::<()>();
        let holder = hasher.clone();
        let holding = tokio::spawn(async move { holder.turn(move |_| held.recv().is_ok()).await });
        let mut refused = None;
        for _ in 0..QUEUE + 2 {
            let attempt = hasher.verify(Secret::new("x".into()), None);
            if let Ok(answer) = tokio::time::timeout(Duration::from_millis(1), attempt).await {
                refused = Some(answer.unwrap_err());
                break;
            }
        }
        assert_eq!(refused.unwrap().kind(), ErrorKind::Throttled);
        // Those who have gone meanwhile cost nothing.
        drop(go);
        assert!(!holding.await.unwrap().unwrap());
        assert!(!hasher.verify(Secret::new("x".into()), None).await.unwrap());
    }
}
