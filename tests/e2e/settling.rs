//! Which files are taken, in which order, and what becomes of them at their source.

use serde_json::Value;
use std::fs::{self, File};
use std::time::{Duration, SystemTime};
use suites::eventually;
use suites::pair::{PATIENCE, Pair, Terms, events, files_in, put};

fn recorded(pair: &Pair) -> Vec<Value> {
    let found = pair.acme.json(&["transfer", "list", "--limit", "1000"]);
    found.as_array().unwrap().clone()
}

#[test]
fn archived_files_lie_whole_beside_the_folder() {
    let pair = Pair::new(&Terms::default());
    let archive = pair.sshd.directory().join("done");
    let source = format!(
        r#"mask = "*", every = "1s", stable_for = "0s", read_limit = 0, after = {{ archive = "{}" }}"#,
        archive.display()
    );
    let mut pair = pair;
    pair.acme.define("acme.toml", &pair.acme_document(&Terms { source: &source, ..Terms::default() }));
    pair.start();
    for name in ["a.edi", "b c.edi", "größe.edi"] {
        put(&pair.folder(), name.as_bytes(), name.as_bytes());
    }
    pair.wait_for_files(3);
    let archived = eventually("three files in the archive", PATIENCE, || {
        let found = if archive.is_dir() { files_in(&archive) } else { Default::default() };
        (found.len() == 3).then_some(found)
    });
    for (name, bytes) in &archived {
        let original = String::from_utf8(bytes.clone()).unwrap();
        let stem = original.strip_suffix(".edi").unwrap();
        assert!(
            name.starts_with(stem) && name.ends_with(".edi") && *name != original,
            "{name} for {original}"
        );
    }
    assert_eq!(files_in(&pair.folder()), []);
    // The same name again is a new file, and replaces nothing in the archive.
    put(&pair.folder(), b"a.edi", b"a.edi");
    eventually("four files in the archive", PATIENCE, || (files_in(&archive).len() == 4).then_some(()));
    assert_eq!(recorded(&pair).len(), 4);
}

#[test]
fn kept_files_are_taken_once_until_they_are_new() {
    let source = r#"mask = "*", every = "1s", stable_for = "0s", read_limit = 0, after = "keep""#;
    let mut pair = Pair::new(&Terms { source, ..Terms::default() });
    let path = put(&pair.folder(), b"kept.edi", b"first");
    pair.start();
    pair.acme.wait_for("completed", 1, PATIENCE);
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(recorded(&pair).len(), 1, "taken again while it lay there");
    assert!(pair.acme.stop().success());
    pair.acme.start();
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(recorded(&pair).len(), 1, "taken again after a start");

    // Other bytes under its name.
    put(&pair.folder(), b"kept.edi", b"second, longer");
    pair.acme.wait_for("completed", 2, PATIENCE);
    // Gone in a complete listing, and back with the same size and time.
    let times = File::open(&path).unwrap().metadata().unwrap().modified().unwrap();
    fs::remove_file(&path).unwrap();
    std::thread::sleep(Duration::from_secs(4));
    let back = put(&pair.folder(), b"kept.edi", b"thirdly, again");
    File::options().write(true).open(back).unwrap().set_modified(times).unwrap();
    pair.acme.wait_for("completed", 3, PATIENCE);
    assert_eq!(files_in(&pair.folder()).len(), 1);
}

#[test]
fn masks_choose_and_exclude() {
    let source = r#"mask = ["*.edi", "ORD?.txt"], exclude = "tmp*", every = "1s", stable_for = "0s", after = "delete""#;
    let mut pair = Pair::new(&Terms { source, ..Terms::default() });
    for name in ["a.edi", "ORD1.txt", "ORD12.txt", "tmp1.edi", "b.xml", ".hidden.edi"] {
        put(&pair.folder(), name.as_bytes(), name.as_bytes());
    }
    pair.start();
    pair.wait_for_files(2);
    std::thread::sleep(Duration::from_secs(3));
    let names: Vec<String> = files_in(&pair.warehouse()).into_iter().map(|(name, _)| name).collect();
    assert!(names.contains(&"a.edi".to_owned()) && names.contains(&"ORD1.txt".to_owned()), "{names:?}");
    for left in ["ORD12.txt", "tmp1.edi", "b.xml"] {
        assert!(pair.folder().join(left).exists(), "{left} was taken");
    }
}

#[test]
fn the_oldest_come_first_and_a_poll_takes_no_more_than_its_limit() {
    let source =
        r#"mask = "*", every = "2s", stable_for = "0s", read_limit = 2, order = "arrival", after = "delete""#;
    let mut pair = Pair::new(&Terms { source, ..Terms::default() });
    // Named and put so that neither the alphabet nor the listing gives the order away.
    let now = SystemTime::now();
    for (name, age) in [("c.edi", 500), ("a.edi", 100), ("e.edi", 400), ("b.edi", 300), ("d.edi", 200)] {
        let path = put(&pair.folder(), name.as_bytes(), name.as_bytes());
        File::options().write(true).open(path).unwrap().set_modified(now - Duration::from_secs(age)).unwrap();
    }
    pair.start();
    pair.wait_for_files(5);
    let mut taken = recorded(&pair);
    taken.sort_by_key(|transfer| transfer["recorded"].as_str().unwrap().to_owned());
    let names: Vec<&str> = taken.iter().map(|transfer| transfer["file_name"].as_str().unwrap()).collect();
    // Within a poll files are staged side by side; from poll to poll the order holds.
    let polls: Vec<Vec<&str>> = names
        .chunks(2)
        .map(|poll| {
            let mut poll = poll.to_vec();
            poll.sort_unstable();
            poll
        })
        .collect();
    assert_eq!(polls, [vec!["c.edi", "e.edi"], vec!["b.edi", "d.edi"], vec!["a.edi"]]);
}

#[test]
fn directories_below_are_looked_into_when_asked() {
    let source = r#"mask = "*.edi", recursive = true, every = "1s", stable_for = "0s", read_limit = 0, after = "delete""#;
    let mut pair = Pair::new(&Terms { source, ..Terms::default() });
    let deep = pair.folder().join("2026/straße");
    fs::create_dir_all(&deep).unwrap();
    put(&pair.folder(), b"top.edi", b"top");
    put(&deep, b"deep.edi", b"deep");
    pair.start();
    assert_eq!(
        pair.wait_for_files(2),
        [("deep.edi".to_owned(), b"deep".to_vec()), ("top.edi".to_owned(), b"top".to_vec())]
    );
    eventually("the deep file is deleted", PATIENCE, || files_in(&deep).is_empty().then_some(()));
    assert!(deep.is_dir(), "the directory itself is not ours to remove");
    let settled = events(&pair.acme, "offer.settled");
    assert!(settled.iter().any(|event| event.to_string().contains("2026/straße/deep.edi")), "{settled:?}");
}
