//! What is refused when a file endpoint, or a flow that polls it, is saved.

use super::*;
use model::Declaration;
use model::definition::{Flow, Order, PollSource};
use std::time::Duration;
use testkit::defined;
use transport::folder::After;

fn transport() -> FileTransport {
    FolderTransport::of(LocalFiles::new(["/srv/waybill", "/mnt/exchange"].map(PathBuf::from)))
}

fn endpoint(url: &str) -> Endpoint {
    defined::endpoint(&SPEC, "place", url, &[])
}

fn written(set: &[(&str, &str)]) -> Result<()> {
    let destination = defined::destination(&SPEC, "place", set);
    transport().check_destination(&endpoint("file:///srv/waybill/in"), &destination)
}

fn flow(after: After, error_directory: Option<&str>) -> Flow {
    defined::flow(
        "orders",
        defined::polling(
            PollSource { read_limit: 10, order: Order::Arrival, ..defined::poll("place", after) },
            |polling| {
                polling.error_directory = error_directory.map(str::to_owned);
                polling.stable_for = Duration::from_secs(5);
            },
        ),
    )
}

#[test]
fn an_endpoint_lies_below_an_allowed_root() {
    assert!(transport().check_endpoint(&endpoint("file:///srv/waybill/in")).is_ok());
    assert!(transport().check_endpoint(&endpoint("file:///srv/waybill")).is_ok());
    for (url, words) in [
        ("file:///etc", "/srv/waybill, /mnt/exchange"),
        ("file:///srv/waybills", "allowed roots"),
        ("file:///srv/waybill/%2e%2e/other", "outside the allowed roots"),
        ("file:///", "below one of the allowed roots"),
        ("file://host/srv/waybill", "name no host"),
        ("sftp://host/srv/waybill", "file:///"),
    ] {
        let error = transport().check_endpoint(&endpoint(url)).unwrap_err().to_string();
        assert!(error.contains(words), "{url}: {error}");
    }
}

#[test]
fn a_name_in_the_url_may_be_any_bytes() {
    let directory = options::directory(&endpoint("file:///srv/waybill/caf%E9%20in")).unwrap();
    assert_eq!(directory.as_bytes(), b"/srv/waybill/caf\xe9 in");
}

#[test]
fn prefixes_and_suffixes_no_file_can_have_are_refused() {
    assert!(written(&[("prefix", "in-")]).is_ok());
    for option in ["prefix", "suffix"] {
        for text in ["a*", "a/b", "\u{7}"] {
            let error = written(&[(option, text)]).unwrap_err();
            assert!(error.to_string().contains(option), "{error}");
        }
    }
}

#[test]
fn archive_and_error_directories_lie_outside_the_polled_one_and_below_a_root() {
    let place = endpoint("file:///srv/waybill/in");
    let archive = |directory: &str| After::Archive { directory: directory.into(), timestamp: true };
    assert!(
        transport()
            .check_source(&place, &flow(archive("/mnt/exchange/done"), Some("/srv/waybill/bad")))
            .is_ok()
    );
    for (after, error, words) in [
        (archive("/srv/waybill/in/done"), Some("/srv/waybill/bad"), "is inside the polled directory"),
        (archive("/srv/waybill/in"), Some("/srv/waybill/bad"), "is inside the polled directory"),
        (After::Keep, None, "'error_directory' is missing"),
        (After::Keep, Some("/srv/waybill/in/bad"), "is inside the polled directory"),
        (After::Move { directory: "done".into() }, Some("/srv/waybill/bad"), "absolute"),
        (archive("/var/done"), Some("/srv/waybill/bad"), "allowed roots"),
        (archive(""), Some("/srv/waybill/bad"), "name a directory"),
        (archive("/srv/waybill/x/../in"), Some("/srv/waybill/bad"), "without '..'"),
    ] {
        let error = transport().check_source(&place, &flow(after, error)).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}
