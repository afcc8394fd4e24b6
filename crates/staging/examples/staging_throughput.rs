//! How fast staging takes bytes in and gives them back, and where the time goes.
//!
//! `cargo run --release -p waybill-staging --example staging_throughput -- DIRECTORY [MIB]`

#![allow(clippy::print_stdout)]

use model::PayloadId;
use openssl::sha::Sha256;
use staging::{RealDisk, Settings, Staging};
use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// A moment, by the clock and by this thread's share of a processor: the second tells the work on a
/// machine that is busy with other things.
struct Moment(Instant, f64);

/// Seconds by either.
#[derive(Clone, Copy)]
struct Spent(f64, f64);

impl Moment {
    fn now() -> Self {
        // Nanoseconds on a processor are the first number there.
        let spent = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        let nanos = spent.split(' ').next().and_then(|n| n.parse::<f64>().ok()).unwrap_or_default();
        Self(Instant::now(), nanos / 1e9)
    }

    fn elapsed(&self) -> Spent {
        let now = Self::now();
        Spent((now.0 - self.0).as_secs_f64(), now.1 - self.1)
    }
}

const BLOCK: usize = 512 * 1024;
const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let directory = arguments.next().ok_or("name a directory to write in")?;
    let mib: u64 = arguments.next().map_or(Ok(1024), |text| text.to_string_lossy().parse())?;
    let root = Path::new(&directory).join("throughput");
    let staging = Staging::open(&root, Arc::new(RealDisk), Settings::default())?;
    let blocks = usize::try_from(mib)? * 1024 * 1024 / BLOCK;
    let block: Vec<u8> = (0..BLOCK).map(|n| (n * 31 % 251) as u8).collect();

    row("hash alone", mib, || {
        let mut hash = Sha256::new();
        (0..blocks).for_each(|_| hash.update(&block));
        hash.finish();
        Ok(())
    })?;
    let plain = root.join("plain");
    let (mut writes, mut syncs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let started = Moment::now();
        let mut file = File::create(&plain)?;
        for _ in 0..blocks {
            file.write_all(&block)?;
        }
        writes.push(started.elapsed());
        let started = Moment::now();
        file.sync_data()?;
        syncs.push(started.elapsed());
        std::fs::remove_file(&plain)?;
    }
    let both =
        writes.iter().zip(&syncs).map(|(write, sync)| Spent(write.0 + sync.0, write.1 + sync.1)).collect();
    print("write alone", mib, writes);
    print("sync alone, after that", mib, syncs);
    print("write and sync", mib, both);

    let (mut appends, mut commits, mut wholes) = (Vec::new(), Vec::new(), Vec::new());
    let mut payload = None;
    for _ in 0..ROUNDS {
        let started = Moment::now();
        let mut part = staging.begin(PayloadId::new(uuid::Uuid::now_v7()))?;
        for _ in 0..blocks {
            part.append(&block)?;
        }
        appends.push(started.elapsed());
        let committing = Moment::now();
        let committed = part.commit()?;
        commits.push(committing.elapsed());
        wholes.push(started.elapsed());
        if let Some(before) = payload.replace(committed) {
            staging.remove(before.id)?;
        }
    }
    print("staging: append and hash", mib, appends);
    print("staging: commit, after that", mib, commits);
    print("staging: begin to committed", mib, wholes);

    let payload = payload.ok_or("nothing was staged")?;
    let mut buffer = vec![0; BLOCK];
    row("read", mib, || drain(staging.read(&payload, 0..payload.length)?, &mut buffer))?;
    row("read and verify", mib, || drain(staging.read_verified(&payload)?, &mut buffer))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    row("stream", mib, || {
        runtime.block_on(async {
            let mut stream = staging.stream(&payload, 0..payload.length).await?;
            while tokio::io::AsyncReadExt::read(&mut stream, &mut buffer).await? > 0 {}
            Ok(())
        })
    })?;
    staging.remove(payload.id)?;
    small(&staging)?;
    std::fs::remove_dir_all(&root)?;
    Ok(())
}

/// Files of 4 KiB, by one writer and by many: what the two syncs of each cost.
fn small(staging: &Staging) -> Result<(), Box<dyn Error>> {
    for writers in [1, 8, 64] {
        let each = 512 / writers;
        let started = Moment::now();
        std::thread::scope(|scope| {
            let run = |_| {
                scope.spawn(|| -> model::Result<()> {
                    for _ in 0..each {
                        let mut part = staging.begin(PayloadId::new(uuid::Uuid::now_v7()))?;
                        part.append(&[7; 4096])?;
                        part.commit()?;
                    }
                    Ok(())
                })
            };
            let threads: Vec<_> = (0..writers).map(run).collect();
            threads.into_iter().try_for_each(|thread| thread.join().unwrap_or(Ok(())))
        })?;
        let rate = f64::from(writers * each) / started.elapsed().0;
        println!("{:<28} {rate:>8.0} files/s", format!("4 KiB files, {writers} writers"));
    }
    Ok(())
}

fn drain(mut reader: impl Read, buffer: &mut [u8]) -> Result<(), Box<dyn Error>> {
    while reader.read(buffer)? > 0 {}
    Ok(())
}

fn row(
    what: &str,
    mib: u64,
    mut run: impl FnMut() -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let started = Moment::now();
        run()?;
        times.push(started.elapsed());
    }
    print(what, mib, times);
    Ok(())
}

/// The median of the rounds.
fn print(what: &str, mib: u64, mut times: Vec<Spent>) {
    times.sort_by(|one, other| one.0.total_cmp(&other.0));
    let Spent(seconds, busy) = times[times.len() / 2];
    println!("{what:<28} {seconds:>8.3} s {:>8.0} MiB/s {busy:>8.3} s of processor", mib as f64 / seconds);
}
