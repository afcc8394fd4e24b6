//! Packing and unpacking a large file takes no more memory than a small one.

use crate::hub::{Hub, random};
use crate::pgp::{define, two};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use suites::{KeyPair, eventually, waybill};

const LENGTH: usize = 256 * 1024 * 1024;
/// Peak resident memory allowed, in KiB.
const MOST: u64 = 64 * 1024;

#[test]
fn packing_and_unpacking_a_large_file_stays_under_64_mib() {
    let root = tempfile::tempdir().unwrap();
    let sender = KeyPair::make(root.path(), "sender");
    let receiver = KeyPair::make(root.path(), "receiver");
    let path = |name: &str| root.path().join(name).to_str().unwrap().to_owned();
    fill(&root.path().join("large.bin"));
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let packing = peak(&[
        "as2",
        "pack",
        "--from",
        "A",
        "--to",
        "B",
        "--sign-key",
        &text(&sender.key),
        "--sign-cert",
        &text(&sender.certificate),
        "--encrypt-cert",
        &text(&receiver.certificate),
        &path("large.bin"),
        "--out",
        &path("message"),
    ]);
    assert!(packing < MOST, "packing took {packing} KiB");
    let unpacking = peak(&[
        "as2",
        "unpack",
        "--key",
        &text(&receiver.key),
        "--cert",
        &text(&receiver.certificate),
        "--partner-cert",
        &text(&sender.certificate),
        &path("message"),
        "--out",
        &path("out"),
    ]);
    assert!(unpacking < MOST, "unpacking took {unpacking} KiB");
    println!("peak: packing {packing} KiB, unpacking {unpacking} KiB");
    let same = Command::new("cmp").args([path("large.bin"), path("out/large.bin")]).status().unwrap();
    assert!(same.success());
    assert_eq!(fs::read_dir(path("out")).unwrap().count(), 1);
}

/// OpenPGP's messages are made and read by gateways only: what is measured is how much more memory each of them takes than for
/// a small message before.
#[test]
fn a_large_message_by_pgp_takes_each_gateway_less_than_64_mib_more() {
    let (_gpg, mut one, mut other) = two([("ed25519", "cv25519"), ("ed25519", "cv25519")]);
    let agreement = "send.packaging = \"pgp\"\nreceive.largest = \"1GiB\"";
    define(&other, "OTHER", "ONE", &one.url(), agreement);
    define(&one, "ONE", "OTHER", &other.url(), agreement);
    other.gateway.start();
    one.gateway.start();
    one.put("small.bin", &random(1024 * 1024));
    arrived(&one, &other, "small.bin");
    let before = [&one, &other].map(|hub| peak_of(hub.gateway.pid()));
    let original = one.root.path().join("large.bin");
    fill(&original);
    // The gateway deletes its name of it.
    fs::hard_link(&original, one.root.path().join("out/large.bin")).unwrap();
    arrived(&one, &other, "large.bin");
    let [sender, receiver] = [&one, &other].map(|hub| peak_of(hub.gateway.pid()));
    println!(
        "peak: the sender {sender} KiB ({} before), the receiver {receiver} KiB ({} before)",
        before[0], before[1]
    );
    for (name, before, after) in [("sender", before[0], sender), ("receiver", before[1], receiver)] {
        assert!(after - before < MOST, "the {name} took {before} KiB, then {after} KiB");
    }
    let arrived = other.root.path().join("in/large.bin");
    assert!(Command::new("cmp").args([original, arrived]).status().unwrap().success());
}

/// Waits until a file has been delivered by the one, and by the other.
fn arrived(one: &Hub, other: &Hub, name: &str) {
    for hub in [one, other] {
        eventually(&format!("{name} is delivered\n{}", hub.gateway.log()), Duration::from_secs(300), || {
            let found = hub.gateway.json(&["transfer", "list", "--file", name]);
            (found[0]["state"] == "completed").then_some(())
        });
    }
}

/// Writes a file of no pattern that compresses.
fn fill(path: &Path) {
    let mut block = vec![0; 1024 * 1024];
    openssl::rand::rand_bytes(&mut block).unwrap();
    let mut file = File::create(path).unwrap();
    for number in 0..LENGTH / block.len() {
        block[0] = u8::try_from(number % 256).unwrap();
        file.write_all(&block).unwrap();
    }
}

/// The most resident memory that a process had, in KiB.
fn peak_of(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Runs a command of the binary and gives the peak of its resident memory in KiB, as the kernel counted it.
fn peak(arguments: &[&str]) -> u64 {
    let measure = "import resource, subprocess, sys\n\
                   code = subprocess.run(sys.argv[1:], stdout=sys.stderr).returncode\n\
                   print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n\
                   sys.exit(code)";
    let output =
        Command::new("python3").args(["-c", measure]).arg(waybill()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}
