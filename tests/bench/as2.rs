//! AS2 beside one thread of OpenSSL that does the same digests and ciphers, in one run: `as2 pack` and `as2 unpack`, a
//! gateway that sends to a sink, a gateway that receives from a replayer, the time until the first byte of a large message leaves,
//! and messages of 1 KiB over many connections.
//! Neither the sink nor the replayer does any cryptography.
//!
//! `WAYBILL_BENCH_MIB` (1,024), `WAYBILL_BENCH_GIB` (10), `WAYBILL_BENCH_MESSAGES` (2,000).

mod files;
mod first_byte;
mod material;
mod one_thread;
mod receiving;
mod sending;
mod small;
mod wire;

use crate::measure::{RUNS, Used, median, number};
use material::{Cipher, Material};
use one_thread::Primitives;

pub(crate) fn run() {
    let mib = number("WAYBILL_BENCH_MIB", 1024);
    let material = Material::make(mib);
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    println!(
        "| {mib} MiB, {processors} processors | MB/s | of one thread of openssl | processors busy | peak memory, MiB |"
    );
    println!("|---|---|---|---|---|");
    for cipher in Cipher::ALL {
        let (sent, received) = (Primitives::of_sending(cipher), Primitives::of_receiving(cipher));
        row(&format!("as2 pack, {cipher}"), mib, &sent, || files::pack(&material, cipher));
        row(&format!("send, {cipher}"), mib, &sent, || sending::send(&material, cipher));
        // The payload's own digest is a receiver's only: nothing records that of an unpacked file.
        row(&format!("as2 unpack, {cipher}"), mib, &sent.reversed(), || files::unpack(&material));
        row(&format!("receive, {cipher}"), mib, &received, || receiving::receive(&material));
    }
    let written = median((0..RUNS).map(|_| speed(mib, files::write(&material))).collect());
    println!("| a file written and synced, no more | {written:.0} | | | |");
    first_byte::run(&material, number("WAYBILL_BENCH_GIB", 10));
    small::run(&material);
}

/// A measurement, each run of it followed by the same primitives in one thread.
fn row(name: &str, mib: u64, primitives: &Primitives, act: impl Fn() -> Used) {
    let (mut ours, mut raw, mut busy, mut peak) = (Vec::new(), Vec::new(), Vec::new(), 0.0_f64);
    for _ in 0..RUNS {
        let used = act();
        ours.push(speed(mib, used.took.as_secs_f64()));
        raw.push(speed(mib, primitives.seconds(mib)));
        busy.push(used.processor.as_secs_f64() / used.took.as_secs_f64());
        peak = peak.max(used.memory);
    }
    let (ours, raw, busy) = (median(ours), median(raw), median(busy));
    let of_one = 100.0 * ours / raw;
    println!("| {name} | {ours:.0} | {of_one:.0} % of {raw:.0} | {busy:.1} | {peak:.1} |");
}

/// MB/s.
fn speed(mib: u64, seconds: f64) -> f64 {
    (mib << 20) as f64 / 1e6 / seconds
}
