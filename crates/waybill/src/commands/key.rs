//! `waybill key generate`: a new master key.

use super::write;
use model::{Error, ErrorKind, Result};
use std::process::ExitCode;
use store::MasterKeys;

pub(crate) fn generate() -> Result<ExitCode> {
    let mut key = [0; MasterKeys::LENGTH];
    openssl::rand::rand_bytes(&mut key)
        .map_err(|error| Error::permanent(ErrorKind::Internal, "generate a master key").caused_by(error))?;
    write::line(openssl::base64::encode_block(&key))?;
    Ok(ExitCode::SUCCESS)
}
