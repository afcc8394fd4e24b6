//! What is read once for a revision of the definitions: a passphrase takes long on purpose.

use model::Result;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What is kept under a name, or what is read now. Two that ask at once may both read.
pub(crate) fn once<T>(
    kept: &Mutex<BTreeMap<String, Arc<T>>>,
    name: &str,
    read: impl FnOnce() -> Result<T>,
) -> Result<Arc<T>> {
    let lock = || kept.lock().unwrap_or_else(PoisonError::into_inner);
    let known = lock().get(name).cloned();
    if let Some(known) = known {
        return Ok(known);
    }
    let new = Arc::new(read()?);
    lock().insert(name.to_owned(), Arc::clone(&new));
    Ok(new)
}
