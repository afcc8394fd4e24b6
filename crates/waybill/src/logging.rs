//! The operator's log, on standard error.

use config::settings::LogFormat;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts logging. `RUST_LOG` wins over the level in the settings, for a look closer for once.
pub(crate) fn start(format: LogFormat, level: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        // sqlx logs slow statements at warn by itself; its chatter below is not for operators.
        EnvFilter::new(format!("{level},sqlx=warn,russh=warn,hyper=warn"))
    });
    // Colours are for a person at a terminal, not for a file.
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(colours);
    // A second start (two gateways in one process) keeps the first one's.
    let started = match format {
        LogFormat::Json => builder.json().try_init(),
        LogFormat::Text => builder.try_init(),
    };
    drop(started);
}
