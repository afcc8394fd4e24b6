//! What is refused when a file endpoint, or a flow that polls it, is saved.

use super::*;
use model::Declaration;
use model::definition::{Definitions, Order, PollSource};
use std::time::Duration;
use testkit::defined;
use transport::folder::After;

fn transport() -> FileTransport {
    FolderTransport::of(LocalFiles::new(["/srv/waybill", "/mnt/exchange"].map(PathBuf::from)))
}

fn endpoint(url: &str) -> Endpoint {
    defined::endpoint(&SPEC, "place", url, &[])
}

fn written(set: &[(&str, &str)]) -> Vec<String> {
    let destination = defined::destination(&SPEC, "place", set);
    let endpoint = endpoint("file:///srv/waybill/in");
    defined::findings(|findings| transport().check_destination(&endpoint, &destination, findings))
}

fn endpoint_of(url: &str) -> Vec<String> {
    let all = Definitions::default();
    defined::findings(|findings| transport().check_endpoint(&endpoint(url), &all, findings))
}

fn polled(url: &str, after: After, error_directory: Option<&str>) -> Vec<String> {
    let poll = defined::polling(
        PollSource { read_limit: 10, order: Order::Arrival, ..defined::poll("place", after) },
        |polling| {
            polling.error_directory = error_directory.map(str::to_owned);
            polling.stable_for = Duration::from_secs(5);
        },
    );
    defined::findings(|findings| transport().check_source(&endpoint(url), &poll, findings))
}

#[test]
fn an_endpoint_lies_below_an_allowed_root() {
    assert_eq!(endpoint_of("file:///srv/waybill/in"), [""; 0]);
    assert_eq!(endpoint_of("file:///srv/waybill"), [""; 0]);
    for (url, words) in [
        ("file:///etc", "/etc is outside the allowed roots (/srv/waybill, /mnt/exchange)"),
        ("file:///srv/waybills", "allowed roots"),
        ("file:///srv/waybill/%2e%2e/other", "outside the allowed roots"),
        ("file:///", "below one of the allowed roots"),
        ("file://host/srv/waybill", "names a host"),
        ("sftp://host/srv/waybill", "file:///"),
    ] {
        let found = endpoint_of(url);
        let [line] = &found[..] else { panic!("{url}: {found:?}") };
        assert!(line.starts_with("url: ") && line.contains(words), "{url}: {line}");
    }
}

#[test]
fn a_name_in_the_url_may_be_any_bytes() {
    let directory = options::directory(&endpoint("file:///srv/waybill/caf%E9%20in")).unwrap();
    assert_eq!(directory.as_bytes(), b"/srv/waybill/caf\xe9 in");
}

#[test]
fn prefixes_and_suffixes_no_file_can_have_are_refused() {
    assert_eq!(written(&[("prefix", "in-")]), [""; 0]);
    for field in ["prefix", "suffix"] {
        for text in ["a*", "a/b", "\u{7}"] {
            let found = written(&[(field, text)]);
            let [line] = &found[..] else { panic!("{text}: {found:?}") };
            assert!(line.starts_with(&format!("{field}: contains")), "{line}");
        }
    }
    let found = written(&[("prefix", "a/b"), ("suffix", "*"), ("permissions", "rw")]);
    assert_eq!(found.len(), 3, "{found:?}");
}

const PLACE: &str = "file:///srv/waybill/in";

#[test]
fn archive_and_error_directories_lie_outside_the_polled_one_and_below_a_root() {
    let archive = |directory: &str| After::Archive { directory: directory.into(), timestamp: true };
    let bad = Some("/srv/waybill/bad");
    assert_eq!(polled(PLACE, archive("/mnt/exchange/done"), bad), [""; 0]);
    for (after, error, field, words) in [
        (archive("/srv/waybill/in/done"), bad, "after.archive", "is inside the polled directory"),
        (archive("/srv/waybill/in"), bad, "after.archive", "is inside the polled directory"),
        (After::Keep, None, "warning: ", "has no 'error_directory'"),
        (After::Keep, Some("/srv/waybill/in/bad"), "error_directory", "is inside the polled directory"),
        (After::Move { directory: "done".into() }, bad, "after.move", "absolute"),
        (archive("/var/done"), bad, "after.archive", "allowed roots"),
        (archive(""), bad, "after.archive", "name a directory"),
        (archive("/srv/waybill/x/../in"), bad, "after.archive", "without it"),
    ] {
        let found = polled(PLACE, after, error);
        let [line] = &found[..] else { panic!("{words}: {found:?}") };
        assert!(line.starts_with(&format!("{field}: ")) && line.contains(words), "{line}");
    }
    // All at once, and what does not need the endpoint's directory where that is wrong.
    let found = polled(PLACE, archive("done"), Some("/srv/waybill/in/bad"));
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(polled("file:///etc", archive("done"), Some("/srv/waybill/in/bad")).len(), 1);
}
