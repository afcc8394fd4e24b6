//! `waybill demo`, as the README's first command runs it.

use suites::run;

#[test]
fn the_demonstration_ends_well_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("a place, 100% #1");
    let place = place.to_str().unwrap();
    let (status, out, error) = run(&["demo", "--exit-when-done", "--directory", place]);
    assert!(status.success(), "{status}\n{out}\n{error}");
    for words in
        ["arrived complete", "MICs matched", "connections audited", "seals verified   yes", "all is well"]
    {
        assert!(out.contains(words), "no {words:?} in\n{out}");
    }
    assert!(!out.contains("WRONG"), "{out}");
    // What lies there now is left alone.
    let (status, out, error) = run(&["demo", "--exit-when-done", "--directory", place]);
    assert_eq!(status.code(), Some(1), "{out}");
    assert!(error.contains("not empty"), "{error}");
}
