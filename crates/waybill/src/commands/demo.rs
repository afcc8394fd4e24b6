//! `waybill demo`: Acme and Globex, two gateways in one process on this machine, and a real sshd with
//! Acme's folder. Files dropped into the folder go by AS2 from Acme to Globex and into a directory.

mod documents;
mod keys;
mod progress;
mod samples;
mod sshd;
mod summary;

use crate::cli::Demo;
use crate::commands::serve::stop_asked;
use crate::console_server;
use crate::gateway::Gateway;
use crate::logging;
use config::settings::LogFormat;
use config::{ProcessEnvironment, Settings};
use control::PlanRequest;
use model::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use super::write;

/// How long `--exit-when-done` waits for the last file.
const PATIENCE: Duration = Duration::from_secs(180);

/// Where everything of a demonstration lies.
struct Place {
    root: PathBuf,
    /// Removed at the end, unless the person named the directory.
    temporary: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = std::fs::remove_dir_all(&self.root)
        {
            eprintln!("{} could not be removed: {error}", self.root.display());
        }
    }
}

pub(crate) async fn run(demo: Demo) -> Result<ExitCode> {
    logging::start(LogFormat::Text, "warn");
    let place = place(demo.directory)?;
    let root = place.root.as_path();
    write::line(format_args!("All files are in {}", root.display()))?;

    let sshd = sshd::Sshd::start(&root.join("sshd")).await?;
    write::line(format_args!("sshd serves Acme's folder on 127.0.0.1:{}", sshd.port))?;
    keys::make_pair(&root.join("acme"), "ACME")?;
    keys::make_pair(&root.join("globex"), "GLOBEX")?;

    let definitions =
        |name: &str| PlanRequest { directory: root.join(name).join("definitions"), ..PlanRequest::default() };
    let globex = open(root, "globex").await?;
    documents::globex(root)?;
    globex.revisions.apply_directory(&definitions("globex")).await?;
    let globex_console = console_server::open(&globex).await?;
    globex.start().await?;
    let receiver = globex.as2_address("as2").ok_or_else(|| {
        Error::permanent(ErrorKind::Internal, "receive AS2 at Globex").advice("the log above says why")
    })?;

    let acme = open(root, "acme").await?;
    documents::acme(root, &sshd, receiver)?;
    acme.revisions.apply_directory(&definitions("acme")).await?;
    let acme_console = console_server::open(&acme).await?;

    let samples = samples::drop_into(&sshd.folder)?;
    write::line(format_args!(
        "{} sample files are in Acme's folder ({})",
        samples.len(),
        sshd.folder.display()
    ))?;
    write::line(format_args!("Acme's console:   {}", acme_console.link()))?;
    write::line(format_args!("Globex's console: {}", globex_console.link()))?;
    write::line("")?;
    acme.start().await?;

    let story = progress::Progress::new([("Acme", acme.store.clone()), ("Globex", globex.store.clone())]);
    let warehouse = root.join("globex/warehouse");
    let arrived = tokio::select! {
        arrived = story.tell(&samples, &warehouse, demo.exit_when_done, PATIENCE) => Some(arrived?),
        asked = stop_asked() => { asked?; None }
    };

    let mut summary = summary::Summary::new(arrived, &samples);
    drop((acme_console, globex_console));
    for (name, gateway) in [("Acme", acme), ("Globex", globex)] {
        summary.add(name, stop(gateway).await?);
    }
    drop(sshd);
    if demo.exit_when_done { summary.print() } else { Ok(ExitCode::SUCCESS) }
}

/// Ends a gateway and gives what its database says of the demonstration.
async fn stop(gateway: Gateway) -> Result<summary::Books> {
    let settings = gateway.settings.clone();
    let sealer = std::sync::Arc::clone(&gateway.sealer);
    gateway.stop().await;
    summary::Books::read(&settings, sealer.key()).await
}

async fn open(root: &Path, name: &str) -> Result<Gateway> {
    let own = root.join(name);
    let file = own.join("waybill.toml");
    let text = format!(
        "state_directory = \"state\"\n\
         [node]\nname = \"{name}\"\n\
         [listen]\nconsole = \"127.0.0.1:0\"\n\
         [listen.http.partners]\naddress = \"127.0.0.1:0\"\n\
         [staging]\nmin_free = \"64MiB\"\n\
         [roots]\nfiles = [\"{own}\"]\nsecrets = [\"{root}\"]\n\
         [egress]\nallow_loopback = true\n\
         [audit]\nseal_every = \"2s\"\n",
        own = own.display(),
        root = root.display(),
    );
    write_file(&file, &text)?;
    let environment = ProcessEnvironment::at(crate::process::ClockAndRandom::default().clock.now());
    let (settings, _) = Settings::load(Some(&file), [], &environment).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Error::permanent(ErrorKind::Internal, "use the demonstration's settings")
            .with("problems", lines.join("\n"))
    })?;
    Gateway::open(settings).await
}

fn place(named: Option<PathBuf>) -> Result<Place> {
    let temporary = named.is_none();
    let root =
        named.unwrap_or_else(|| std::env::temp_dir().join(format!("waybill-demo-{}", std::process::id())));
    make_directory(&root)?;
    let mut entries = std::fs::read_dir(&root).map_err(|error| failed("use the directory", &root, error))?;
    if entries.next().is_some() {
        // Its keys and databases would be those of another demonstration, or somebody's own.
        return Err(Error::permanent(ErrorKind::AlreadyExists, "use the directory")
            .with("path", root.display())
            .advice("it is not empty: choose another directory, or empty this one"));
    }
    let root = root.canonicalize().map_err(|error| failed("use the directory", &root, error))?;
    Ok(Place { root, temporary })
}

fn make_directory(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|error| failed("make a directory", path, error))
}

fn write_file(path: &Path, text: impl AsRef<[u8]>) -> Result<()> {
    if let Some(parent) = path.parent() {
        make_directory(parent)?;
    }
    std::fs::write(path, text).map_err(|error| failed("write a file", path, error))
}

fn failed(what: &'static str, path: &Path, error: std::io::Error) -> Error {
    Error::local_io(what, error).with("path", path.display())
}
