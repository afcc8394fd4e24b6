//! How fast files come over SFTP, beside OpenSSH's own `sftp`, from the same server in the same run.
//!
//! `cargo run --release -p waybill-transport-sftp --example sftp_throughput -- [BYTES] [FILES] [ROUNDS]`: one file of
//! so many bytes (1 GiB) and so many files of 4 KiB (10,000), the median of so many rounds (3).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a measurement, not a part of the product"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use futures::StreamExt;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Sshd, World};
use tokio::io::AsyncReadExt;
use transport::folder::Folder;

const SMALL: usize = 4096;
const AT_ONCE: usize = 64;

/// Bytes read and written at a time. Larger ones have left the processor's cache when they are written.
const COPY: usize = 128 * 1024;

/// Processor time of this process, and of its children that ended, in seconds: what counts when the
/// machine is busy with other things.
fn processor() -> (f64, f64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<f64> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .map(|field| field.parse().unwrap_or_default())
        .collect();
    // utime, stime, cutime, cstime are fields 14 to 17; the first after the name is number 3.
    ((fields[11] + fields[12]) / 100.0, (fields[13] + fields[14]) / 100.0)
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64()
}

/// OpenSSH's own client with the same cipher; its time includes connecting, as ours does.
fn openssh(server: &Sshd, batch: &str) -> Duration {
    let port = server.port().to_string();
    let known = format!("UserKnownHostsFile={}", server.field("known_hosts.port"));
    let began = Instant::now();
    let mut sftp = Command::new("sftp")
        .args([
            "-q",
            "-b",
            "-",
            "-o",
            &known,
            "-o",
            "Ciphers=aes256-gcm@openssh.com",
            "-o",
            "IdentitiesOnly=yes",
        ])
        .args(["-i", server.field("key"), "-P", &port, &format!("{}@127.0.0.1", server.field("user"))])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    sftp.stdin.take().unwrap().write_all(batch.as_bytes()).unwrap();
    assert!(sftp.wait().unwrap().success());
    began.elapsed()
}

/// Reads into one buffer while the other is written to the file.
async fn fetch(folder: &Arc<dyn Folder>, name: &str, to: &Path) -> u64 {
    let mut reader = folder.read(&name.into(), 0).await.unwrap();
    let mut file = File::create(to).unwrap();
    let mut total = 0;
    let mut writing: Option<tokio::task::JoinHandle<(File, Vec<u8>)>> = None;
    let mut spare = vec![0; COPY];
    let mut slot = None;
    loop {
        let mut filled = 0;
        while filled < spare.len() {
            match reader.read(&mut spare[filled..]).await.unwrap() {
                0 => break,
                count => filled += count,
            }
        }
        let (returned, buffer) = match writing.take() {
            Some(task) => task.await.unwrap(),
            None => (file.try_clone().unwrap(), slot.take().unwrap_or_else(|| vec![0; COPY])),
        };
        file = returned;
        if filled == 0 {
            return total;
        }
        total += filled as u64;
        let full = std::mem::replace(&mut spare, buffer);
        let mut to = file.try_clone().unwrap();
        writing = Some(tokio::task::spawn_blocking(move || {
            to.write_all(&full[..filled]).unwrap();
            (to, full)
        }));
    }
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| arguments.next().map_or(default, |text| text.parse().unwrap());
    let (bytes, files, rounds) = (number(1 << 30), number(10_000), number(3));
    let server = Sshd::start();
    let place = tempfile::tempdir().unwrap();
    let block = support::noise(16 << 20);
    let mut large = File::create(server.files().join("large")).unwrap();
    for start in (0..bytes).step_by(block.len()) {
        large.write_all(&block[..block.len().min(bytes - start)]).unwrap();
    }
    let small = server.files().join("small");
    std::fs::create_dir(&small).unwrap();
    for number in 0..files {
        std::fs::write(small.join(format!("{number:05}")), &block[..SMALL]).unwrap();
    }
    let copy = place.path().join("copy");
    let many = place.path().join("many");
    let (mut get, mut theirs, mut listing, mut reads, mut stored) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut our_work, mut their_work) = (0.0, 0.0);
    for _ in 0..rounds {
        // Emptying a file that is there costs time as well, and is not what is measured.
        let _ = std::fs::remove_file(&copy);
        let before = processor().1;
        theirs.push(openssh(&server, &format!("get large {}\n", copy.display())));
        their_work += processor().1 - before;
        std::fs::remove_file(&copy).unwrap();
        let world = World::new();
        let folder = world.folder(&server.endpoint().done());
        let (before, began) = (processor().0, Instant::now());
        // As the engine does it: on a worker, not on the main thread.
        let fetching = tokio::spawn({
            let (folder, copy) = (Arc::clone(&folder), copy.clone());
            async move { fetch(&folder, "large", &copy).await }
        });
        assert_eq!(fetching.await.unwrap(), bytes as u64);
        get.push(began.elapsed());
        our_work += processor().0 - before;

        std::fs::create_dir_all(&many).unwrap();
        stored.push(openssh(&server, &format!("get small/* {}/\n", many.display())));
        std::fs::remove_dir_all(&many).unwrap();
        std::fs::create_dir_all(&many).unwrap();
        let began = Instant::now();
        let names: Vec<_> =
            support::list(&folder, "small").await.unwrap().into_iter().map(|e| e.path).collect();
        listing.push(began.elapsed());
        let began = Instant::now();
        futures::stream::iter(names)
            .for_each_concurrent(AT_ONCE, |name| {
                let (folder, many) = (Arc::clone(&folder), many.join(name.to_text()));
                async move {
                    let mut reader = folder.read(&format!("small/{name}").as_str().into(), 0).await.unwrap();
                    let mut content = Vec::with_capacity(SMALL);
                    reader.read_to_end(&mut content).await.unwrap();
                    assert_eq!(content.len(), SMALL);
                    std::fs::write(many, content).unwrap();
                }
            })
            .await;
        reads.push(began.elapsed());
        std::fs::remove_dir_all(&many).unwrap();
    }
    let mib = bytes as f64 / f64::from(1 << 20);
    let (ours, theirs) = (mib / median(get), mib / median(theirs));
    println!(
        "one file of {mib:.0} MiB to a file, MiB/s: waybill {ours:.0}, sftp {theirs:.0}, ratio {:.2}",
        ours / theirs
    );
    let gib = mib / 1024.0 * rounds as f64;
    println!(
        "processor seconds of the client per GiB: waybill {:.2}, sftp {:.2}",
        our_work / gib,
        their_work / gib
    );
    let (list, read, stored) = (median(listing), median(reads), median(stored));
    let (ours, theirs) = (files as f64 / (list + read), files as f64 / stored);
    println!(
        "{files} files of 4 KiB to files, files/s: waybill {ours:.0} (names {:.0}/s), sftp {theirs:.0}, ratio {:.2}",
        files as f64 / list,
        ours / theirs
    );
}
