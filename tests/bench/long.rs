//! Large files: one of many gibibytes from SFTP to FTP, one as an AS2 message between two gateways, and one whose connections are
//! cut again and again on the way.
//!
//! `WAYBILL_BENCH_GIB` (10), `WAYBILL_BENCH_CUTS` (20, of a file of 2 GiB).

use crate::folders::site::{Protocol, Site, make, measure};
use crate::measure::{number, status_kib};
use crate::pair::pair;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};
use suites::{Gateway, GatewayBuilder, eventually};
use testkit::proxy::{Behaviour, Direction, Ending, FaultProxy};

pub(crate) fn run() {
    large(number("WAYBILL_BENCH_GIB", 10) << 30);
    cut(2 << 30, number("WAYBILL_BENCH_CUTS", 20));
}

/// From a server to another, through a gateway.
fn large(bytes: u64) {
    let place = tempfile::tempdir().unwrap();
    let (sftp, ftp) = (Site::start(Protocol::Sftp), Site::start(Protocol::Ftp));
    let (from, to) = (sftp.empty("from"), ftp.empty("to"));
    make(&from, 1, usize::try_from(bytes).unwrap());
    let mut gateway = GatewayBuilder::new(place.path(), "gateway").build();
    let endpoints = [(&sftp, "from"), (&ftp, "to")].map(|(site, directory)| {
        let secrets = place.path().join(directory);
        std::fs::create_dir(&secrets).unwrap();
        site.document(directory, &secrets).replace("[endpoint.site]", &format!("[endpoint.{directory}]"))
    });
    gateway.define("flow.toml", &format!("{}\n{FLOW}", endpoints.concat()));
    let begun = Instant::now();
    gateway.start();
    arrived(&to, bytes);
    let took = begun.elapsed().as_secs_f64();
    println!("| {} GiB, SFTP → gateway → FTP | |\n|---|---|", bytes >> 30);
    println!("| the whole way | {took:.0} s, {:.0} MB/s |", bytes as f64 / 1e6 / took);
    println!("| peak memory | {:.0} MiB |", memory(&gateway));
    println!("| the same bytes | {} |", same(&from, &to));
}

/// From a server through a gateway, by AS2 (signed, encrypted, with a signed receipt in the answer) to another one.
pub(crate) fn message() {
    let bytes = number("WAYBILL_BENCH_GIB", 10) << 30;
    let mut pair = pair(false);
    let (folder, original) = (pair.folder(), pair.root.path().join("original"));
    sparse(&original, bytes);
    // The gateway deletes its name of it.
    std::fs::hard_link(&original, folder.join("large.bin")).unwrap();
    pair.globex.start();
    let begun = Instant::now();
    pair.acme.start();
    let arrived = pair.warehouse().join("large.bin");
    eventually("the file is there", Duration::from_secs(3600), || arrived.exists().then_some(()));
    let took = begun.elapsed().as_secs_f64();
    let is_proved =
        || pair.acme.json(&["transfer", "list", "--file", "large.bin"])[0]["state"] == "completed";
    eventually("the receipt is recorded", Duration::from_secs(60), || is_proved().then_some(()));
    println!("\n| {} GiB, SFTP → gateway → AS2 → gateway → directory | |\n|---|---|", bytes >> 30);
    println!("| the whole way | {took:.0} s, {:.0} MB/s |", bytes as f64 / 1e6 / took);
    println!("| peak memory, sender | {:.0} MiB |", memory(&pair.acme));
    println!("| peak memory, receiver | {:.0} MiB |", memory(&pair.globex));
    let same = std::process::Command::new("cmp").arg(&original).arg(arrived).status().unwrap().success();
    println!("| the same bytes | {same} |");
}

/// A file with a random block every 16 MiB, and nothing between: four copies of it would not have room everywhere.
pub(crate) fn sparse(path: &Path, bytes: u64) {
    let mut file = File::create(path).unwrap();
    file.set_len(bytes).unwrap();
    let mut block = vec![0; 64 * 1024];
    for at in (0..bytes).step_by(16 << 20) {
        openssl::rand::rand_bytes(&mut block).unwrap();
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(&block).unwrap();
    }
}

/// To a server behind a line that breaks so often.
fn cut(bytes: u64, cuts: u64) {
    let place = tempfile::tempdir().unwrap();
    let mut sftp = Site::start(Protocol::Sftp);
    let (from, to) = (place.path().join("local"), sftp.empty("to"));
    std::fs::create_dir(&from).unwrap();
    make(&from, 1, usize::try_from(bytes).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let proxy = runtime.block_on(FaultProxy::before((Ipv4Addr::LOCALHOST, sftp.port).into())).unwrap();
    sftp.port = proxy.address().port();
    let after = bytes / (cuts + 1);
    let cutting = Behaviour::Cut { direction: Direction::Up, after, how: Ending::Reset };
    runtime.block_on(proxy.set(cutting)).unwrap();
    let mut gateway = GatewayBuilder::new(place.path(), "gateway").build();
    let from_here = format!("[endpoint.from]\ntransport = \"file\"\nurl = \"file://{}\"\n", from.display());
    let there = sftp.document("to", place.path()).replace("[endpoint.site]", "[endpoint.to]");
    gateway.define("flow.toml", &format!("{from_here}{there}\n{FLOW}"));
    let begun = Instant::now();
    gateway.start();
    // The last connection may end its file in peace.
    eventually("so many cuts", Duration::from_secs(3600), || (proxy.accepted() > cuts).then_some(()));
    runtime.block_on(proxy.set(Behaviour::Pass)).unwrap();
    arrived(&to, bytes);
    println!("\n| {} GiB over a line that is cut every {} MiB | |\n|---|---|", bytes >> 30, after >> 20);
    println!("| the whole way | {:.0} s |", begun.elapsed().as_secs_f64());
    println!("| connections | {} |", proxy.accepted());
    let sent = proxy.bytes(Direction::Up) as f64;
    println!("| bytes sent, of those of the file | {:.2} |", sent / bytes as f64);
    println!("| peak memory | {:.0} MiB |", memory(&gateway));
    println!("| the same bytes | {} |", same(&from, &to));
}

const FLOW: &str = r#"
[flow.copy]
source = { endpoint = "from", mask = "*", every = "2s", stable_for = "0s", after = "keep" }
[[flow.copy.destination]]
endpoint = "to"
retry = { attempts = 100, first = "1s", longest = "2s" }
"#;

/// Waits until the file is there whole, under its name.
fn arrived(directory: &Path, bytes: u64) {
    let path = directory.join("000000.dat");
    eventually("the file is there", Duration::from_secs(3600), || {
        (path.exists() && measure(directory) == (1, bytes)).then_some(())
    });
}

fn memory(gateway: &Gateway) -> f64 {
    status_kib(gateway.pid(), "VmHWM").unwrap() as f64 / 1024.0
}

fn same(one: &Path, other: &Path) -> bool {
    let [one, other] = [one, other].map(|directory| directory.join("000000.dat"));
    std::process::Command::new("cmp").args([one, other]).status().unwrap().success()
}
