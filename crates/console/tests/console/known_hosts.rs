//! The list of known hosts: nothing is trusted without a look at its fingerprint, and only those may change it who may.

use super::inside;
use crate::browser::check_html;
use crate::support::World;
use http::StatusCode;
use model::{HostKeyStanding, OfferedHostKey, Role};
use store::UserChange;

const PATH: &str = "/known-hosts";

async fn give(world: &World, role: Role) {
    let change = UserChange { role: Some(role), ..UserChange::default() };
    world.store.change_user("ada", change, world.now(), vec![]).await.unwrap();
}

fn shows(page: &str, words: &[&str]) {
    check_html(PATH, page);
    for word in words {
        assert!(page.contains(word), "{word}\n{page}");
    }
}

#[tokio::test]
async fn a_pasted_line_is_compared_and_confirmed_before_it_is_added() {
    let (world, mut browser) = inside().await;
    shows(
        &browser.get(PATH).await.text,
        &["No known hosts yet.", "id=\"text\"", "Show fingerprints", "aria-current=\"page\">Known hosts"],
    );
    let text = "getafix,172.22.52.130 ssh-ed25519 AAA a <comment>";
    let review = browser.post("/known-hosts/read", &[("text", text)]).await;
    assert_eq!(review.status, StatusCode::OK);
    shows(&review.text, &["Compare fingerprints", "SHA256:AAA", "I have compared"]);
    assert!(world.store.known_hosts().await.unwrap().hosts.is_empty());

    let form =
        |compared: &'static str| [("text", text), ("fingerprints", "SHA256:AAA "), ("compared", compared)];
    let refused = browser.post("/known-hosts/add", &form("")).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    shows(&refused.text, &["not confirmed", "SHA256:AAA"]);
    let added = browser.post("/known-hosts/add", &form("yes")).await;
    assert_eq!((added.status, added.location()), (StatusCode::SEE_OTHER, PATH));
    let host = world.store.known_hosts().await.unwrap().hosts.remove(0);
    shows(
        &browser.get(PATH).await.text,
        &["getafix,172.22.52.130", "SHA256:AAA", "a &#60;comment&#62;", "ada"],
    );
    assert!(browser.get("/known-hosts?search=none").await.text.contains("No known hosts match"));
    assert!(browser.get("/known-hosts?search=GETAFIX").await.text.contains("SHA256:AAA"));

    // A changed key asks what becomes of the old one.
    let changed = "getafix ssh-ed25519 NEW";
    let review = browser.post("/known-hosts/read", &[("text", changed)]).await;
    shows(
        &review.text,
        &["Another key of this type is on file", "SHA256:AAA", "SHA256:NEW", "value=\"replace\""],
    );
    let form = [("text", changed), ("fingerprints", "SHA256:NEW"), ("compared", "yes")];
    let refused = browser.post("/known-hosts/add", &form).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let form = [&form[..], &[("others", "replace")]].concat();
    // A form that did not show the key on file replaces nothing.
    let unseen = browser.post("/known-hosts/add", &form).await;
    assert_eq!(unseen.status, StatusCode::UNPROCESSABLE_ENTITY);
    shows(&unseen.text, &["compare again", "name=\"on_file\" value=\"SHA256:AAA "]);
    let form = [&form[..], &[("on_file", "SHA256:AAA ")]].concat();
    assert_eq!(browser.post("/known-hosts/add", &form).await.status, StatusCode::SEE_OTHER);
    let hosts = world.store.known_hosts().await.unwrap().hosts;
    // The old key stays for the other name of its line.
    let lines: Vec<&str> = hosts.iter().map(|host| host.line.as_str()).collect();
    assert_eq!(lines, [changed, "172.22.52.130 ssh-ed25519 AAA"]);

    assert_eq!(
        browser.get(&format!("{PATH}/{}", host.id)).await.status,
        StatusCode::NOT_FOUND,
        "it was replaced"
    );
    let path = format!("{PATH}/{}", hosts[0].id);
    shows(&browser.get(&path).await.text, &["Remove this line", changed]);
    assert_eq!(browser.post(&format!("{path}/remove"), &[]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(world.store.known_hosts().await.unwrap().hosts.len(), 1);
    let again = browser.post(&format!("{path}/remove"), &[]).await;
    assert_eq!(again.status, StatusCode::UNPROCESSABLE_ENTITY);
    let audit = browser.get("/audit?kind=known_host.").await.text;
    for words in ["ada added a known host", "ada removed a known host", "it replaces SHA256:AAA"] {
        assert!(audit.contains(words), "{words}\n{audit}");
    }
}

#[tokio::test]
async fn a_key_that_a_server_showed_waits_on_the_page() {
    let (world, mut browser) = inside().await;
    let key = OfferedHostKey {
        host: "getafix".into(),
        port: 22,
        key_type: "ssh-ed25519".into(),
        key: "AAA".into(),
        fingerprint: "SHA256:AAA".into(),
        standing: HostKeyStanding::Unknown,
        endpoint: "acme-sftp".into(),
        at: world.now(),
    };
    world.store.keep_offered_host_key(key.clone()).await.unwrap();
    let line = key.line();
    shows(
        &browser.get("/known-hosts?search=acme-sftp").await.text,
        &["Shown by servers", "SHA256:AAA", &line, "Not on file"],
    );
    let wrong = browser.post("/known-hosts/read", &[("text", "nonsense")]).await;
    shows(&wrong.text, &["Line 1: "]);
    assert!(!wrong.text.contains("/known-hosts/add"), "{}", wrong.text);
    for role in [Role::Auditor, Role::Operator] {
        give(&world, role).await;
        let page = browser.get(PATH).await.text;
        shows(&page, &["SHA256:AAA"]);
        assert!(!page.contains("/known-hosts/read") && !page.contains("/known-hosts/scan"), "{role}: {page}");
    }
    give(&world, Role::Designer).await;
    let form = [("host", "getafix"), ("port", "22"), ("fingerprint", "SHA256:AAA")];
    assert_eq!(browser.post("/known-hosts/forget", &form).await.status, StatusCode::SEE_OTHER);
    assert!(!browser.get(PATH).await.text.contains("SHA256:AAA"));
    // Asking goes over the node's connections, of which this console has none.
    let scan = browser.post("/known-hosts/scan", &[("host", "getafix")]).await;
    assert_eq!(scan.status, StatusCode::UNPROCESSABLE_ENTITY);
    shows(&scan.text, &["no connections of its own", "value=\"getafix\""]);
    // A form of another site changes nothing.
    let mut foreign = browser.clone().with("origin", "https://evil.example");
    let refused = foreign.post("/known-hosts/read", &[("text", &line)]).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
}
