//! Seals stamped by an authority (RFC 3161): `openssl ts` behind a small HTTP server.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use suites::pair::{PATIENCE, Pair, Terms, put};
use suites::{eventually, fresh_database, tamper};

/// What the authority does with a request.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Mood {
    Good,
    Refusing,
    /// Answers an earlier request.
    Old,
    /// Another authority answers.
    Stranger,
    /// Announces no length, and never ends.
    Endless,
    Page,
    Busy,
}

const WRONG: [(Mood, &str); 6] = [
    (Mood::Refusing, "it does not accept SHA-256"),
    (Mood::Old, "it is for other data"),
    (Mood::Stranger, "was not certified by any of the trusted"),
    (Mood::Endless, "65536 bytes"),
    (Mood::Page, "text/html"),
    (Mood::Busy, "503"),
];

struct Authority {
    directory: PathBuf,
    mood: Arc<Mutex<Mood>>,
    asked: Arc<AtomicUsize>,
    port: u16,
}

fn script(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/servers/timestamp_authority.sh");
    let mut child =
        Command::new(path).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    output.stdout
}

impl Authority {
    fn start(directory: &Path) -> Self {
        let of = |name: &str| directory.join(name).to_str().unwrap().to_owned();
        let (own, stranger) = (of("own"), of("stranger"));
        script(&["make", &own], b"");
        script(&["make", &stranger], b"");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mood = Arc::new(Mutex::new(Mood::Good));
        let asked = Arc::new(AtomicUsize::new(0));
        let (moods, count) = (mood.clone(), asked.clone());
        std::thread::spawn(move || {
            let mut old = vec![];
            for stream in listener.incoming() {
                let mood = *moods.lock().unwrap();
                serve(&mut stream.unwrap(), mood, &own, &stranger, &mut old);
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { directory: directory.join("own"), mood, asked, port }
    }

    fn settings(&self) -> String {
        format!(
            "[audit]\nseal_every = \"1s\"\ntimestamp_every = \"1s\"\ntimestamp_url = \"http://127.0.0.1:{}/tsr?key=hidden\"\n\
             timestamp_certificates = \"{}\"",
            self.port,
            self.directory.join("root.pem").display()
        )
    }
}

fn serve(stream: &mut TcpStream, mood: Mood, own: &str, stranger: &str, old: &mut Vec<u8>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) <= 2 {
            break;
        }
        let line = line.to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
    let mut query = vec![0; length];
    reader.read_exact(&mut query).unwrap();
    assert!(head.starts_with("post /tsr") && head.contains("application/timestamp-query"), "{head}");
    let mut media = "application/timestamp-reply";
    let mut status = "200 OK";
    let body = match mood {
        Mood::Good => {
            *old = script(&["reply", own], &query);
            old.clone()
        }
        Mood::Refusing => script(&["refuse", own], &query),
        Mood::Old => old.clone(),
        Mood::Stranger => script(&["reply", stranger], &query),
        Mood::Page => {
            media = "text/html";
            b"<p>welcome".to_vec()
        }
        Mood::Busy => {
            status = "503 Busy";
            vec![]
        }
        Mood::Endless => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {media}\r\n\r\n");
            let mut sent = stream.write_all(head.as_bytes());
            // Until the other side has had enough.
            while sent.is_ok() {
                sent = stream.write_all(&[0x30; 8192]);
            }
            return;
        }
    };
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: {media}\r\nContent-Length: {length}\r\n\r\n");
    // A client that has left is no failure of this server.
    let _ = stream.write_all(&[head.as_bytes(), &body].concat());
}

#[test]
fn seals_are_stamped_and_the_stamps_prove_the_time_without_the_authority_on_sqlite() {
    stamps_prove_the_time(None);
}

#[test]
fn seals_are_stamped_and_the_stamps_prove_the_time_without_the_authority_on_postgres() {
    stamps_prove_the_time(Some(&fresh_database("stamps")));
}

fn stamps_prove_the_time(database: Option<&str>) {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::start(directory.path());
    let settings = authority.settings();
    let mut pair = Pair::new(&Terms { settings: &settings, database, ..Terms::default() });
    pair.start();
    let session = pair.acme.first_login();
    let is_told = || pair.acme.page("/", &session).contains("Audit seals are not time-stamped");
    let proven = |at_least: i64| {
        eventually("a time stamp", PATIENCE, || {
            let report = pair.acme.json(&["audit", "verify"]);
            assert_eq!(report["holds"], true, "{report}");
            report["timestamps"]["newest"]["seal"].as_i64().filter(|seal| *seal >= at_least)
        })
    };
    let first = proven(1);
    // On record like every connection, without what the query holds.
    let told = eventually("the connection on record", PATIENCE, || {
        let connections = pair.search(&["--kind", "connection.opened"]);
        let audit = connections.iter().find(|event| event["detail"]["purpose"] == "audit");
        audit.map(ToString::to_string)
    });
    assert!(told.contains(&authority.port.to_string()) && !told.contains("hidden"), "{told}");

    let asked = || authority.asked.load(Ordering::SeqCst);
    put(&pair.folder(), b"one.edi", b"an order");
    pair.acme.wait_for("completed", 1, PATIENCE);
    let second = proven(first + 1);
    assert!(!is_told());

    // What is wrong is told, and holds no seal up.
    for (mood, why) in WRONG {
        *authority.mood.lock().unwrap() = mood;
        let failures = pair.search(&["--kind", "audit.timestamp_failed"]).len();
        put(&pair.folder(), format!("{mood:?}.edi").as_bytes(), b"an order");
        let event = eventually("a failure on record", PATIENCE, || {
            let events = pair.search(&["--kind", "audit.timestamp_failed"]);
            (events.len() > failures).then(|| events[0].clone())
        });
        let told = event["detail"].to_string();
        assert!(told.contains(why) && !told.contains("hidden"), "{mood:?}: {told}");
        // On the overview as long as it lasts.
        eventually("a row on the overview", PATIENCE, || is_told().then_some(()));
        *authority.mood.lock().unwrap() = Mood::Good;
        let recovered = pair.search(&["--kind", "audit.timestamp_recovered"]).len();
        eventually("time stamps again", PATIENCE, || {
            (pair.search(&["--kind", "audit.timestamp_recovered"]).len() > recovered).then_some(())
        });
        eventually("no such row any more", PATIENCE, || (!is_told()).then_some(()));
    }
    proven(second + 1);
    assert!(asked() > WRONG.len());
    assert!(pair.acme.stop().success());
    let last = pair.acme.json(&["audit", "verify"])["timestamps"]["newest"]["seal"].as_i64().unwrap();

    // Years later, elsewhere: the certificates are enough, and without them it is said that nothing was checked.
    let root = authority.directory.join("root.pem");
    let root = root.to_str().unwrap();
    let (code, out, error) = pair.command(&["audit", "verify", "--timestamp-certificates", root]);
    assert!(
        code == 0 && out.contains(&format!("seal {last} and all seals before it existed at 2")),
        "{out} {error}"
    );
    assert!(out.contains("O=Test, CN=Time Stamps"), "{out}");
    let stranger = directory.path().join("stranger/root.pem");
    let (code, out, _) =
        pair.command(&["audit", "verify", "--timestamp-certificates", stranger.to_str().unwrap()]);
    assert!(code == 2 && out.contains("was not certified by any of the trusted"), "{code} {out}");

    // The copy of the seals holds them, and proves them when the database has lost them.
    let (_, copy, _) = pair.command(&["audit", "export-seals"]);
    assert!(copy.contains("\"timestamp\":\"30"), "{copy}");
    let kept = pair.root.path().join("seals");
    fs::write(&kept, &copy).unwrap();
    let token = |sql: &str| {
        tamper(
            &pair.acme,
            database,
            &format!("UPDATE audit_timestamps SET token = {sql} WHERE seal = {last}"),
        );
    };
    token(if database.is_some() { "'\\x30820100'" } else { "x'30820100'" });
    let (code, out, _) = pair.command(&["audit", "verify"]);
    assert!(
        code == 2 && out.contains(&format!("the time stamp of seal {last} is not valid")),
        "{code} {out}"
    );
    token(&format!("(SELECT token FROM audit_timestamps WHERE seal = {first})"));
    let (code, out, _) = pair.command(&["audit", "verify"]);
    assert!(code == 2 && out.contains("it is for other data"), "{code} {out}");
    tamper(&pair.acme, database, "DELETE FROM audit_timestamps");
    let (code, out, _) = pair.command(&["audit", "verify", "--seals", kept.to_str().unwrap()]);
    assert!(code == 0 && out.contains(&format!("seal {last} and all seals before it")), "{code} {out}");
}

#[test]
fn an_authority_whose_certificates_are_not_there_keeps_the_gateway_from_starting() {
    for (settings, why) in [
        ("timestamp_url = \"http://127.0.0.1:1/\"", "needs audit.timestamp_certificates"),
        (
            "timestamp_url = \"ftp://tsa.example/\"\ntimestamp_certificates = \"a.pem\"",
            "must begin with http",
        ),
        ("timestamp_url = \"http://tsa.example/\"\ntimestamp_certificates = \"none.pem\"", "none.pem"),
    ] {
        let settings = format!("[audit]\n{settings}");
        let pair = Pair::new(&Terms { settings: &settings, ..Terms::default() });
        let (code, out, error) = pair.command(&["serve"]);
        assert!(code == 1 && error.contains(why), "{code} {out} {error}");
    }
}
