//! What the pages show, and what they never do.

use super::{enter, inside, start, world};
use crate::browser::{self, Browser};
use crate::postgres;
use crate::support::{Filler, Way, World};
use http::StatusCode;
use model::RemotePath;
use std::collections::BTreeSet;
use std::time::Duration;

/// A test on both databases.
macro_rules! both {
    ($name:ident, $run:ident) => {
        mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                $run(world().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                $run(World::open(Some(postgres::database()), start(), false).await).await;
            }
        }
    };
}
pub(crate) use both;

#[tokio::test]
async fn every_answer_is_guarded() {
    let (world, mut browser) = inside().await;
    let id = Filler::new(&world.store, world.now())
        .await
        .transfer("a.edi".into(), "orders", Way::Completed, world.now(), None)
        .await;
    let connection = world.connections(3).await[0];
    let page = browser.get("/transfers").await.text;
    let style = browser::between(&page, "rel=\"stylesheet\" href=\"", "\"").to_owned();
    let paths = [
        "/",
        "/flows",
        "/partners",
        "/transfers",
        "/connections",
        "/audit",
        "/keys",
        "/certificates",
        "/known-hosts",
        "/known-hosts/x",
        "/login",
        "/none",
        "/setup/x",
        "/transfers/x",
        "/healthz",
        "/readyz",
        "/metrics",
        &style,
        &format!("/transfers/{id}"),
        &format!("/connections/{connection}"),
        "/transfers/0192f7a0-0000-7000-8000-000000000000",
        "/logout",
        "/assets/none.css",
    ];
    for path in paths {
        let answer = browser.get(path).await;
        for (name, value) in [
            (
                "content-security-policy",
                "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
            ),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), value, "{path}");
        }
        let immutable = path == style;
        let cache = if immutable { "public, max-age=31536000, immutable" } else { "no-store" };
        assert_eq!(answer.header("cache-control"), cache, "{path}");
        if answer.header("content-type").starts_with("text/html") {
            browser::check_html(path, &answer.text);
        }
    }
    assert_eq!(browser.get("/logout").await.status, StatusCode::METHOD_NOT_ALLOWED);
    let none = browser.get("/none").await;
    assert_eq!(none.status, StatusCode::NOT_FOUND);
    assert!(none.text.contains("href=\"/transfers\""), "who is logged in keeps the navigation");
    assert_eq!(browser.get("/transfers/x").await.status, StatusCode::NOT_FOUND);
}

both!(
    filters_live_in_the_url_and_pages_show_every_row_once,
    filters_live_in_the_url_and_pages_show_every_row_once_on
);

async fn filters_live_in_the_url_and_pages_show_every_row_once_on(world: World) {
    let mut browser = enter(&world).await;
    let filler = Filler::new(&world.store, world.now()).await;
    let mut all = BTreeSet::new();
    for number in 0..125_u64 {
        let way = if number % 5 == 0 { Way::Failed } else { Way::Completed };
        let flow = if number % 2 == 0 { "orders" } else { "in voices&more" };
        // Some at the same moment: the id decides.
        let at = world.now() - Duration::from_secs(number / 3 * 60);
        let id = filler.transfer(format!("a_{number}.edi").as_str().into(), flow, way, at, None).await;
        all.insert(id.to_string());
    }
    let mut seen = Vec::new();
    let mut urls = vec!["/transfers?within=7d".to_owned()];
    while let Some(page) = Some(browser.get(urls.last().unwrap()).await) {
        assert_eq!(page.status, StatusCode::OK);
        assert!(page.text.contains("last 7 days"), "the filter is lost");
        seen.extend(browser::transfer_ids(&page.text));
        match browser::link(&page.text, "rel=\"next\" href=\"") {
            Some(older) => urls.push(older),
            None => break,
        }
    }
    assert_eq!(urls.len(), 3);
    assert_eq!(seen.len(), all.len());
    assert_eq!(seen.iter().cloned().collect::<BTreeSet<_>>(), all);
    // And back the same way.
    let back = browser.get(&urls[2]).await.text;
    let newer = browser::link(&back, "rel=\"prev\" href=\"").unwrap();
    assert_eq!(browser::transfer_ids(&browser.get(&newer).await.text), seen[50..100]);
    let one = "/transfers?state=failed&flow=in+voices%26more&name=A_1&within=24h";
    let page = browser.get(one).await.text;
    let found = browser::transfer_ids(&page);
    assert_eq!(found.len(), 3, "numbers 15, 105 and 115");
    for (field, value) in [("name", "A_1"), ("flow", "in voices&#38;more")] {
        assert!(page.contains(&format!("name=\"{field}\"")), "{field}");
        assert!(page.contains(&format!("value=\"{value}\"")), "{field}");
    }
    assert!(page.contains("<option value=\"failed\" selected>"));
    assert!(page.contains("href=\"/transfers?flow=in+voices%26more&#38;name=A_1&#38;within=24h\""));
    let wrong = browser.get("/transfers?state=nonsense&from=yesterday&after=x").await;
    assert_eq!(wrong.status, StatusCode::OK);
    assert!(
        wrong.text.contains("is not a valid value")
            && wrong.text.contains("is not valid. This is the first page.")
    );
    assert!(browser.get("/transfers?flow=none").await.text.contains("No transfers match these filters"));
    // A moment with a zone stays in its field, and so in the next search.
    let zoned = browser.get("/transfers?from=2026-11-20T15:10:00%2B01:00").await.text;
    assert!(zoned.contains("name=\"from\" type=\"datetime-local\" value=\"2026-11-20T14:10\""), "{zoned}");
}

both!(hostile_names_are_shown_and_do_nothing, hostile_names_are_shown_and_do_nothing_on);

async fn hostile_names_are_shown_and_do_nothing_on(world: World) {
    let mut browser = enter(&world).await;
    let filler = Filler::new(&world.store, world.now()).await;
    let raw =
        b"<script>alert(1)</script>\"'><img src=x onerror=y>\xe2\x80\xaegpj.\0\r\n\x1b[2J\xff.edi".to_vec();
    let name = RemotePath::from_bytes(raw);
    let id = filler.transfer(name, "orders\"><script>", Way::PartlyFailed, world.now(), None).await;
    let hostile = "%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E%E2%80%AE";
    let hostile_login = [("user", "<script>\u{202e}"), ("password", "x"), ("next", "\"><script>")];
    let mut pages = vec![Browser::new(&world.console).post("/login", &hostile_login).await];
    for path in [
        "/".to_owned(),
        "/transfers".to_owned(),
        format!("/transfers/{id}"),
        "/audit".to_owned(),
        format!("/transfers?name={hostile}&state={hostile}&flow={hostile}&from={hostile}&after={hostile}"),
        format!("/connections?address={hostile}&protocol={hostile}"),
        format!("/audit?text={hostile}&kind={hostile}&transfer={hostile}"),
        format!("/login?next={hostile}"),
        format!("/{hostile}"),
    ] {
        pages.push(browser.get(&path).await);
    }
    let typed = regex::Regex::new(" value=\"[^\"]*\"").unwrap();
    for (place, page) in pages.iter().enumerate() {
        for bad in ["<script>", "<img src=x", "onerror=y>", "\0", "\u{1b}"] {
            assert!(!page.text.contains(bad), "page {place}: {bad:?}");
        }
        // A field gives back what was typed; nothing outside of it is reordered.
        let outside = typed.replace_all(&page.text, "");
        assert!(!outside.contains('\u{202e}'), "page {place}");
    }
    let list = &pages[2].text;
    assert!(list.contains("&#60;script&#62;alert(1)&#60;/script&#62;"), "{list}");
    assert!(list.contains("%E2%80%AEgpj.%00%0D%0A%1B[2J%FF.edi"), "{list}");
}

both!(a_waybill_shows_the_whole_way, a_waybill_shows_the_whole_way_on);

async fn a_waybill_shows_the_whole_way_on(world: World) {
    let mut browser = enter(&world).await;
    let filler = Filler::new(&world.store, world.now()).await;
    let connections = world.connections(4).await;
    let id = filler
        .transfer("850.edi".into(), "orders", Way::PartlyFailed, world.now(), Some(connections[0]))
        .await;
    let page = browser.get(&format!("/transfers/{id}")).await.text;
    for shown in [
        "850.edi",
        "Partly failed",
        "acme-sftp",
        "/outgoing/850.edi",
        "Found at",
        "Staged and recorded",
        "Attempt 1 to globex-as2",
        "connection refused",
        "Message-ID",
        "MIC matched",
        "MDN content type",
        "SHA-256",
        "application/edi-x12",
        "AS2 from",
        "sftp.acme.example:22",
        "transfer.recorded",
        "took",
    ] {
        assert!(page.contains(shown), "{shown}");
    }
    // Found a while before it was recorded, and nothing said of it since.
    assert!(!page.contains("Source file at"));
    let page = browser.get(&format!("/connections/{}", connections[0])).await.text;
    for shown in
        ["203.0.113.10:443", "10.20.0.5:50000", "curve25519-sha256", "SHA256:2h0a7", "ssh-ed25519", "done"]
    {
        assert!(page.contains(shown), "{shown}");
    }
    let page = browser.get(&format!("/connections/{}", connections[1])).await.text;
    for shown in ["TLSv1.3", "TLS_AES_256_GCM_SHA384", "CN=as2.globex.example", "4a91c0ffee12"] {
        assert!(page.contains(shown), "{shown}");
    }
    for (query, count) in [
        ("live=no", 4),
        ("live=yes", 0),
        ("endpoint=acme-sftp", 2),
        ("address=GLOBEX", 1),
        ("direction=inbound", 1),
        ("protocol=sftp", 2),
        ("failed=yes", 0),
    ] {
        let list = browser.get(&format!("/connections?{query}")).await.text;
        assert_eq!(list.matches("class=\"name\" href=\"/connections/").count(), count, "{query}");
    }
    for (query, count) in [
        (format!("transfer={id}&kind=delivery.failed"), 1),
        (format!("transfer={id}&severity=error"), 2),
        (format!("connection={}&kind=transfer.", connections[0]), 1),
        ("text=REFUSED&within=1h".to_owned(), 1),
        ("kind=login.succeeded&actor=user%3Aada".to_owned(), 1),
    ] {
        let list = browser.get(&format!("/audit?{query}")).await.text;
        assert_eq!(list.matches("<details class=\"event\">").count(), count, "{query}");
    }
}

both!(a_waybill_shows_how_much_is_on_the_wire, a_waybill_shows_how_much_is_on_the_wire_on);

async fn a_waybill_shows_how_much_is_on_the_wire_on(world: World) {
    let mut browser = enter(&world).await;
    let filler = Filler::new(&world.store, world.now()).await;
    let id = filler.transfer("backup.tar".into(), "orders", Way::Sending, world.now(), None).await;
    let page = browser.get(&format!("/transfers/{id}")).await.text;
    for shown in [
        "On the wire",
        "50.0 GiB",
        "100 GiB",
        "(50 %)",
        "value=\"50\"",
        "96.0 MiB/s, 8 min 54 s left, went on at 20.0 GiB",
    ] {
        assert!(page.contains(shown), "{shown}");
    }
    // Of another attempt, or of one that has ended, nothing is said.
    let id = filler.transfer("other.tar".into(), "orders", Way::Retrying, world.now(), None).await;
    assert!(!browser.get(&format!("/transfers/{id}")).await.text.contains("On the wire"));
}

#[tokio::test]
async fn a_part_of_a_page_is_the_part_of_the_page() {
    let (world, mut browser) = inside().await;
    let filler = Filler::new(&world.store, world.now()).await;
    let id = filler.transfer("850.edi".into(), "orders", Way::Completed, world.now(), None).await;
    for path in ["/", "/flows", "/transfers", "/connections", "/audit", &format!("/transfers/{id}")] {
        let page = browser.get(path).await.text;
        let part = browser.fragment(path).await;
        assert_eq!(part.status, StatusCode::OK, "{path}");
        assert!(!part.text.contains("<html") && page.contains(part.text.trim()), "{path}");
    }
}

#[tokio::test]
async fn keys_are_shown_by_their_public_halves() {
    let (_world, mut browser) = inside().await;
    let page = browser.get("/keys").await.text;
    let public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPbrUuGeFOTs/6OVIUCQj/Ggc2nJ9RFkFBDzf7v1KLRO";
    for text in [
        "SHA256:gGQZHBHcGZq4cRUVqDmiaRiBTRqlmFRJeiWJoCVWGFE",
        &format!("{public} acme-ssh"),
        &format!("HOST {public}"),
        "SSH cannot use this key: a key of &#60;DSA&#62;",
        "<a href=\"/keys\" aria-current=\"page\">Keys</a>",
    ] {
        assert!(page.contains(text), "{text}\n{page}");
    }
}

#[tokio::test]
async fn certificates_are_listed_by_their_ends() {
    let (_world, mut browser) = inside().await;
    let page = browser.get("/certificates").await.text;
    let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text}\n{page}"));
    assert!(
        at("certificate.initech") < at("certificate.globex") && at("certificate.globex") < at("key.acme")
    );
    for text in [
        "Expired</span> 19 days ago",
        "Ends soon</span> in 10 days",
        "Valid</span> in 3328 days",
        "CN=Globex \\&#60;AS2\\&#62;,O=Globex",
        "Its own key",
        "<a href=\"/certificates\" aria-current=\"page\">Certificates</a>",
    ] {
        at(text);
    }
    let found = browser.get("/certificates?search=GLOBEX").await.text;
    assert!(found.contains("certificate.globex") && !found.contains("key.acme"), "{found}");
    let none = browser.get("/certificates?search=nosuch").await.text;
    assert!(none.contains("No certificates match this search."), "{none}");
}

#[tokio::test]
async fn probes_tell_machines_how_it_is() {
    let (world, mut inside) = inside().await;
    let mut outside = Browser::new(&world.console);
    assert_eq!(outside.get("/healthz").await.text, "ok\n");
    assert_eq!(outside.get("/readyz").await.text, "ready\n");
    assert_eq!(outside.get("/metrics").await.status, StatusCode::FORBIDDEN);
    assert_eq!(inside.get("/metrics").await.status, StatusCode::OK);
    let mut local = outside.clone().from("127.0.0.1:40000");
    let text = local.get("/metrics").await.text;
    assert!(text.contains("waybill_endpoint_set_offline{endpoint=\"initech-as2\"} 1"), "{text}");
    for line in [
        "waybill_build_info{version=\"0.1.0\",node=\"acme-1\"} 1",
        "waybill_deliveries{state=\"awaiting_receipt\"} 0",
        "waybill_transfers{state=\"completed\"} 0",
        "waybill_database_up 1",
        "waybill_endpoint_in_flight{endpoint=\"globex-as2\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    let mut types: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
    types.sort_unstable();
    assert!(types.windows(2).all(|two| two[0] != two[1]), "a name's lines are together");
    assert!(text.contains("process_resident_memory_bytes ") && text.contains("process_open_fds "));
    let forwarded = local.clone().with("x-forwarded-for", "203.0.113.9").get("/metrics").await;
    assert_eq!(forwarded.status, StatusCode::FORBIDDEN);
    world.store.close().await;
    assert_eq!(outside.get("/healthz").await.status, StatusCode::OK);
    let away = outside.get("/readyz").await;
    assert_eq!(away.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(away.text.starts_with("database: "), "{}", away.text);
    let page = inside.get("/transfers").await;
    assert!(page.status.is_server_error());
    assert!(page.text.contains("What to do"), "{}", page.text);
    assert!(local.get("/metrics").await.text.contains("waybill_database_up 0"));
}

/// Prometheus gives a scrape ten seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_come_in_time_while_the_database_does_not_answer() {
    let server = postgres::Server::start();
    let world = World::open(Some(server.database()), start(), false).await;
    let mut local = Browser::new(&world.console).from("127.0.0.1:40000");
    assert!(local.get("/metrics").await.text.contains("waybill_database_up 1"));
    server.pause();
    for _ in 0..2 {
        let text = tokio::time::timeout(Duration::from_secs(9), local.get("/metrics")).await.unwrap().text;
        assert!(text.contains("waybill_database_up 0") && text.contains("waybill_build_info"), "{text}");
        assert!(!text.contains("waybill_transfers{"), "half of the numbers: {text}");
    }
    // From elsewhere one would have to be logged in, and that cannot be told.
    let mut remote =
        Browser::new(&world.console).with("cookie", &format!("waybill_session_8420={}", "x".repeat(43)));
    let answer = tokio::time::timeout(Duration::from_secs(9), remote.get("/metrics")).await.unwrap();
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
}

both!(the_consoles_own_connections_are_left_out, the_consoles_own_connections_are_left_out_on);

async fn the_consoles_own_connections_are_left_out_on(world: World) {
    let mut browser = enter(&world).await;
    assert!(browser.get("/connections").await.text.contains("No connections yet."));
    world.connections(4).await;
    world.console_connections(3).await;
    let count = |page: &str| page.matches("<tr data-key=").count();
    let hidden = browser.get("/connections").await.text;
    assert_eq!(count(&hidden), 4);
    let show = browser::link(&hidden, "<li><a class=\"chip\" href=\"").unwrap();
    assert_eq!(show, "/connections?console=yes");
    assert!(hidden.contains("Console\u{2019}s own connections</span> hidden"), "{hidden}");
    let shown = browser.get(&show).await.text;
    assert_eq!(count(&shown), 7);
    assert!(shown.contains("<option value=\"yes\" selected>Shown</option>"), "{shown}");
    // With its switch the filter goes along with the others.
    assert_eq!(count(&browser.get("/connections?live=no&console=yes").await.text), 7);
    let events = browser.get("/audit?kind=connection.").await.text;
    assert_eq!(count(&events), 8, "opened and closed");
    assert!(
        events.contains(
            "Connected: SFTP to sftp.acme.example:22 (203.0.113.10:443), endpoint acme-sftp, to poll"
        )
    );
    assert_eq!(count(&browser.get("/audit?kind=connection.&console=yes").await.text), 14);
    // Who asks for one connection gets what there is about it.
    let own = browser::link(&shown, "class=\"name\" href=\"/connections/").unwrap();
    assert_eq!(count(&browser.get(&format!("/audit?connection={own}")).await.text), 2);
    let overview = browser.get("/").await.text;
    assert!(overview.contains("<a href=\"/connections?live=yes\">0</a>"), "{overview}");
}

both!(data_connections_are_shown_with_their_control_connection, data_connections_on);

async fn data_connections_on(world: World) {
    let mut browser = enter(&world).await;
    let control = world.connections(2).await[0];
    world.data_connections(7, control).await;
    let count = |page: &str| page.matches("<tr data-key=").count();
    let hidden = browser.get("/connections").await.text;
    assert_eq!(count(&hidden), 3, "the one that failed is shown: {hidden}");
    assert!(hidden.contains("FTP data connections</span> hidden"), "{hidden}");
    assert_eq!(count(&browser.get("/connections?data=yes").await.text), 9);
    let list = format!("/connections?control={control}");
    let own = browser.get(&list).await.text;
    assert_eq!(count(&own), 7);
    assert!(own.contains("Data connections of</span>"), "{own}");
    let one = browser::link(&own, "class=\"name\" href=\"/connections/").unwrap();
    let page = browser.get(&format!("/connections/{one}")).await.text;
    assert!(
        page.contains(&format!("<dt>Control connection</dt><dd><a href=\"/connections/{control}\">")),
        "{page}"
    );
}
