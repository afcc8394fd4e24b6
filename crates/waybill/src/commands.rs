//! One file for each command.

mod as2;
mod audit;
mod demo;
mod endpoint;
mod pages;
mod reference;
mod serve;
mod transfer;
mod validate;
mod write;

use crate::cli::{As2, Audit, Cli, Command, Endpoint, Output, Transfer};
use crate::logging;
use crate::process::Ambient;
use config::{ProcessEnvironment, Settings, Severity};
use model::{Error, ErrorKind, Result};
use std::path::Path;
use std::process::ExitCode;

/// Exit code of a command that ran and found something wrong (a failed test, an invalid document, a
/// broken seal), apart from 1, which says that it could not run.
pub(crate) const FOUND_WRONG: u8 = 2;

/// Runs a command; its errors go to standard error.
pub(crate) async fn run(cli: Cli) -> ExitCode {
    match dispatch(cli).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("waybill: {}", error.chain());
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(cli: Cli) -> Result<ExitCode> {
    let output = cli.output;
    match cli.command {
        // These need no settings: they work on files alone.
        Command::As2(As2::Pack(pack)) => as2::pack(pack).await,
        Command::As2(As2::Unpack(unpack)) => as2::unpack(unpack).await,
        Command::Demo(demo) => demo::run(demo).await,
        command => with_settings(command, settings(cli.config.as_deref())?, output).await,
    }
}

async fn with_settings(command: Command, settings: Settings, output: Output) -> Result<ExitCode> {
    if let Command::Serve(serve) = command {
        logging::start(settings.log.format, settings.log.level);
        return serve::run(settings, serve).await;
    }
    logging::start(settings.log.format, "warn");
    match command {
        Command::Validate { definitions } => validate::run(&settings, &definitions, output).await,
        Command::Transfer(Transfer::List(wanted)) => transfer::list(&settings, wanted, output).await,
        Command::Transfer(Transfer::Show { id }) => transfer::show(&settings, id, output).await,
        Command::Transfer(Transfer::Retry { id }) => transfer::retry(&settings, id, output).await,
        Command::Endpoint(Endpoint::Test { name, definitions }) => {
            endpoint::test(settings, &name, definitions.as_deref(), output).await
        }
        Command::Reference => reference::run(&settings),
        Command::Audit(Audit::Search(wanted)) => audit::search(&settings, wanted, output).await,
        Command::Audit(Audit::Verify(wanted)) => audit::verify(&settings, wanted, output).await,
        Command::Audit(Audit::AcceptRestored { reason }) => audit::accept(&settings, &reason, output).await,
        Command::Audit(Audit::Trust { key }) => audit::trust(&settings, &key, output).await,
        Command::Audit(Audit::ExportSeals { from }) => audit::export_seals(&settings, from).await,
        Command::Serve(_) | Command::Demo(_) | Command::As2(_) => Ok(ExitCode::SUCCESS),
    }
}

/// The process settings: the file named, or `waybill.toml` or `config/waybill.toml` where it is there,
/// or the defaults; and the variables over it.
fn settings(file: Option<&Path>) -> Result<Settings> {
    let usual = [Path::new("waybill.toml"), Path::new("config/waybill.toml")];
    let file = file.or_else(|| usual.into_iter().find(|path| path.is_file()));
    let loaded =
        Settings::load(file, std::env::vars(), &ProcessEnvironment::at(Ambient::default().clock.now()));
    let (settings, problems) = loaded.map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Error::permanent(ErrorKind::ConfigInvalid, "use the settings")
            .with("problems", format!("\n{}\n", lines.join("\n")))
    })?;
    for problem in problems.iter().filter(|problem| problem.severity == Severity::Warning) {
        eprintln!("{problem}");
    }
    Ok(settings)
}
