//! Staging from outside: on the operating system's files, and on disks that forget, fail and fill.

// Clippy knows tests by their attribute, and not what they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod area;
mod full;
mod parts;
mod power;
mod reading;
mod reflink;
mod sweeping;
mod trace;

use model::{PayloadId, Sha256};
use staging::{RealDisk, Settings, StagedPayload, Staging};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use testkit::clock::{FixedClock, SeededRandom};
use transport::{Clock, Random};

/// Nothing kept free: how full the machine's own disk is does not matter here.
const SETTINGS: Settings = Settings { min_free: 0, file_mode: 0o600, dir_mode: 0o700 };

/// An area on the operating system's files, gone with its directory.
fn real() -> (TempDir, Staging) {
    let directory = tempfile::tempdir().unwrap();
    let staging = open(directory.path());
    (directory, staging)
}

fn open(root: &Path) -> Staging {
    Staging::open(root, Arc::new(RealDisk), SETTINGS).unwrap()
}

/// The nth id, always the same.
fn id(n: u64) -> PayloadId {
    PayloadId::new(SeededRandom::new(n).uuid(FixedClock::default().now()))
}

fn bytes(seed: u64, length: usize) -> Vec<u8> {
    SeededRandom::new(seed).bytes(length)
}

fn hash(bytes: &[u8]) -> Sha256 {
    Sha256(openssl::sha::sha256(bytes))
}

fn stage(staging: &Staging, id: PayloadId, bytes: &[u8]) -> StagedPayload {
    let mut part = staging.begin(id).unwrap();
    bytes.chunks(10_000).for_each(|chunk| part.append(chunk).unwrap());
    part.commit().unwrap()
}

fn content(staging: &Staging, payload: &StagedPayload) -> Vec<u8> {
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut staging.read_verified(payload).unwrap(), &mut bytes).unwrap();
    bytes
}

/// The names in a subdirectory of an area.
fn names(root: &Path, directory: &str) -> Vec<String> {
    let entries = std::fs::read_dir(root.join(directory)).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn path_of(id: PayloadId) -> String {
    format!("payloads/{:02x}/{id}", id.uuid().as_bytes()[15])
}
