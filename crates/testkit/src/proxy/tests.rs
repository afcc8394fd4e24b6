use super::*;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LIMIT: Duration = Duration::from_secs(10);

/// A server that sends back what it gets.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.into_split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    address
}

async fn connected() -> (FaultProxy, TcpStream) {
    let proxy = FaultProxy::before(echo().await).await.unwrap();
    let client = TcpStream::connect(proxy.address()).await.unwrap();
    (proxy, client)
}

async fn say(client: &mut TcpStream, words: &[u8]) -> io::Result<Vec<u8>> {
    client.write_all(words).await?;
    let mut heard = vec![0; words.len()];
    tokio::time::timeout(LIMIT, client.read_exact(&mut heard)).await??;
    Ok(heard)
}

async fn is_silent(client: &mut TcpStream) -> bool {
    let mut byte = [0];
    tokio::time::timeout(Duration::from_millis(150), client.read(&mut byte)).await.is_err()
}

async fn until(what: impl Fn() -> bool) {
    let started = Instant::now();
    while !what() {
        assert!(started.elapsed() < LIMIT, "waited too long");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn passes_and_counts() {
    let (proxy, mut client) = connected().await;
    assert_eq!(say(&mut client, b"hello").await.unwrap(), b"hello");
    client.shutdown().await.unwrap();
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    until(|| proxy.open() == 0).await;
    assert_eq!((proxy.accepted(), proxy.bytes(Direction::Up), proxy.bytes(Direction::Down)), (1, 5, 5));
}

#[tokio::test]
async fn cuts_after_so_many_bytes_in_either_direction_by_reset_or_close() {
    for direction in [Direction::Up, Direction::Down] {
        for how in [Ending::Reset, Ending::Close] {
            let proxy = FaultProxy::before(echo().await).await.unwrap();
            proxy.set(Behaviour::Cut { direction, after: 100_000, how }).await.unwrap();
            let client = TcpStream::connect(proxy.address()).await.unwrap();
            let (mut from, mut to) = client.into_split();
            let sending = tokio::spawn(async move {
                let _ = to.write_all(&vec![1; 300_000]).await;
                to
            });
            let mut heard = Vec::new();
            let end = tokio::time::timeout(LIMIT, from.read_to_end(&mut heard)).await.unwrap();
            match how {
                Ending::Reset => assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset),
                Ending::Close => assert!(end.is_ok(), "{direction:?} {end:?}"),
            }
            assert_eq!(proxy.bytes(direction), 100_000, "{direction:?} {how:?}");
            assert!(heard.len() <= 100_000);
            drop(sending.await.unwrap());
            until(|| proxy.open() == 0).await;
        }
    }
}

#[tokio::test]
async fn delays_and_slows() {
    let (proxy, mut client) = connected().await;
    proxy.set(Behaviour::Delay(Duration::from_millis(60))).await.unwrap();
    let started = Instant::now();
    say(&mut client, b"slow").await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(120), "60 ms each way");

    proxy.set(Behaviour::Slow(40_000)).await.unwrap();
    let started = Instant::now();
    say(&mut client, &[2; 20_000]).await.unwrap();
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(450), "20,000 bytes at 40,000 a second took {took:?}");
}

#[tokio::test]
async fn a_black_hole_answers_nothing_and_can_end() {
    let (proxy, mut before) = connected().await;
    say(&mut before, b"x").await.unwrap();
    proxy.set(Behaviour::BlackHole).await.unwrap();
    let mut during = TcpStream::connect(proxy.address()).await.unwrap();
    for client in [&mut before, &mut during] {
        client.write_all(b"anybody?").await.unwrap();
        assert!(is_silent(client).await);
    }
    proxy.set(Behaviour::Pass).await.unwrap();
    for client in [&mut before, &mut during] {
        let mut heard = [0; 8];
        tokio::time::timeout(LIMIT, client.read_exact(&mut heard)).await.unwrap().unwrap();
        assert_eq!(&heard, b"anybody?");
    }
}

#[tokio::test]
async fn refuses_and_listens_again_on_the_same_port() {
    let (proxy, mut before) = connected().await;
    say(&mut before, b"x").await.unwrap();
    for _ in 0..3 {
        proxy.set(Behaviour::Refuse).await.unwrap();
        let error = TcpStream::connect(proxy.address()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(say(&mut before, b"still here").await.unwrap(), b"still here");
        proxy.set(Behaviour::Pass).await.unwrap();
        let mut again = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(say(&mut again, b"back").await.unwrap(), b"back");
    }
}

#[tokio::test]
async fn half_open_leaves_the_client_in_the_dark() {
    let (proxy, mut client) = connected().await;
    say(&mut client, b"x").await.unwrap();
    proxy.set(Behaviour::HalfOpen).await.unwrap();
    client.write_all(b"anybody?").await.unwrap();
    assert!(is_silent(&mut client).await);
    assert_eq!(proxy.open(), 1);
    proxy.set(Behaviour::Pass).await.unwrap();
    assert!(client.read(&mut [0]).await.is_err(), "it learns of it in the end");
}

#[tokio::test]
async fn many_connections_and_nothing_left_after_the_drop() {
    let proxy = FaultProxy::before(echo().await).await.unwrap();
    let address = proxy.address();
    let mut clients = Vec::new();
    for _ in 0..200 {
        clients.push(TcpStream::connect(address).await.unwrap());
    }
    for client in &mut clients {
        assert_eq!(say(client, b"one of many").await.unwrap(), b"one of many");
    }
    assert_eq!((proxy.accepted(), proxy.open()), (200, 200));
    let counts = proxy.counts.clone();
    drop(proxy);
    until(|| counts.open.load(Ordering::Relaxed) == 0 && Arc::strong_count(&counts) == 1).await;
    assert!(TcpStream::connect(address).await.is_err());
    for client in &mut clients {
        let ended = tokio::time::timeout(LIMIT, client.read(&mut [0])).await.unwrap();
        assert!(matches!(ended, Ok(0) | Err(_)));
    }
}
