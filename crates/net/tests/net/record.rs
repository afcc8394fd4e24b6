//! Every way a connection ends gives one opened and one closed record, with the bytes that passed.

use crate::support::{eventually, listener, net, net_with, refusing, to};
use model::{Direction, ErrorKind, Protocol, Purpose, Retry, Security};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn bytes_and_reason_of_a_stream_that_is_shut_down() {
    let (net, log) = net();
    let (listener, address) = listener().await;
    let peer = tokio::spawn(async move {
        let (mut socket, from) = listener.accept().await.unwrap();
        let mut got = vec![0; 70_000];
        socket.read_exact(&mut got).await.unwrap();
        socket.write_all(&[7; 1234]).await.unwrap();
        let mut rest = Vec::new();
        socket.read_to_end(&mut rest).await.unwrap();
        from
    });
    let mut stream = net.dial(&to(address)).await.unwrap();
    let handle = stream.handle();
    let opened = log.last_opened();
    assert_eq!(opened.record.id, stream.id());
    assert_eq!(opened.record.remote, Some(address));
    assert_eq!(opened.record.host.unwrap().as_str(), address.to_string());
    assert_eq!(opened.record.endpoint.as_deref(), Some("acme"));
    assert_eq!(
        (opened.record.protocol, opened.record.purpose, opened.record.direction),
        (Protocol::Sftp, Purpose::Poll, Direction::Outbound)
    );
    assert_eq!(opened.record.security, Security::None);
    assert!(opened.weakened.is_empty());
    assert_eq!(net.connections(), 1);

    stream.write_all(&[1; 70_000]).await.unwrap();
    let mut got = [0; 1234];
    stream.read_exact(&mut got).await.unwrap();
    handle.request();
    handle.request();
    assert_eq!(log.closed_of(handle.id()), None);
    stream.shutdown().await.unwrap();
    drop(stream);

    let closed = log.wait_closed(handle.id()).await;
    assert_eq!((closed.bytes_in, closed.bytes_out, closed.requests), (1234, 70_000, 2));
    assert_eq!((closed.reason.as_str(), closed.failed), ("closed by Waybill", false));
    assert_eq!(opened.record.local, Some(peer.await.unwrap()));
    assert_eq!(net.drain(Duration::from_secs(1)).await, 0);
    assert_eq!(log.counts(), (1, 1, 0));
}

#[tokio::test]
async fn dropped_reset_closed_and_panicked() {
    let (net, log) = net();
    let (listener, address) = listener().await;

    // Dropped unused.
    let stream = net.dial(&to(address)).await.unwrap();
    let id = stream.id();
    drop(stream);
    let closed = log.wait_closed(id).await;
    assert_eq!((closed.reason.as_str(), closed.failed), ("closed by Waybill", false));
    let _ = listener.accept().await.unwrap();

    // The future that holds it is dropped.
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let held = tokio::spawn({
        let net = net.clone();
        async move {
            let stream = net.dial(&to(address)).await.unwrap();
            sender.send(stream.id()).unwrap();
            std::future::pending::<()>().await;
            drop(stream);
        }
    });
    let id = receiver.await.unwrap();
    held.abort();
    assert!(!log.wait_closed(id).await.failed);
    let _ = listener.accept().await.unwrap();

    // The peer resets.
    let mut stream = net.dial(&to(address)).await.unwrap();
    let (peer, _) = listener.accept().await.unwrap();
    peer.set_zero_linger().unwrap();
    drop(peer);
    assert!(stream.read_u8().await.is_err());
    let id = stream.id();
    drop(stream);
    let closed = log.wait_closed(id).await;
    assert!(closed.failed && closed.reason.as_str().contains("reset"), "{closed:?}");

    // The peer closes.
    let mut stream = net.dial(&to(address)).await.unwrap();
    drop(listener.accept().await.unwrap());
    assert!(stream.read_u8().await.is_err());
    let id = stream.id();
    drop(stream);
    let closed = log.wait_closed(id).await;
    assert_eq!((closed.reason.as_str(), closed.failed), ("closed by the peer", false));

    // The task panics.
    let stream = net.dial(&to(address)).await.unwrap();
    let id = stream.id();
    let _ = tokio::spawn(async move {
        let _held = stream;
        panic!("as the test wants");
    })
    .await;
    let closed = log.wait_closed(id).await;
    assert!(closed.failed && closed.reason.as_str().contains("panicked"), "{closed:?}");

    // The user of the stream says why.
    let stream = net.dial(&to(address)).await.unwrap();
    stream.handle().closing("log out");
    stream.handle().fail("the server\r\nspeaks another protocol");
    stream.handle().fail("and then this");
    let id = stream.id();
    drop(stream);
    let closed = log.wait_closed(id).await;
    assert!(closed.failed);
    assert_eq!(closed.reason.as_str(), "the server\\u{d}\\u{a}speaks another protocol");
    log.wait_pairs(6).await;
}

#[tokio::test]
async fn ssh_is_recorded_once_its_handshake_is_done() {
    let (net, log) = net();
    let (_listener, address) = listener().await;
    let security = Security::Ssh {
        host_key_type: "ssh-ed25519".into(),
        host_key: "SHA256:abc".into(),
        kex: "curve25519-sha256".into(),
        cipher: "aes256-gcm@openssh.com".into(),
        mac: String::new(),
        server: "SSH-2.0-OpenSSH_9".into(),
    };
    let stream = net.dial_deferred(&to(address)).await.unwrap();
    assert_eq!(log.counts(), (0, 0, 0));
    let handle = stream.handle();
    handle.established(security.clone()).await.unwrap();
    handle.established(Security::None).await.unwrap();
    assert_eq!(log.counts(), (1, 0, 0));
    assert_eq!(log.last_opened().record.security, security);
    drop(stream);
    assert!(!log.wait_closed(handle.id()).await.failed);

    // Dropped during the handshake: both records, the end failed.
    let stream = net.dial_deferred(&to(address)).await.unwrap();
    let handle = stream.handle();
    handle.set_security(security.clone());
    drop(stream);
    let closed = log.wait_closed(handle.id()).await;
    assert!(closed.failed && closed.reason.as_str().contains("before it was established"), "{closed:?}");
    assert_eq!(log.last_opened().record.security, security);

    let stream = net.dial_deferred(&to(address)).await.unwrap();
    let handle = stream.handle();
    handle.fail("host key does not match");
    drop(stream);
    let closed = log.wait_closed(handle.id()).await;
    assert_eq!((closed.reason.as_str(), closed.failed), ("host key does not match", true));
    log.wait_pairs(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stream_dropped_while_it_is_recorded_gives_one_pair() {
    let (net, log) = net();
    let (_listener, address) = listener().await;
    log.slow.store(true, Ordering::Relaxed);

    // The stream goes while the opened record is written.
    let stream = net.dial_deferred(&to(address)).await.unwrap();
    let handle = stream.handle();
    let recording = tokio::spawn({
        let handle = handle.clone();
        async move { handle.established(Security::None).await }
    });
    tokio::time::sleep(Duration::from_millis(30)).await;
    drop(stream);
    recording.await.unwrap().unwrap();
    log.wait_closed(handle.id()).await;

    // Stream and caller go together.
    let dialling = tokio::time::timeout(Duration::from_millis(30), net.dial(&to(address))).await;
    assert!(dialling.is_err());
    log.wait_pairs(2).await;
    assert_eq!(net.drain(Duration::from_secs(5)).await, 0);
    assert_eq!(log.counts(), (2, 2, 0));
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_used_and_not_forgotten() {
    let (net, log) = net();
    let (_listener, address) = listener().await;
    log.refuse.store(true, Ordering::Relaxed);
    let error = net.dial(&to(address)).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Internal, Retry::Transient));
    assert!(error.chain().contains("journal"), "{}", error.chain());
    let refused = refusing().await;
    net.dial(&to(refused)).await.unwrap_err();
    assert_eq!(log.counts(), (0, 0, 0));
    assert_eq!(net.drain(Duration::from_millis(50)).await, 2);
    log.refuse.store(false, Ordering::Relaxed);
    assert_eq!(net.drain(Duration::from_secs(10)).await, 0);
    assert_eq!(log.counts(), (1, 1, 1));
    assert!(log.closed.lock().unwrap()[0].failed);
}

#[tokio::test]
async fn no_more_connections_than_can_be_recorded() {
    let (net, log) = net_with(|settings| settings.max_connections = 2);
    let (_listener, address) = listener().await;
    let first = net.dial(&to(address)).await.unwrap();
    let _second = net.dial(&to(address)).await.unwrap();
    let mut third = to(address);
    third.timeout = Duration::from_millis(50);
    let error = net.dial(&third).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Busy, Retry::Transient));
    drop(first);
    third.timeout = Duration::from_secs(5);
    let _third = net.dial(&third).await.unwrap();
    eventually("the first one's end", || (log.counts() == (3, 1, 0)).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hundreds_of_endings_at_once_are_all_written() {
    let (net, log) = net();
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((socket, _)) = listener.accept().await {
            held.push(socket);
        }
    });
    let mut streams = Vec::new();
    for _ in 0..400 {
        streams.push(net.dial(&to(address)).await.unwrap());
    }
    assert_eq!(net.connections(), 400);
    drop(streams);
    assert_eq!(net.drain(Duration::from_secs(10)).await, 0);
    log.wait_pairs(400).await;
}
