//! The targets read the fuzzer's seeds: whole, cut and changed.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use fuzz_targets::{SEEDS, TARGETS};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

const CUTS: usize = 8;
const CHANGES: usize = 24;

/// The next of a row of numbers that is the same in each run.
fn next(state: &mut u64) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*state >> 33).unwrap()
}

fn names(folder: &Path) -> BTreeSet<String> {
    let stem = |entry: fs::DirEntry| entry.path().file_stem().unwrap().to_str().unwrap().to_owned();
    fs::read_dir(folder).unwrap().map(|entry| stem(entry.unwrap())).collect()
}

#[test]
fn each_target_reads_its_seeds_whole_cut_and_changed() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR"));
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&fuzz.join("fuzzer/bins")), targets);

    let folder = tempfile::tempdir().unwrap();
    let mut make = Command::new(fuzz.join("run.sh"));
    let made = make.arg("--seeds").arg(folder.path()).stdin(Stdio::null()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    SEEDS.set(folder.path().to_owned()).unwrap();
    let mut state = 0;
    for (name, target) in TARGETS {
        let seeds: Vec<_> =
            fs::read_dir(folder.path().join(name)).unwrap().map(|seed| seed.unwrap().path()).collect();
        assert!(!seeds.is_empty(), "{name}");
        for seed in seeds {
            println!("{}", seed.display());
            let seed = fs::read(seed).unwrap();
            target(&seed);
            for _ in 0..CUTS {
                target(&seed[..next(&mut state) % seed.len()]);
            }
            for _ in 0..CHANGES {
                let mut changed = seed.clone();
                changed[next(&mut state) % seed.len()] = next(&mut state).to_le_bytes()[0];
                target(&changed);
            }
        }
    }
}
