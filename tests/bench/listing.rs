//! Folders of very many files: until a flow that takes ten at a time has delivered the first one, beside a bare listing by
//! another client, and the gateway's memory.
//!
//! `WAYBILL_BENCH_NAMES` (100000,1000000), `WAYBILL_BENCH_PROTOCOLS` as of `folders`; the directory is always measured.

use crate::folders::site::{Protocol, Site, make};
use crate::measure::status_kib;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use suites::{GatewayBuilder, eventually};

pub(crate) fn run() {
    let counts = std::env::var("WAYBILL_BENCH_NAMES").unwrap_or_else(|_| "100000,1000000".into());
    for count in counts.split(',').map(|count| count.parse::<usize>().unwrap()) {
        println!(
            "| {count} files, ten at a time | bare listing | first delivery | peak memory |\n|---|---|---|---|"
        );
        for protocol in [None, Some(Protocol::Sftp), Some(Protocol::Ftp), Some(Protocol::Webdav)] {
            if protocol.is_some_and(|protocol| !protocol.is_wanted()) {
                continue;
            }
            let name = protocol.map_or_else(|| "directory".to_owned(), |protocol| format!("{protocol:?}"));
            match one(protocol, count) {
                Ok([bare, first, memory]) => println!(
                    "| {name} | {bare:.2} s | {first:.2} s ({:.1} times) | {memory:.0} MiB |",
                    first / bare
                ),
                Err(why) => println!("| {name} | {why} | | |"),
            }
        }
        println!();
    }
}

fn one(protocol: Option<Protocol>, count: usize) -> Result<[f64; 3], String> {
    let place = tempfile::tempdir().unwrap();
    let site = protocol.map(Site::start);
    let files = match &site {
        Some(site) => site.empty("many"),
        None => place.path().join("many"),
    };
    drop(std::fs::create_dir(&files));
    make(&files, count, 16);
    let bare = listed(site.as_ref(), &files, count)?;
    let arriving = place.path().join("arriving");
    std::fs::create_dir(&arriving).unwrap();
    let mut gateway = GatewayBuilder::new(place.path(), "gateway").build();
    let endpoint = match &site {
        Some(site) => site.document("many", gateway.directory()),
        None => format!("[endpoint.site]\ntransport = \"file\"\nurl = \"file://{}\"\n", files.display()),
    };
    gateway.define(
        "flow.toml",
        &format!(
            "{endpoint}[endpoint.local]\ntransport = \"file\"\nurl = \"file://{}\"\n[flow.copy]\n\
             source = {{ endpoint = \"site\", mask = \"*\", every = \"2s\", stable_for = \"0s\", read_limit = 10, after = \"delete\" }}\n\
             [[flow.copy.destination]]\nendpoint = \"local\"\n",
            arriving.display(),
        ),
    );
    let begun = Instant::now();
    gateway.start();
    eventually("the first file is there", Duration::from_secs(900), || {
        std::fs::read_dir(&arriving).unwrap().next().map(drop)
    });
    let first = begun.elapsed().as_secs_f64();
    // A few polls more.
    eventually("some files are there", Duration::from_secs(900), || {
        (std::fs::read_dir(&arriving).unwrap().count() >= 30).then_some(())
    });
    Ok([bare, first, status_kib(gateway.pid(), "VmHWM").unwrap() as f64 / 1024.0])
}

/// The seconds of another client's listing.
fn listed(site: Option<&Site>, files: &Path, count: usize) -> Result<f64, String> {
    let command = match site {
        None => format!("ls -lf {}", files.display()),
        Some(site) => match site.protocol {
            Protocol::Sftp => {
                let (key, user, port) = (site.server.text("key"), site.server.text("user"), site.port);
                format!(
                    "echo 'ls -lnf {}' | sftp -q -b - -i {key} -o IdentitiesOnly=yes -o StrictHostKeyChecking=no \
                     -o UserKnownHostsFile=/dev/null -P {port} {user}@127.0.0.1",
                    site.remote("many")
                )
            }
            Protocol::Ftp | Protocol::Ftps => format!(
                "curl --disable -sS -X MLSD --user {}:{} ftp://127.0.0.1:{}/{}/",
                site.server.text("user"),
                site.password(),
                site.port,
                site.remote("many")
            ),
            Protocol::Webdav => format!(
                "curl --disable -sS -X PROPFIND -H 'Depth: 1' -H 'Content-Type: application/xml' --data \
                 '<propfind xmlns=\"DAV:\"><prop><getcontentlength/><getlastmodified/><getetag/><resourcetype/></prop></propfind>' \
                 --user {}:{} http://127.0.0.1:{}/{}/ | tr '>' '\\n' | grep '\\.dat</'",
                site.server.text("user"),
                site.password(),
                site.port,
                site.remote("many")
            ),
        },
    };
    let begun = Instant::now();
    let output = Command::new("sh").args(["-c", &command]).stdin(Stdio::null()).output().unwrap();
    let took = begun.elapsed().as_secs_f64();
    let names =
        output.stdout.split(|byte| *byte == b'\n').filter(|line| line.windows(4).any(|end| end == b".dat"));
    match names.count() {
        found if found >= count => Ok(took),
        found => Err(format!("{found} listed: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}
