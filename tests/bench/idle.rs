//! Start to ready, and resident memory at rest, with many flows.

use crate::measure::{RUNS, median, status_kib};
use std::fmt::Write;
use std::time::{Duration, Instant};
use suites::GatewayBuilder;

const FLOWS: usize = 1000;

pub(crate) fn run() {
    let (mut starts, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let place = tempfile::tempdir().unwrap();
        let mut gateway = GatewayBuilder::new(place.path(), "many").build();
        gateway.define("flows.toml", &flows(place.path()));
        let begun = Instant::now();
        gateway.start();
        starts.push(begun.elapsed().as_secs_f64());
        std::thread::sleep(Duration::from_secs(10));
        memory.push(status_kib(gateway.pid(), "VmRSS").unwrap() as f64 / 1024.0);
    }
    println!("| {FLOWS} flows | |\n|---|---|");
    println!(
        "| start to ready | {:.2} s |\n| resident memory at rest | {:.0} MiB |",
        median(starts),
        median(memory)
    );
}

fn flows(root: &std::path::Path) -> String {
    let mut text = String::new();
    for number in 0..FLOWS {
        for side in ["in", "out"] {
            let directory = root.join(format!("{side}-{number}"));
            std::fs::create_dir_all(&directory).unwrap();
            writeln!(
                text,
                "[endpoint.{side}-{number}]\ntransport = \"file\"\nurl = \"file://{}\"",
                directory.display()
            )
            .unwrap();
        }
        let errors = root.join(format!("errors-{number}"));
        writeln!(
            text,
            "[flow.f-{number}]\nsource = {{ endpoint = \"in-{number}\", every = \"60s\", after = \"delete\", error_directory = \"{}\" }}\n\
             [[flow.f-{number}.destination]]\nendpoint = \"out-{number}\"",
            errors.display()
        )
        .unwrap();
    }
    text
}
