//! One file for each command.

mod as2;
mod ask;
mod audit;
mod cert;
mod command_line;
mod definitions;
mod demo;
mod endpoint;
mod evidence;
mod flow;
mod key;
mod known_host;
mod operation;
mod pages;
mod receipt;
mod reference;
mod serve;
mod text_search;
mod transfer;
mod unknown_name;
mod user;
mod validate;
pub(crate) mod write;

use crate::cli::{As2, Audit, Cert, Cli, Command, Key, Output, Transfer};
use crate::logging;
use crate::process::ClockAndRandom;
use config::settings::LogFormat;
use config::{ProcessEnvironment, Settings, Severity};
use control::ExportRequest;
use model::{Error, ErrorKind, Result, TransferAction};
use std::path::Path;
use std::process::ExitCode;
pub(crate) use validate::catalogue;

/// Exit code of a command that ran and found something wrong (a failed test, an invalid document, a
/// broken seal), apart from 1, which says that it could not run.
pub(crate) const FOUND_WRONG: u8 = 2;

/// Exit code of a program whose reader left, as a shell tells it (128 and the number of SIGPIPE).
const READER_LEFT: u8 = 141;

/// Runs a command; its errors go to standard error.
pub(crate) async fn run(cli: Cli) -> ExitCode {
    // Success would say of these that all is well.
    let judges = matches!(&cli.command, Command::Audit(Audit::Verify(_)) | Command::As2(_));
    match dispatch(cli).await {
        Ok(code) => code,
        Err(error) if write::reader_left(&error) => {
            if judges {
                ExitCode::from(READER_LEFT)
            } else {
                ExitCode::SUCCESS
            }
        }
        Err(error) => {
            write::note(format_args!("waybill: {}", error.chain()));
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(cli: Cli) -> Result<ExitCode> {
    let output = cli.output;
    match cli.command {
        Command::Completions { shell } => command_line::completions(shell),
        Command::Man { directory } => command_line::manual(&directory),
        Command::As2(As2::Send(wanted)) => as2::send(&quiet(cli.config.as_deref())?, &wanted, output).await,
        Command::As2(As2::Ping(wanted)) => as2::ping(&quiet(cli.config.as_deref())?, &wanted, output).await,
        // These need no settings: they work on files alone.
        Command::As2(command) => {
            logging::start(LogFormat::Text, "warn");
            match command {
                As2::Pack(pack) => as2::pack(*pack).await,
                As2::Unpack(unpack) => as2::unpack(unpack).await,
                As2::Verify(wanted) => as2::verify(wanted, output).await,
                As2::Preset(wanted) => as2::preset(&wanted, output),
                // Above: these need settings.
                As2::Send(_) | As2::Ping(_) => Ok(ExitCode::FAILURE),
            }
        }
        Command::Cert(Cert::Make(wanted)) => cert::make(&wanted, output),
        Command::Cert(Cert::Request(wanted)) => cert::request(&wanted, output),
        Command::Cert(Cert::Import(wanted)) => cert::import(&wanted, output),
        Command::Demo(demo) => demo::run(demo).await,
        command => with_settings(command, settings(cli.config.as_deref())?, output).await,
    }
}

/// The settings, for a command that logs warnings alone.
fn quiet(file: Option<&Path>) -> Result<Settings> {
    let settings = settings(file)?;
    logging::start(settings.log.format, "warn");
    Ok(settings)
}

async fn with_settings(command: Command, settings: Settings, output: Output) -> Result<ExitCode> {
    if let Command::Serve(serve) = command {
        logging::start(settings.log.format, settings.log.level);
        return serve::run(settings, serve).await;
    }
    logging::start(settings.log.format, "warn");
    match command {
        Command::Validate { definitions } => validate::run(&settings, &definitions, output).await,
        Command::Plan(planned) => definitions::plan(&settings, planned, output).await,
        Command::Apply { planned, base } => definitions::apply(&settings, planned, base, output).await,
        Command::Key(Key::Generate) => key::generate(),
        Command::Key(Key::Forget { id, yes }) => definitions::forget(&settings, id, yes, output).await,
        Command::Key(Key::Rotate) => definitions::rotate(&settings, output).await,
        Command::Key(Key::List { definitions }) => key::list(&settings, definitions, output).await,
        Command::Key(Key::Show { name, definitions }) => {
            key::show(&settings, name, definitions, output).await
        }
        Command::Key(Key::Export { name, host, definitions }) => {
            key::export(&settings, name, host, definitions).await
        }
        Command::Cert(Cert::Show(wanted)) => cert::show(&settings, wanted, output).await,
        Command::Cert(Cert::Export(wanted)) => cert::export(&settings, wanted).await,
        Command::Cert(Cert::Proposals) => cert::proposals(&settings, output).await,
        Command::Cert(Cert::Accept(wanted)) => cert::accept(&settings, wanted, output).await,
        Command::Cert(Cert::Reject(wanted)) => cert::reject(&settings, wanted, output).await,
        Command::Cert(Cert::Announce(wanted)) => cert::announce(&settings, wanted, output).await,
        Command::Revisions { number: None, limit } => definitions::list(&settings, limit, output).await,
        Command::Revisions { number: Some(number), .. } => definitions::show(&settings, number, output).await,
        Command::Rollback { number, base } => definitions::roll_back(&settings, number, base, output).await,
        Command::Export { directory, object, revision } => {
            definitions::export(&settings, &directory, ExportRequest { object, revision }, output).await
        }
        Command::Transfer(Transfer::List(wanted)) => transfer::list(&settings, wanted, output).await,
        Command::Transfer(Transfer::Show { id }) => transfer::show(&settings, id, output).await,
        Command::Transfer(Transfer::Receipt(wanted)) => receipt::receipt(&settings, wanted).await,
        Command::Transfer(Transfer::Evidence(wanted)) => evidence::save(&settings, wanted, output).await,
        Command::Transfer(Transfer::Retry(wanted)) => {
            transfer::act(&settings, TransferAction::Retry, wanted, None, output).await
        }
        Command::Transfer(Transfer::Hold(wanted)) => {
            transfer::act(&settings, TransferAction::Hold, wanted, None, output).await
        }
        Command::Transfer(Transfer::Release(wanted)) => {
            transfer::act(&settings, TransferAction::Release, wanted, None, output).await
        }
        Command::Transfer(Transfer::Cancel(wanted)) => {
            transfer::act(&settings, TransferAction::Cancel, wanted, None, output).await
        }
        Command::Transfer(Transfer::Resubmit { act, request }) => {
            transfer::act(&settings, TransferAction::Resubmit, act, request, output).await
        }
        Command::Flow(command) => flow::run(&settings, command, output).await,
        Command::Endpoint(command) => endpoint::run(settings, command, output).await,
        Command::KnownHost(command) => known_host::run(&settings, command, output).await,
        Command::User(command) => user::run(&settings, command, output).await,
        Command::Reference { schema } => reference::run(&settings, schema),
        Command::Audit(Audit::Search(wanted)) => audit::search(&settings, wanted, output).await,
        Command::Audit(Audit::Kinds) => audit::kinds(output),
        Command::Audit(Audit::Verify(wanted)) => audit::verify(&settings, wanted, output).await,
        Command::Audit(Audit::AcceptRestored { reason }) => audit::accept(&settings, &reason, output).await,
        Command::Audit(Audit::Trust { key }) => audit::trust(&settings, &key, output).await,
        Command::Audit(Audit::ExportSeals { from }) => audit::export_seals(&settings, from).await,
        Command::Serve(_)
        | Command::Cert(_)
        | Command::Demo(_)
        | Command::As2(_)
        | Command::Completions { .. }
        | Command::Man { .. } => Ok(ExitCode::SUCCESS),
    }
}

/// Where the settings are looked for when no file is named. The last is where the Debian package puts them.
const USUAL_SETTINGS: [&str; 3] = ["waybill.toml", "config/waybill.toml", "/etc/waybill/waybill.toml"];

/// The process settings: the file named, or the first of the usual ones that exists, or the defaults; and the
/// variables over it.
fn settings(file: Option<&Path>) -> Result<Settings> {
    let usual = USUAL_SETTINGS.map(Path::new);
    let file = file.or_else(|| usual.into_iter().find(|path| path.is_file()));
    let loaded = Settings::load(
        file,
        std::env::vars(),
        &ProcessEnvironment::at(ClockAndRandom::default().clock.now()),
    );
    let (settings, problems) = loaded.map_err(|problems| {
        Error::permanent(ErrorKind::ConfigInvalid, "use the settings")
            .advice(format!("correct them:\n{}", config::Outline::of(&problems)))
    })?;
    for problem in problems.iter().filter(|problem| problem.severity == Severity::Warning) {
        write::note(problem);
    }
    Ok(settings)
}
