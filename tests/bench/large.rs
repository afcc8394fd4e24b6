//! Memory of both gateways with many large transfers at once.

use crate::flow::count;
use crate::measure::status_kib;
use crate::pair::pair;
use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};
use suites::eventually;

const FILES: usize = 64;
const MIB: usize = 64;

pub(crate) fn run() {
    let mut pair = pair(false);
    let mut block = vec![0; 1 << 20];
    for number in 0..FILES {
        let mut file = File::create(pair.folder().join(format!("large-{number:02}.bin"))).unwrap();
        for _ in 0..MIB {
            openssl::rand::rand_bytes(&mut block).unwrap();
            file.write_all(&block).unwrap();
        }
    }
    pair.globex.start();
    let begun = Instant::now();
    pair.acme.start();
    let warehouse = pair.warehouse();
    eventually("all files are there", Duration::from_secs(1200), || {
        (count(&warehouse) >= FILES).then_some(())
    });
    let took = begun.elapsed().as_secs_f64();
    let peak = |pid| status_kib(pid, "VmHWM").unwrap() as f64 / 1024.0;
    println!("| {FILES} files of {MIB} MiB, buffers = 256 MiB | |\n|---|---|");
    println!("| whole way | {:.0} MB/s |", ((FILES * MIB) << 20) as f64 / 1e6 / took);
    println!("| peak memory, sender | {:.0} MiB |", peak(pair.acme.pid()));
    println!("| peak memory, receiver | {:.0} MiB |", peak(pair.globex.pid()));
}
