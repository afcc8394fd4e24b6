//! Downloads whose connections are cut in the middle go on where they were (Range), at Apache. An upload does not: WebDAV
//! has no way to go on with a PUT that broke off.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use model::Retry;
use support::{DavServer, World};
use testkit::clock::SeededRandom;
use testkit::proxy::{Behaviour, Direction, Ending, FaultProxy};
use testkit::through::{Attempt, take};

const MIB: u64 = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_is_cut_goes_on_and_an_upload_is_sent_again() {
    let server = DavServer::apache(&[]);
    let content = SeededRandom::new(3).bytes(6 * MIB as usize + 4321);
    std::fs::create_dir(server.files().join("in")).unwrap();
    std::fs::write(server.files().join("in/large.edi"), &content).unwrap();
    let world = World::new();
    let random = SeededRandom::new(9);
    let whole: url::Url = server.text("url").parse().unwrap();
    let port = whole.port().unwrap();
    for how in [Ending::Reset, Ending::Close] {
        let after = 2 * MIB + random.below(MIB as usize) as u64;
        let proxy = FaultProxy::before(([127, 0, 0, 1], port).into()).await.unwrap();
        let mut url = whole.clone();
        url.set_port(Some(proxy.address().port())).unwrap();
        let set = [("username", server.text("user")), ("password", server.text("password"))];
        let folder = world.folder(&support::endpoint(url.as_str(), &set));
        proxy.set(Behaviour::Cut { direction: Direction::Down, after, how }).await.unwrap();
        let (read, resumptions) = take(&folder, "/in", &world.services).await.unwrap();
        assert!(read == content, "{how:?} cut after {after}");
        assert!(resumptions.len() >= 2, "{how:?}: {resumptions:?}");
        let sent = proxy.bytes(Direction::Down);
        assert!(how == Ending::Reset || sent < 2 * content.len() as u64, "{how:?}: {sent} bytes");
        proxy.set(Behaviour::Cut { direction: Direction::Up, after, how }).await.unwrap();
        let attempt = Attempt::into("/in");
        let error = attempt.deliver(&folder, "b.edi", &content, &world.services).await.unwrap_err();
        assert_ne!(error.retry(), Retry::Permanent, "{error:?}");
    }
}
