//! What a new transport's tests begin with: the conformance suite, and the whole transport by its declaration.

use crate::Shelves;
use crate::connection::Server;
use crate::options::SPEC;
use model::definition::{Definitions, Endpoint};
use model::{ErrorKind, Purpose, Step};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use testkit::clock::FixedClock;
use testkit::conformance::{Place, all};
use testkit::defined;
use testkit::fake::{MemoryFolder, services};
use transport::folder::{After, FolderTransport, FolderUse};
use transport::{Declaration, Services, Transport};

fn server() -> Server {
    let files = MemoryFolder::new();
    files.put("in/a.edi", *b"ISA*00");
    Server { files, password: "open sesame", open: Arc::default(), most: Arc::default() }
}

fn endpoint(password: &str) -> Arc<Endpoint> {
    let set = [("username", "waybill"), ("password", password), ("connections", "3")];
    Arc::new(defined::endpoint(&SPEC, "acme", "shelf://shelf.example/in", &set))
}

fn lent() -> Services {
    services(Arc::new(FixedClock::default()))
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms() {
    let server = server();
    let transport = FolderTransport::of(Shelves::new(server.clone()));
    let folder = transport.folder(&endpoint("open sesame"), FolderUse::of(Purpose::Poll), &lent()).unwrap();
    let number = AtomicUsize::new(0);
    all(|| async {
        let number = number.fetch_add(1, Ordering::Relaxed);
        let (directory, beside) = (format!("place-{number}"), format!("beside-{number}"));
        folder.make_directory(&directory.as_str().into()).await.unwrap();
        Place::new(Arc::clone(&folder), directory.as_str(), beside.as_str())
    })
    .await;
    let most = server.most.load(Ordering::SeqCst);
    assert!((1..=3).contains(&most), "{most} connections at a time");
}

#[tokio::test]
async fn the_declaration_makes_it_a_whole_transport() {
    let server = server();
    let transport = FolderTransport::of(Shelves::new(server.clone()));
    let endpoint = endpoint("open sesame");
    let flow = Arc::new(defined::flow("orders", defined::poll("acme", After::Keep)));
    let defined = defined::destination(&SPEC, "acme", &[("prefix", "in-")]);
    let source = transport.source(Arc::clone(&endpoint), flow, lent()).unwrap();
    let destination = transport.destination(endpoint, &defined, lent()).unwrap();
    let steps = |probe: &model::Probe| probe.steps.iter().map(|step| step.step).collect::<Vec<_>>();
    let probe = source.probe().await;
    assert!(probe.passed(), "{probe:?}");
    assert_eq!(steps(&probe), [Step::Name, Step::Tcp, Step::Login, Step::List, Step::Open]);
    let probe = destination.probe().await;
    assert!(probe.passed(), "{probe:?}");
    let expected = [Step::Name, Step::Tcp, Step::Login, Step::Write, Step::Publish, Step::Delete];
    assert_eq!(steps(&probe), expected);
    assert_eq!(server.files.files(), ["in/a.edi"]);
}

#[test]
fn every_mistake_is_found_at_its_own_field() {
    let transport = FolderTransport::of(Shelves::new(server()));
    let all = Definitions::default();
    let found = |endpoint: &Endpoint| {
        defined::findings(|findings| transport.check_endpoint(endpoint, &all, findings))
    };
    let good = endpoint("open sesame");
    assert_eq!(found(&good), [""; 0]);
    let nobody = defined::endpoint(&SPEC, "acme", "shelf://shelf.example/in", &[]);
    let expected = [
        "username: is empty: name the user to log in as",
        "password: is empty: shelves let nobody in without",
    ];
    assert_eq!(found(&nobody), expected);
    let archive = After::Archive { directory: "in/done".into(), timestamp: true };
    let poll = defined::polling(defined::poll("acme", archive), |polling| {
        polling.error_directory = Some("../bad".into());
    });
    let found = defined::findings(|findings| transport.check_source(&good, &poll, findings));
    assert!(
        matches!(&found[..], [archive, error] if archive.starts_with("after.archive: ") && error.starts_with("error_directory: ")),
        "{found:?}"
    );
    let write = |set: &[(&str, &str)]| {
        let destination = defined::destination(&SPEC, "acme", set);
        defined::findings(|findings| transport.check_destination(&good, &destination, findings))
    };
    assert_eq!(write(&[("prefix", "in-")]), [""; 0]);
    let found = write(&[("prefix", "a/b"), ("suffix", "*")]);
    assert!(
        matches!(&found[..], [prefix, suffix] if prefix.starts_with("prefix: ") && suffix.starts_with("suffix: ")),
        "{found:?}"
    );
}

#[tokio::test]
async fn a_login_that_is_refused_ends_the_test_of_the_endpoint_there() {
    let transport = FolderTransport::of(Shelves::new(server()));
    let flow = Arc::new(defined::flow("orders", defined::poll("acme", After::Keep)));
    let probe = transport.source(endpoint("sesame"), flow, lent()).unwrap().probe().await;
    let last = probe.steps.last().unwrap();
    assert_eq!(
        (last.step, last.result.as_ref().unwrap_err().kind()),
        (Step::Login, ErrorKind::Unauthenticated)
    );
}
