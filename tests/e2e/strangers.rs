//! Strangers at the door of a gateway that has little memory: partners and its own deliveries go on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use suites::eventually;
use suites::pair::{Pair, Terms, events, put};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// A connection from one of this machine's own addresses; the gateway may not take it.
async fn connect(from: u8, to: SocketAddr) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, from], 0))).unwrap();
    socket.connect(to).await.ok()
}

/// The head of a message in Acme's name, and as much of its body.
async fn announce(from: u8, number: usize, to: SocketAddr, body: &str) -> Option<TcpStream> {
    let mut socket = connect(from, to).await?;
    let head = format!(
        "POST /as2 HTTP/1.1\r\nHost: globex\r\nAS2-Version: 1.2\r\nAS2-From: ACME\r\nAS2-To: GLOBEX\r\n\
         Message-ID: <{from}-{number}@strangers>\r\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n\
         Content-Length: 1000000\r\n\r\n{body}"
    );
    socket.write_all(head.as_bytes()).await.ok()?;
    Some(socket)
}

#[test]
fn messages_that_are_announced_and_not_sent_and_idle_connections_stop_nobody() {
    let mut pair = Pair::new(&Terms { settings: "[limits]\nbuffers = \"16MiB\"", ..Terms::default() });
    pair.start();
    let to = SocketAddr::from(([127, 0, 0, 1], pair.globex.http));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut held = Vec::new();
    runtime.block_on(async {
        for number in 0..75 {
            for from in 10..14 {
                // Nothing of the body, or a byte of it.
                held.push(announce(from, number, to, ["", "0"][number % 2]).await);
            }
        }
        for _ in 0..1200 {
            held.push(connect(20, to).await);
        }
    });
    for number in 1..=3 {
        put(&pair.folder(), format!("order{number}.edi").as_bytes(), b"an order");
        pair.wait_for_files(number);
    }
    // Those that still wait in the backlog are refused as soon as they are accepted; where that takes a second, earlier ones of
    // the same client are closed in their place.
    eventually("the connections of one client are refused", Duration::from_secs(30), || {
        let metrics = pair.globex.metrics();
        let number = |start: &str, and: &str| {
            let mut lines = metrics.lines();
            let line = lines.find(|line| line.starts_with(start) && line.contains(and))?;
            line.rsplit(' ').next()?.parse::<u64>().ok()
        };
        let refused = number("waybill_listener_refused_total{listener=\"partners\"", "\"client\"")?;
        let closed = number("waybill_listener_closed_idle_total{listener=\"partners\"", "")?;
        (refused + closed >= 900).then_some(())
    });
    drop(held);
    assert!(pair.globex.stop().success());
    let crowded = events(&pair.globex, "listener.limit_reached");
    assert!((1..10).contains(&crowded.len()), "{crowded:?}");
}

/// Encrypts noise for Globex, as anybody can who has its certificate.
fn encrypted(pair: &Pair) -> Vec<u8> {
    let (noise, message) = (pair.root.path().join("noise"), pair.root.path().join("message"));
    std::fs::write(&noise, vec![b'x'; 4_800_000]).unwrap();
    let made = std::process::Command::new("openssl")
        .args(["cms", "-encrypt", "-binary", "-aes-256-cbc", "-outform", "DER", "-in"])
        .arg(&noise)
        .arg("-out")
        .arg(&message)
        .arg(pair.root.path().join("keys/globex.cert.pem"))
        .status()
        .unwrap();
    assert!(made.success());
    std::fs::read(message).unwrap()
}

/// Sends a message in Acme's name that takes 38 s at a good pace, and tells its answer.
async fn sends_for_long(from: u8, number: usize, to: SocketAddr, message: Arc<Vec<u8>>) -> Option<String> {
    let mut socket = connect(from, to).await?;
    let head = format!(
        "POST /as2 HTTP/1.1\r\nHost: globex\r\nAS2-Version: 1.2\r\nAS2-From: ACME\r\nAS2-To: GLOBEX\r\n\
         Message-ID: <{from}-{number}@long>\r\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n\
         Content-Length: {}\r\n\r\n",
        message.len()
    );
    socket.write_all(head.as_bytes()).await.ok()?;
    for piece in message.chunks(message.len() / 152) {
        socket.write_all(piece).await.ok()?;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(Duration::from_secs(60), socket.read(&mut answer)).await;
    Some(String::from_utf8_lossy(&answer[..read.ok()?.ok()?]).into_owned())
}

/// Whoever has taken its share of the places is told to come again, and takes nothing from others.
#[test]
fn who_finds_no_place_for_its_message_is_told_to_come_again() {
    let mut pair = Pair::new(&Terms { settings: "[limits]\nbuffers = \"16MiB\"", ..Terms::default() });
    pair.start();
    let to = SocketAddr::from(([127, 0, 0, 1], pair.globex.http));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let message = Arc::new(encrypted(&pair));
    let senders: Vec<_> =
        (0..24).map(|number| runtime.spawn(sends_for_long(10, number, to, message.clone()))).collect();
    for number in 1..=3 {
        put(&pair.folder(), format!("order{number}.edi").as_bytes(), b"an order");
        pair.wait_for_files(number);
    }
    let answers: Vec<Option<String>> =
        senders.into_iter().map(|sender| runtime.block_on(sender).unwrap()).collect();
    let told: Vec<&String> =
        answers.iter().flatten().filter(|answer| answer.starts_with("HTTP/1.1 503 ")).collect();
    assert!(told.iter().all(|answer| answer.to_lowercase().contains("\r\nretry-after: ")), "{told:#?}");
    assert!((1..24).contains(&told.len()), "{answers:#?}");
    assert!(pair.globex.stop().success());
    let refused = events(&pair.globex, "message.refused");
    assert!(
        refused.iter().any(|event| event.to_string().contains("too many messages are being received")),
        "{refused:?}"
    );
}
