//! Killing gateways.

use crate::random;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};
use suites::Gateway;
use testkit::crash::CRASH_AT;

const SIGKILL: i32 = 9;
/// How long a gateway may take to come to its crash point.
const PATIENCE: Duration = Duration::from_secs(8);

/// How a gateway is to die.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Death {
    /// When it passes a point for the nth time.
    At(&'static str, u64),
    /// At some moment.
    Random,
}

/// Deaths at each point, then others at random, at points and moments; `count` in all.
pub fn plan(points: &[&'static str], count: usize) -> Vec<Death> {
    let mut plan: Vec<Death> = points.iter().map(|point| at(point, 2)).collect();
    while plan.len() < count {
        let any = usize::try_from(random(points.len() as u64)).unwrap();
        let death = if random(2) == 0 { Death::Random } else { at(points[any], 3) };
        plan.push(death);
    }
    // Shuffled, so that each run finds another sequence.
    for at in (1..plan.len()).rev() {
        plan.swap(at, usize::try_from(random(at as u64 + 1)).unwrap());
    }
    plan
}

fn at(point: &'static str, most: u64) -> Death {
    // Retention passes its point once for hundreds of payloads.
    Death::At(point, if point.starts_with("retain") { 1 } else { 1 + random(most) })
}

/// Starts a gateway and sees it die; whether it died at the point that was asked for.
pub fn start_and_die(gateway: &mut Gateway, death: Death) -> bool {
    start_and_die_while(gateway, death, |_| {})
}

/// The same, with something else to do once it was started.
pub fn start_and_die_while(gateway: &mut Gateway, death: Death, meanwhile: impl FnOnce(&Gateway)) -> bool {
    match death {
        Death::Random => {
            gateway.set_variable(CRASH_AT, None);
            gateway.spawn();
            meanwhile(gateway);
            std::thread::sleep(Duration::from_millis(100 + random(2400)));
            assert!(gateway.ended().is_none(), "the gateway ended by itself\n{}", tail(gateway));
            gateway.kill();
            true
        }
        Death::At(point, count) => {
            gateway.set_variable(CRASH_AT, Some(&format!("{point}:{count}")));
            gateway.spawn();
            meanwhile(gateway);
            let died = dies(gateway, point);
            gateway.set_variable(CRASH_AT, None);
            died
        }
    }
}

fn dies(gateway: &mut Gateway, point: &str) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some(status) = gateway.ended() {
            assert_eq!(status.signal(), Some(SIGKILL), "it should have died at {point}\n{}", tail(gateway));
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    gateway.kill();
    false
}

/// The end of a gateway's log.
pub fn tail(gateway: &Gateway) -> String {
    let log = gateway.log();
    let lines: Vec<&str> = log.lines().collect();
    format!(
        "--- the log of {}\n{}",
        gateway.directory().display(),
        lines[lines.len().saturating_sub(60)..].join("\n")
    )
}
