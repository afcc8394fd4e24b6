//! Packing and unpacking a large file takes no more memory than a small one.

use std::fs::{self, File};
use std::io::Write;
use std::process::Command;
use suites::{KeyPair, waybill};

const LENGTH: usize = 256 * 1024 * 1024;
/// Peak resident memory allowed, in KiB.
const MOST: u64 = 64 * 1024;

#[test]
fn packing_and_unpacking_a_large_file_stays_under_64_mib() {
    let root = tempfile::tempdir().unwrap();
    let sender = KeyPair::make(root.path(), "sender");
    let receiver = KeyPair::make(root.path(), "receiver");
    let path = |name: &str| root.path().join(name).to_str().unwrap().to_owned();
    let mut block = vec![0; 1024 * 1024];
    openssl::rand::rand_bytes(&mut block).unwrap();
    let mut file = File::create(path("large.bin")).unwrap();
    for number in 0..LENGTH / block.len() {
        block[0] = u8::try_from(number % 256).unwrap();
        file.write_all(&block).unwrap();
    }
    drop(file);
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
