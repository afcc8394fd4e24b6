//! Passwords and their hashes.

use crate::site::Site;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use model::{Error, ErrorKind, Result, Secret};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What OWASP's Password Storage Cheat Sheet asks of Argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Made with the same costs, of no password: checked for users that do not exist, so that the answer
/// takes as long as for those that do.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$d2F5YmlsbC1ub2JvZHktMQ\
                      $AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Hashes passwords off the async threads, a few at a time: each takes 19 MiB and 20 ms of a core.
pub(crate) struct Hasher {
    turns: Arc<Semaphore>,
}

impl Default for Hasher {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(2)) }
    }
}

impl Hasher {
    /// The hash of a new password, in PHC string form.
    pub(crate) async fn hash(&self, site: &Site, password: Secret<String>) -> Result<Secret<String>> {
        let mut salt = [0; 16];
        site.fill(&mut salt);
        self.turn(move || {
            let hash: PasswordHash = argon2()?
                .hash_password_with_salt(password.reveal().as_bytes(), &salt)
                .map_err(|cause| failed(&cause))?;
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
        self.turn(move || {
            let known = hash.is_some();
            let hash = hash.as_ref().map_or(NOBODY, |hash| hash.reveal().as_str());
            let hash = PasswordHash::new(hash).map_err(|cause| failed(&cause))?;
            Ok(argon2()?.verify_password(password.reveal().as_bytes(), &hash).is_ok() && known)
        })
        .await?
    }

    async fn turn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let turn = self.turns.clone().acquire_owned().await.map_err(|cause| failed(&cause))?;
        tokio::task::spawn_blocking(move || {
            let answer = work();
            drop(turn);
            answer
        })
        .await
        .map_err(|cause| failed(&cause))
    }
}

fn argon2() -> Result<Argon2<'static>> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|cause| failed(&cause))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// The library's errors are told by their text: not all of them are errors to Rust's standard library.
fn failed(cause: &dyn std::fmt::Display) -> Error {
    Error::permanent(ErrorKind::Internal, "check a password").with("cause", cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
