//! Speed and memory, beside public tools in the same run. Prints tables; asserts nothing.
//!
//! `tests/bench/run.sh` builds everything optimised and runs all of it; `waybill-bench NAME` runs one:
//! `as2`, `flow`, `folders`, `idle`, `large`, `listing`, `local`, `long`, `long-as2`, `restart`.

mod as2;
mod flow;
mod folders;
mod idle;
mod large;
mod listing;
mod local;
mod long;
mod measure;
mod pair;
mod restart;
mod way;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let all: [(&str, fn()); 10] = [
        ("as2", as2::run),
        ("flow", flow::run),
        ("folders", folders::run),
        ("idle", idle::run),
        ("large", large::run),
        ("listing", listing::run),
        ("local", local::run),
        ("long", long::run),
        ("long-as2", long::message),
        ("restart", restart::run),
    ];
    for (name, bench) in all {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            println!("\n## {name}\n");
            bench();
        }
    }
}
