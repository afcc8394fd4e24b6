//! `as2 pack` and `unpack` beside one thread of OpenSSL doing the same digest and cipher.

use crate::measure::{RUNS, median, watch};
use openssl::hash::{Hasher, MessageDigest};
use openssl::symm::{Cipher, Crypter, Mode};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;
use suites::KeyPair;

const CHUNK: usize = 256 * 1024;

pub(crate) fn run() {
    let mib: u64 = std::env::var("WAYBILL_BENCH_MIB").ok().and_then(|text| text.parse().ok()).unwrap_or(1024);
    let place = tempfile::tempdir().unwrap();
    let (acme, globex) = (KeyPair::make(place.path(), "acme"), KeyPair::make(place.path(), "globex"));
    let payload = place.path().join("payload.bin");
    fill(&payload, mib);
    let message = place.path().join("message");
    let out = place.path().join("out");
    let pack = || {
        let mut command = Command::new(suites::waybill());
        command.args(["as2", "pack", "--from", "ACME", "--to", "GLOBEX", "--sign-key"]).arg(&acme.key);
        command.arg("--sign-cert").arg(&acme.certificate).arg("--encrypt-cert").arg(&globex.certificate);
        command.arg(&payload).arg("--out").arg(&message).stdout(Stdio::null());
        // A message before this one is not part of what is measured: to remove it takes time too.
        drop(std::fs::remove_file(&message));
        watch(command.spawn().unwrap())
    };
    let unpack = || {
        let mut command = Command::new(suites::waybill());
        command.args(["as2", "unpack", "--key"]).arg(&globex.key).arg("--cert").arg(&globex.certificate);
        command
            .arg("--partner-cert")
            .arg(&acme.certificate)
            .arg(&message)
            .arg("--out")
            .arg(&out)
            .stdout(Stdio::null());
        let measured = watch(command.spawn().unwrap());
        std::fs::remove_dir_all(&out).unwrap();
        measured
    };
    println!("| {mib} MiB | MB/s | of one thread of openssl | peak memory, MiB |\n|---|---|---|---|");
    for (name, mode, act) in [
        ("as2 pack", Mode::Encrypt, &pack as &dyn Fn() -> (std::time::Duration, f64)),
        ("as2 unpack", Mode::Decrypt, &unpack),
    ] {
        let (mut ours, mut raw, mut peak) = (Vec::new(), Vec::new(), 0.0_f64);
        for _ in 0..RUNS {
            let (took, memory) = act();
            ours.push(speed(mib, took.as_secs_f64()));
            raw.push(speed(mib, one_thread(mib, mode)));
            peak = peak.max(memory);
        }
        let (ours, raw) = (median(ours), median(raw));
        println!("| {name} | {ours:.0} | {:.0} % of {raw:.0} | {peak:.1} |", 100.0 * ours / raw);
    }
}

fn speed(mib: u64, seconds: f64) -> f64 {
    (mib << 20) as f64 / 1e6 / seconds
}

/// Seconds that one thread takes for the digest of so many MiB and the cipher over them.
fn one_thread(mib: u64, mode: Mode) -> f64 {
    let cipher = Cipher::aes_256_cbc();
    let mut crypter = Crypter::new(cipher, mode, &[1; 32], Some(&[2; 16])).unwrap();
    crypter.pad(false);
    let mut hasher = Hasher::new(MessageDigest::sha256()).unwrap();
    let (input, mut output) = (vec![7_u8; CHUNK], vec![0_u8; CHUNK + 32]);
    let begun = Instant::now();
    for _ in 0..(mib << 20) / CHUNK as u64 {
        hasher.update(&input).unwrap();
        crypter.update(&input, &mut output).unwrap();
    }
    hasher.finish().unwrap();
    begun.elapsed().as_secs_f64()
}

fn fill(path: &Path, mib: u64) {
    let mut file = File::create(path).unwrap();
    let mut block = vec![0; 1 << 20];
    for _ in 0..mib {
        openssl::rand::rand_bytes(&mut block).unwrap();
        file.write_all(&block).unwrap();
    }
}
