//! A real load balancer before the server, in each way that it tells its clients.

use super::strangers::{behind, connect_from, exchange};
use super::{anywhere, get};
use crate::support::eventually;
use net::http::{ForwardedHeader, ListenSpec};
use std::net::SocketAddr;
use tokio::process::{Child, Command};

struct Haproxy {
    address: SocketAddr,
    _process: Child,
    _directory: tempfile::TempDir,
}

async fn haproxy(server: SocketAddr, option: &str, of_server: &str) -> Haproxy {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("haproxy.cfg");
    let text = format!(
        "defaults\n mode http\n timeout connect 5s\n timeout client 5s\n timeout server 5s\n{option}\n\
         listen waybill\n bind {address}\n server waybill {server} {of_server}\n"
    );
    std::fs::write(&file, text).unwrap();
    let process =
        Command::new("/usr/sbin/haproxy").arg("-db").arg("-f").arg(&file).kill_on_drop(true).spawn().unwrap();
    eventually("haproxy", || std::net::TcpStream::connect(address).ok()).await;
    Haproxy { address, _process: process, _directory: directory }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_behind_haproxy_are_known() {
    let proxied = ListenSpec { proxy_protocol: true, ..anywhere() };
    for (spec, option, of_server, port_known) in [
        (anywhere(), " option forwardfor", "", false),
        (proxied.clone(), "", "send-proxy", true),
        (proxied.clone(), "", "send-proxy-v2", true),
        // Its health checks come with a header that names no client.
        (proxied, "", "send-proxy-v2 check inter 100ms", true),
    ] {
        let f = behind(&["127.0.0.1"], ForwardedHeader::Either, spec);
        let haproxy = haproxy(f.address, option, of_server).await;
        for request in [
            get("/", "x"),
            // What the client says of itself does not count.
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Forwarded-For: 198.51.100.66\r\n\r\n"
                .to_owned(),
        ] {
            let mut client = connect_from("127.0.0.9", haproxy.address).await;
            let own = client.local_addr().unwrap();
            let answer = exchange(&mut client, &request).await;
            assert!(answer.contains("200 OK"), "{option}{of_server}: {answer}");
            let peer = f.talker.peers.lock().unwrap().pop().unwrap();
            assert_eq!(peer.remote.ip(), own.ip(), "{option}{of_server}: {peer:?}");
            assert_eq!(peer.remote.port(), if port_known { own.port() } else { 0 });
            assert!(peer.proxy.is_some_and(|proxy| proxy.ip().to_string() == "127.0.0.1"));
            let of_client = |remote: Option<SocketAddr>| remote.is_some_and(|remote| remote.ip() == own.ip());
            assert!(f.log.opened.lock().unwrap().iter().any(|opened| of_client(opened.record.remote)));
        }
    }
}
