//! Passwords: which are accepted, how they are hashed, and how one is compared with its hash.
//!
//! Hashes are Argon2id in PHC string form. Each takes 19 MiB and about 20 ms: callers that hash for strangers
//! limit how many run at a time.

use argon2::password_hash::phc::{Output, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use model::{Error, ErrorKind, Result, Secret};

/// Longest user name, in bytes.
pub const LONGEST_NAME: usize = 64;
/// Shortest password of a new user, in characters.
pub const SHORTEST_PASSWORD: usize = 12;
/// Longest password, in bytes.
pub const LONGEST_PASSWORD: usize = 1024;

/// What OWASP's Password Storage Cheat Sheet asks of Argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// The hash of no password, made with the same costs: checked for users that do not exist, so that the answer
/// takes as long as for those that do.
const NO_PASSWORD: &str = "$argon2id$v=19$m=19456,t=2,p=1$d2F5YmlsbC1ub2JvZHktMQ\
                           $AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The memory of a hash, to be used again by the next.
#[derive(Default)]
pub struct HashMemory(Vec<Block>);

/// Why a name is not accepted for a new user, as a sentence.
#[must_use]
pub fn name_problem(name: &str) -> Option<String> {
    let accepted = (1..=LONGEST_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_@".contains(&byte));
    let text = || format!("A user name has 1 to {LONGEST_NAME} characters: letters, digits and . - _ @");
    (!accepted).then(text)
}

/// Why a password is not accepted for that user, as a sentence.
#[must_use]
pub fn password_problem(name: &str, password: &Secret<String>) -> Option<String> {
    let password = password.reveal();
    if password.chars().count() < SHORTEST_PASSWORD {
        return Some(format!("The password is too short: at least {SHORTEST_PASSWORD} characters."));
    }
    if password.len() > LONGEST_PASSWORD {
        return Some(format!("The password is too long: at most {LONGEST_PASSWORD} bytes."));
    }
    if password.eq_ignore_ascii_case(name) {
        return Some("The password must not be the user name.".to_owned());
    }
    None
}

/// The hash of a password. `salt` is random.
///
/// # Errors
/// The library refused, such as for want of memory.
pub fn hash(password: &Secret<String>, salt: &[u8; 16], memory: &mut HashMemory) -> Result<Secret<String>> {
    hash_with(params(MEMORY_KIB, PASSES, LANES)?, password, salt, memory)
}

fn hash_with(
    params: Params,
    password: &Secret<String>,
    salt: &[u8; 16],
    memory: &mut HashMemory,
) -> Result<Secret<String>> {
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: (&params).try_into().map_err(|cause| failed(&cause))?,
        salt: Some(Salt::new(salt).map_err(|cause| failed(&cause))?),
        hash: Some(digest(Version::V0x13, params, password, salt, memory)?),
    };
    Ok(Secret::new(hash.to_string()))
}

/// Whether the password is the one that was hashed. Never so without a hash, after the same work.
///
/// # Errors
/// The stored hash is none of Argon2id; the library refused.
pub fn verify(
    password: &Secret<String>,
    hash: Option<&Secret<String>>,
    memory: &mut HashMemory,
) -> Result<bool> {
    let stored = hash.map_or(NO_PASSWORD, |hash| hash.reveal().as_str());
    let stored = PasswordHash::new(stored).map_err(|cause| failed(&cause))?;
    let (Some(salt), Some(wanted)) = (&stored.salt, &stored.hash) else {
        return Err(failed(&"the stored hash is not complete"));
    };
    if stored.algorithm != Algorithm::Argon2id.ident() {
        return Err(failed(&"the stored hash is not an Argon2id hash"));
    }
    let version = stored.version.map_or(Ok(Version::V0x13), Version::try_from);
    let version = version.map_err(|cause| failed(&cause))?;
    let params = Params::try_from(&stored).map_err(|cause| failed(&cause))?;
    // Compared in constant time.
    Ok(digest(version, params, password, salt.as_ref(), memory)? == *wanted && hash.is_some())
}

fn params(memory: u32, passes: u32, lanes: u32) -> Result<Params> {
    Params::new(memory, passes, lanes, None).map_err(|cause| failed(&cause))
}

fn digest(
    version: Version,
    params: Params,
    password: &Secret<String>,
    salt: &[u8],
    memory: &mut HashMemory,
) -> Result<Output> {
    let length = params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
    let mut bytes = vec![0; length];
    memory.0.resize(params.block_count(), Block::default());
    Argon2::new(Algorithm::Argon2id, version, params)
        .hash_password_into_with_memory(password.reveal().as_bytes(), salt, &mut bytes, &mut memory.0[..])
        .map_err(|cause| failed(&cause))?;
    Output::new(&bytes).map_err(|cause| failed(&cause))
}

/// The library's errors are kept as text: not all of them are errors to Rust's standard library.
fn failed(cause: &dyn std::fmt::Display) -> Error {
    Error::permanent(ErrorKind::Internal, "check a password").with("cause", cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::password_hash::{PasswordHasher, PasswordVerifier};

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    #[test]
    fn a_user_that_does_not_exist_has_no_password_and_costs_as_much() {
        let mut memory = HashMemory::default();
        for password in ["", "waybill-nobody-1", "\0"] {
            assert!(!verify(&secret(password), None, &mut memory).unwrap());
        }
        let nobody = PasswordHash::new(NO_PASSWORD).unwrap();
        let params = Params::try_from(&nobody).unwrap();
        assert_eq!((params.m_cost(), params.t_cost(), params.p_cost()), (MEMORY_KIB, PASSES, LANES));
        assert_eq!(nobody.hash.unwrap().as_bytes().len(), 32);
    }

    /// What the library makes of the same, so that hashes of other versions and makers stay valid.
    #[test]
    fn hashes_are_the_librarys_own() {
        let mut memory = HashMemory::default();
        let argon2 =
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params(MEMORY_KIB, PASSES, LANES).unwrap());
        let made: PasswordHash =
            argon2.hash_password_with_salt(b"correct horse", b"sixteen bytes ab").unwrap();
        let made = secret(&made.to_string());
        assert!(verify(&secret("correct horse"), Some(&made), &mut memory).unwrap());
        assert!(!verify(&secret("correct horsf"), Some(&made), &mut memory).unwrap());
        // And the other way round: what is made here, by the library. Other costs are read from the hash.
        for params in [params(8 * 1024, 3, 1).unwrap(), params(MEMORY_KIB, PASSES, LANES).unwrap()] {
            let own = hash_with(params, &secret("p"), b"another salt 123", &mut memory).unwrap();
            argon2.verify_password(b"p", &PasswordHash::new(own.reveal()).unwrap()).unwrap();
            assert!(verify(&secret("p"), Some(&own), &mut memory).unwrap());
        }
        assert!(
            verify(&secret("p"), Some(&secret("$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAA")), &mut memory)
                .is_err()
        );
    }

    #[test]
    fn weak_passwords_and_odd_names_are_refused() {
        for name in ["", "a b", "é", "a\n", &"x".repeat(65)] {
            assert!(name_problem(name).is_some(), "{name:?}");
        }
        assert_eq!(name_problem("ada.lovelace@acme-1_x"), None);
        let problem =
            |password: &str| password_problem("administrator", &secret(password)).unwrap_or_default();
        assert!(problem("elevenchars").contains("too short"));
        assert!(problem(&"x".repeat(1025)).contains("too long"));
        assert!(problem("Administrator").contains("must not be the user name"));
        assert_eq!(problem("twelve chars"), "");
    }
}
