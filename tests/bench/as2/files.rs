//! `as2 pack` and `as2 unpack`, and a file that is written and synced: what the disk alone can do.

use super::material::{Cipher, Material};
use crate::measure::{Used, watch};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Packs the payload.
pub(super) fn pack(material: &Material, cipher: Cipher) -> Used {
    let message = material.message();
    // A message before this one is not part of what is measured: to remove it takes time too.
    drop(fs::remove_file(&message));
    pack_file(material, cipher, &material.payload(), &message)
}

/// Packs a file, signed and encrypted, with a signed receipt asked for.
pub(super) fn pack_file(material: &Material, cipher: Cipher, payload: &Path, message: &Path) -> Used {
    let mut command = Command::new(suites::waybill());
    command.args(["as2", "pack", "--from", "ACME", "--to", "GLOBEX", "--cipher", cipher.word()]);
    command.arg("--sign-key").arg(&material.acme.key).arg("--sign-cert").arg(&material.acme.certificate);
    command.arg("--encrypt-cert").arg(&material.globex.certificate);
    command.arg(payload).arg("--out").arg(message).stdout(Stdio::null());
    watch(command.spawn().unwrap())
}

/// Unpacks the message.
pub(super) fn unpack(material: &Material) -> Used {
    let out = material.root().join("unpacked");
    let mut command = Command::new(suites::waybill());
    command.args(["as2", "unpack", "--key"]).arg(&material.globex.key);
    command.arg("--cert").arg(&material.globex.certificate);
    command.arg("--partner-cert").arg(&material.acme.certificate);
    command.arg(material.message()).arg("--out").arg(&out).stdout(Stdio::null());
    let used = watch(command.spawn().unwrap());
    fs::remove_dir_all(&out).unwrap();
    used
}

/// Seconds for writing as many bytes as the payload has to a file, and syncing it.
pub(super) fn write(material: &Material) -> f64 {
    let path = material.root().join("written");
    let block = vec![7_u8; 256 * 1024];
    let begun = Instant::now();
    let mut file = File::create(&path).unwrap();
    for _ in 0..material.mib * 4 {
        file.write_all(&block).unwrap();
    }
    file.sync_all().unwrap();
    let took = begun.elapsed().as_secs_f64();
    fs::remove_file(&path).unwrap();
    took
}
