//! What is refused when a file endpoint, or a flow that polls it, is saved.

use super::*;
use model::definition::{ClaimBy, Order, PollSource, RetryPolicy, SettleWhen};
use model::{Mask, MaskSpec, OptionValue, Options};
use std::time::Duration;
use url::Url;

fn transport() -> FileTransport {
    FileTransport::new([PathBuf::from("/srv/waybill"), PathBuf::from("/mnt/exchange")])
}

fn endpoint(url: &str, set: &[(&str, &str)]) -> Endpoint {
    let mut options = Options::defaults(OPTIONS).unwrap();
    for (name, text) in set {
        let spec = OptionSpec::find(OPTIONS, name).unwrap();
        options.set(spec, OptionValue::parse(spec.kind, text).unwrap());
    }
    Endpoint {
        name: "place".into(),
        transport: "file".into(),
        url: Some(Url::parse(url).unwrap()),
        username: None,
        partner: None,
        identity: None,
        node: None,
        options,
    }
}

fn flow(after: After, error_directory: Option<&str>) -> Flow {
    Flow {
        name: "orders".into(),
        enabled: true,
        source: FlowSource::Poll(PollSource {
            endpoint: "place".into(),
            mask: Mask::new(&MaskSpec::default()).unwrap(),
            every: Duration::from_secs(60),
            stable_for: Duration::from_secs(5),
            read_limit: 10,
            order: Order::Arrival,
            recursive: false,
            ignore_times: false,
            after,
            error_directory: error_directory.map(str::to_owned),
            settle: SettleWhen::Recorded,
            claim: ClaimBy::Lease,
            retry: RetryPolicy::default(),
        }),
        destinations: Vec::new(),
        ordered: false,
        continue_after_failure: false,
        retention: Duration::ZERO,
    }
}

#[test]
fn an_endpoint_lies_below_an_allowed_root() {
    assert!(transport().check(&endpoint("file:///srv/waybill/in", &[])).is_ok());
    assert!(transport().check(&endpoint("file:///srv/waybill", &[])).is_ok());
    for (url, words) in [
        ("file:///etc", "/srv/waybill, /mnt/exchange"),
        ("file:///srv/waybills", "allowed roots"),
        ("file:///srv/waybill/%2e%2e/other", "outside the allowed roots"),
        ("file:///", "below one of the allowed roots"),
        ("file://host/srv/waybill", "name no host"),
        ("sftp://host/srv/waybill", "file:///"),
    ] {
        let error = transport().check(&endpoint(url, &[])).unwrap_err().to_string();
        assert!(error.contains(words), "{url}: {error}");
    }
}

#[test]
fn a_name_in_the_url_may_be_any_bytes() {
    let directory = transport().directory(&endpoint("file:///srv/waybill/caf%E9%20in", &[])).unwrap();
    assert_eq!(directory.as_bytes(), b"/srv/waybill/caf\xe9 in");
}

#[test]
fn prefixes_and_suffixes_no_file_can_have_are_refused() {
    assert!(transport().check(&endpoint("file:///srv/waybill", &[("prefix", "in-")])).is_ok());
    for option in ["prefix", "suffix", "temporary_suffix"] {
        for text in ["a*", "a/b", "\u{7}"] {
            let error = transport().check(&endpoint("file:///srv/waybill", &[(option, text)])).unwrap_err();
            assert!(error.to_string().contains(option), "{error}");
        }
    }
}

#[test]
fn archive_and_error_directories_lie_outside_the_polled_one_and_below_a_root() {
    let place = endpoint("file:///srv/waybill/in", &[]);
    let archive = |directory: &str| After::Archive { directory: directory.into(), timestamp: true };
    assert!(
        transport()
            .check_source(&place, &flow(archive("/mnt/exchange/done"), Some("/srv/waybill/bad")))
            .is_ok()
    );
    for (after, error, words) in [
        (archive("/srv/waybill/in/done"), None, "lies inside the polled directory"),
        (archive("/srv/waybill/in"), None, "lies inside the polled directory"),
        (After::Keep, Some("/srv/waybill/in/bad"), "lies inside the polled directory"),
        (After::Move { directory: "done".into() }, None, "absolute"),
        (archive("/var/done"), None, "allowed roots"),
        (archive(""), None, "name a directory"),
        (archive("/srv/waybill/x/../in"), None, "without '..'"),
    ] {
        let error = transport().check_source(&place, &flow(after, error)).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}
