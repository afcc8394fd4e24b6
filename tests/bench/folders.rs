//! Folders: one large file and many small ones, up and down, over each protocol, beside OpenSSH's sftp, rclone, lftp and
//! curl on the same server in the same run.
//!
//! `WAYBILL_BENCH_BYTES` (1 GiB), `WAYBILL_BENCH_FILES` (10,000 of 4 KiB), `WAYBILL_BENCH_ROUNDS` (3, the median counts),
//! `WAYBILL_BENCH_DELAY` (milliseconds that everything takes on its way, by a proxy), `WAYBILL_BENCH_CONNECTIONS` (16),
//! `WAYBILL_BENCH_AT_ONCE` (24 files of ours),
//! `WAYBILL_BENCH_PROTOCOLS` (`Sftp,Ftp,Ftps,Webdav`).

mod alone;
mod gateway;
mod peers;
pub(crate) mod site;

use alone::network;
use peers::Peer;
use site::{Protocol, Site, make, measure};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};
use testkit::proxy::{Behaviour, FaultProxy};
use tokio::runtime::Runtime;

const SMALL: usize = 4096;

fn number(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// How many files of ours are under way at once: as many as one endpoint gets by default.
fn at_once() -> usize {
    number("WAYBILL_BENCH_AT_ONCE", 24)
}

/// What one tool needed, in seconds: large up, large down, small up, small down.
struct Times {
    name: String,
    seconds: [f64; 4],
}

pub(crate) fn run() {
    let (bytes, files) = (number("WAYBILL_BENCH_BYTES", 1 << 30), number("WAYBILL_BENCH_FILES", 10_000));
    let delay = number("WAYBILL_BENCH_DELAY", 0);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let place = tempfile::tempdir().unwrap();
    let (large, small) = (place.path().join("large"), place.path().join("small"));
    for (directory, count, size) in [(&large, 1, bytes), (&small, files, SMALL)] {
        std::fs::create_dir(directory).unwrap();
        make(directory, count, size);
    }
    println!(
        "Each transport alone, then a gateway whose flow ends or begins in a local directory; {delay} ms of delay; seconds, and bytes or files a second\n"
    );
    for protocol in Protocol::ALL {
        if !protocol.is_wanted() {
            continue;
        }
        let mut site = Site::start(protocol);
        let _proxies = (delay > 0).then(|| runtime.block_on(delayed(&mut site, delay)));
        println!(
            "| {protocol:?} | {} MiB up | down | {files} × 4 KiB up | down |\n|---|---|---|---|---|",
            bytes >> 20
        );
        let show = |times: Times| {
            let amounts = [bytes as f64 / 1e6, bytes as f64 / 1e6, files as f64, files as f64];
            let units = ["MB/s", "MB/s", "/s", "/s"];
            let cells = times.seconds.iter().zip(amounts).zip(units);
            let cells: Vec<String> =
                cells.map(|((s, amount), unit)| format!("{s:.2} s, {:.0} {unit}", amount / s)).collect();
            println!("| {} | {} |", times.name, cells.join(" | "));
        };
        show(ours(&runtime, &site, place.path(), [&large, &small]));
        for peer in Peer::ALL.into_iter().filter(|peer| peer.speaks(protocol)) {
            // What a tool cannot do here is no reason to learn nothing of the others.
            let times = std::panic::AssertUnwindSafe(|| theirs(peer, &site, place.path(), [&large, &small]));
            match std::panic::catch_unwind(times) {
                Ok(times) => show(times),
                Err(_) => println!("| {} | failed, see above | | | |", peer.name()),
            }
        }
        show(gateway::whole(&site, place.path(), [&large, &small]));
        println!();
    }
}

/// Everything goes through an address of its own, 127.0.0.2, with the server's ports: that of its data connections, if they
/// have some, as well, which servers name by their numbers alone (EPSV).
async fn delayed(site: &mut Site, milliseconds: usize) -> Vec<FaultProxy> {
    let mut proxies = Vec::new();
    for port in std::iter::once(site.port).chain(site.data_ports()) {
        let host = Ipv4Addr::new(127, 0, 0, 2);
        let proxy = FaultProxy::at((host, port).into(), (Ipv4Addr::LOCALHOST, port).into()).await.unwrap();
        proxy.set(Behaviour::Delay(Duration::from_millis(milliseconds as u64))).await.unwrap();
        proxies.push(proxy);
    }
    site.host = "127.0.0.2";
    proxies
}

/// The median time of one copy, each into an empty directory.
fn timed(site: &Site, place: &Path, local: &Path, is_upload: bool, copy: &dyn Fn(&Path, &str)) -> f64 {
    let expected = measure(local);
    let mut times = Vec::new();
    for _ in 0..number("WAYBILL_BENCH_ROUNDS", 3) {
        let remote = site.empty("bench");
        let back = tempfile::tempdir_in(place).unwrap();
        if !is_upload {
            for entry in std::fs::read_dir(local).unwrap().flatten() {
                std::fs::hard_link(entry.path(), remote.join(entry.file_name()))
                    .or_else(|_| std::fs::copy(entry.path(), remote.join(entry.file_name())).map(drop))
                    .unwrap();
            }
        }
        let begun = Instant::now();
        copy(if is_upload { local } else { back.path() }, "bench");
        times.push(begun.elapsed().as_secs_f64());
        let arrived = measure(if is_upload { &remote } else { back.path() });
        assert_eq!(arrived, expected, "not everything arrived");
    }
    crate::measure::median(times)
}

fn ours(runtime: &Runtime, site: &Site, place: &Path, [large, small]: [&Path; 2]) -> Times {
    let copy = |is_upload: bool| {
        move |local: &Path, directory: &str| {
            runtime.block_on(async {
                // New connections each time, as the peers make them.
                let ours = site.ours(&network(), directory);
                match is_upload {
                    true => ours.upload(local).await,
                    false => ours.download(local).await,
                }
            });
        }
    };
    let seconds = [(large, true), (large, false), (small, true), (small, false)]
        .map(|(local, is_upload)| timed(site, place, local, is_upload, &copy(is_upload)));
    Times { name: "**Waybill**".into(), seconds }
}

fn theirs(peer: Peer, site: &Site, place: &Path, [large, small]: [&Path; 2]) -> Times {
    let seconds = [(large, true), (large, false), (small, true), (small, false)].map(|(local, is_upload)| {
        timed(site, place, local, is_upload, &|local, directory| peer.copy(site, local, directory, is_upload))
    });
    Times { name: peer.name().into(), seconds }
}
