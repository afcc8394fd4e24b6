//! A gateway that receives small messages, signed and encrypted, over many connections, and answers each with a signed
//! receipt: messages a second.

use super::files::pack_file;
use super::material::{Cipher, Material};
use super::one_thread::small_messages;
use super::wire::{Receipts, Replay, accepted, connect, receipt};
use crate::measure::{RUNS, Used, Work, median, number};
use std::fs;
use std::io::{BufReader, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use suites::{GatewayBuilder, fresh_database};

const CONNECTIONS: usize = 16;
const BYTES: usize = 1024;

pub(super) fn run(material: &Material) {
    let messages = number("WAYBILL_BENCH_MESSAGES", 2000);
    let (payload, packed) = (material.root().join("small.bin"), material.root().join("small"));
    let mut bytes = vec![0; BYTES];
    openssl::rand::rand_bytes(&mut bytes).unwrap();
    fs::write(&payload, bytes).unwrap();
    pack_file(material, Cipher::Cbc, &payload, &packed);
    let mut replay = Replay::open(&packed);
    let body = replay.body();
    println!(
        "\n| {messages} messages of 1 KiB, {CONNECTIONS} connections, signed receipts | messages/s | processor time a message | peak memory, MiB |"
    );
    println!("|---|---|---|---|");
    let rows = [
        ("SQLite, receipts in the answers", false, false),
        ("SQLite, receipts later", false, true),
        ("PostgreSQL, receipts in the answers", true, false),
        ("PostgreSQL, receipts later", true, true),
    ];
    for (name, postgres, later) in rows {
        let (mut rates, mut processor, mut peak) = (Vec::new(), Vec::new(), 0.0_f64);
        for _ in 0..RUNS {
            let used = receive(material, &replay, &body, messages, (postgres, later));
            rates.push(messages as f64 / used.took.as_secs_f64());
            processor.push(used.processor.as_secs_f64() * 1000.0 / messages as f64);
            peak = peak.max(used.memory);
        }
        let (rate, processor) = (median(rates), median(processor));
        println!("| receive, {name} | {rate:.0} | {processor:.2} ms | {peak:.1} |");
    }
    let alone = median((0..RUNS).map(|_| small_messages()).collect());
    println!("| RSA alone (decrypt, verify, sign), one thread of openssl | {alone:.0} | | |");
}

/// All of them, by a gateway of its own, until the last receipt has come: in its answer, or by a connection of its own.
fn receive(
    material: &Material,
    replay: &Replay,
    body: &[u8],
    messages: u64,
    (postgres, later): (bool, bool),
) -> Used {
    let warehouse = material.empty("warehouse");
    let database = postgres.then(|| fresh_database("as2_small"));
    let mut gateway = GatewayBuilder::new(material.root(), "globex").database(database.as_deref()).build();
    let receipts = later.then(Receipts::open);
    let (mut definitions, mut field) = (material.of_globex(&warehouse), String::new());
    if let Some(receipts) = &receipts {
        let url = format!("http://127.0.0.1:{}/as2", receipts.port);
        definitions.push_str(&format!(
            "[endpoint.acme]\ntransport = \"as2\"\npartner = \"acme\"\nidentity = \"globex\"\nurl = \"{url}\"\noffline = false\n"
        ));
        field = format!("Receipt-Delivery-Option: {url}\r\n");
    }
    gateway.define("globex.toml", &definitions);
    gateway.start();
    let (next, port) = (AtomicU64::new(0), gateway.http);
    let work = Work::begin(gateway.pid());
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut stream = BufReader::new(connect(port));
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= messages {
                        break;
                    }
                    let head = replay.head(&format!("<{number}@bench>"));
                    let head = head.replacen("\r\n", &format!("\r\n{field}"), 1);
                    stream.get_mut().write_all(&[head.as_bytes(), body].concat()).unwrap();
                    match later {
                        true => accepted(&mut stream),
                        false => receipt(&mut stream),
                    }
                }
            });
        }
    });
    if let Some(receipts) = &receipts {
        receipts.wait(messages);
    }
    let used = work.end();
    drop(gateway);
    fs::remove_dir_all(material.root().join("globex")).unwrap();
    used
}
