//! The operator's log, on standard error.
//!
//! Libraries write headers, cookies, passwords and the values of statements into their own debug and trace
//! lines. Those never reach the log, whatever the filter asks for: of a library only warnings and errors do.

use crate::commands::write::note;
use config::settings::LogFormat;
use model::{PeerText, quoted};
use std::fmt::{self, Debug};
use std::io::IsTerminal;
use tracing::field::{Field, Visit};
use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// Waybill's own crates: lines of any level may come from these.
const OWN: [&str; 19] = [
    "config",
    "console",
    "control",
    "engine",
    "model",
    "net",
    "pgp_mime",
    "smime",
    "staging",
    "steps",
    "store",
    "suites",
    "transport",
    "transport_as2",
    "transport_file",
    "transport_ftp",
    "transport_sftp",
    "transport_webdav",
    "waybill",
];

/// Starts logging. `RUST_LOG` wins over the level in the settings.
pub(crate) fn start(format: LogFormat, level: &str) {
    let wanted = std::env::var("RUST_LOG").ok().filter(|wanted| !wanted.trim().is_empty());
    let filter = wanted.map(|wanted| EnvFilter::try_new(&wanted).map_err(|error| (wanted, error)));
    let filter = match filter {
        Some(Ok(filter)) => filter,
        Some(Err((wanted, error))) => {
            note(format_args!(
                "waybill: RUST_LOG is ignored: {} is not a filter: {error}; write a level such as debug, or engine=debug,net=info",
                quoted(&wanted)
            ));
            EnvFilter::new(level)
        }
        None => EnvFilter::new(level),
    };
    let filter = filter.and(filter_fn(may_be_written));
    // Colours are for a person at a terminal, not for a file.
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let layer =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(colours);
    let registry = tracing_subscriber::registry();
    // A second start (two gateways in one process) keeps the first one's.
    let started = match format {
        LogFormat::Json => registry.with(layer.json().with_filter(filter)).try_init(),
        LogFormat::Text => registry.with(layer.fmt_fields(Words).with_filter(filter)).try_init(),
    };
    drop(started);
}

/// Whether a line may be written at all.
fn may_be_written(metadata: &Metadata<'_>) -> bool {
    // Levels compare by how much they let through.
    *metadata.level() <= Level::WARN || is_own(metadata.target())
}

fn is_own(target: &str) -> bool {
    let name = target.split("::").next().unwrap_or_default();
    OWN.contains(&name)
}

/// The message, then `name=value` for each field, every value quoted by the one rule.
struct Words;

impl<'writer> FormatFields<'writer> for Words {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut line = Line { writer, begun: false, result: Ok(()) };
        fields.record(&mut line);
        line.result
    }
}

struct Line<'writer> {
    writer: Writer<'writer>,
    begun: bool,
    result: fmt::Result,
}

impl Line<'_> {
    fn put(&mut self, field: &Field, value: &str) {
        if self.result.is_err() || field.name().starts_with("log.") {
            return;
        }
        let space = if std::mem::replace(&mut self.begun, true) { " " } else { "" };
        self.result = match field.name() {
            "message" => write!(self.writer, "{space}{}", PeerText::from(value)),
            name if self.writer.has_ansi_escapes() => {
                write!(self.writer, "{space}\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m{}", quoted(value))
            }
            name => write!(self.writer, "{space}{name}={}", quoted(value)),
        };
    }
}

impl Visit for Line<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    /// Also what is shown by `Display`: `tracing` hides it behind `Debug`.
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::{OWN, Words, filter_fn, is_own, may_be_written};
    use std::io::Write;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is written at trace level.
    fn written(act: impl FnOnce()) -> String {
        let paper = Paper::default();
        let copy = paper.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(move || copy.clone())
            .with_ansi(false)
            .with_target(false)
            .without_time()
            .fmt_fields(Words)
            .with_filter(filter_fn(may_be_written));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), act);
        let bytes = paper.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn every_value_is_one_word() {
        let (file, plain) = ("a flow=x", "in/a.edi");
        let lines = written(|| {
            tracing::info!(%file, path = plain, other = file, number = 5, empty = "", "taken\nERROR forged");
        });
        let expected =
            r#"INFO taken\u{a}ERROR forged file="a flow=x" path=in/a.edi other="a flow=x" number=5 empty="""#;
        assert_eq!(lines.trim(), expected);
    }

    #[test]
    fn libraries_write_warnings_and_nothing_below() {
        let lines = written(|| {
            tracing::trace!(target: "hyper::proto", "cookie: hunter2");
            tracing::debug!(target: "sqlx::query", "hunter2");
            tracing::info!(target: "russh", "hunter2");
            tracing::info!(target: "network_of_others", "hunter2");
            tracing::warn!(target: "sqlx::pool", "slow");
            tracing::trace!(target: "engine::poller", "looked");
        });
        assert!(lines.contains("slow") && lines.contains("looked") && !lines.contains("hunter2"), "{lines}");
    }

    /// A new room's lines are the operator's as well.
    #[test]
    fn every_room_may_write() {
        let crates = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).unwrap();
        let names = crates.map(|entry| entry.unwrap().file_name().into_string().unwrap().replace('-', "_"));
        for name in names.filter(|name| name != "testkit") {
            assert!(is_own(&name), "{name} is not in {OWN:?}");
        }
    }
}
