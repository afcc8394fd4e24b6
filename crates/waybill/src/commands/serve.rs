//! `waybill serve`: runs the gateway until it is stopped.

use crate::cli::Serve;
use crate::console_server;
use crate::gateway::Gateway;
use config::Settings;
use control::PlanRequest;
use model::{Error, Result};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

pub(crate) async fn run(settings: Settings, serve: Serve) -> Result<ExitCode> {
    let begun = std::time::Instant::now();
    let gateway = Gateway::open(settings).await?;
    let request = request(serve);
    match &request {
        Some(request) => gateway.revisions.begin_with(request).await?,
        None => gateway.revisions.apply_stored().await?,
    }
    let console = console_server::open(&gateway).await?;
    gateway.start().await?;
    tracing::info!(
        node = %gateway.settings.node,
        console = %console.url(),
        millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        "ready"
    );
    if let Some(link) = console.first_start() {
        tracing::info!(
            link,
            "no user yet: open this link once to choose the administrator's name and password"
        );
    }
    tokio::select! {
        stopped = stop_asked() => stopped?,
        failed = apply_when_asked(&gateway, request.as_ref()) => return failed,
    }
    tracing::info!("stopping: waiting for running work to finish");
    drop(console);
    gateway.stop().await;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// How the directory of definitions is applied, where there is one.
fn request(serve: Serve) -> Option<PlanRequest> {
    let Serve { definitions, origin, keep_credentials, overlay } = serve;
    definitions.map(|directory| PlanRequest {
        directory,
        origin,
        keep_credentials,
        overlay,
        ..PlanRequest::default()
    })
}

/// Applies the directory of definitions again at each SIGHUP. What is wrong with it is in the log; the definitions
/// in force go on.
async fn apply_when_asked(gateway: &Gateway, request: Option<&PlanRequest>) -> Result<ExitCode> {
    let mut hangup =
        signal(SignalKind::hangup()).map_err(|error| Error::local_io("wait for signals", error))?;
    loop {
        if hangup.recv().await.is_none() {
            // No more signals can come: only the end is waited for.
            std::future::pending::<()>().await;
        }
        let Some(request) = request else {
            tracing::warn!("SIGHUP has no effect: the gateway was started without --definitions");
            continue;
        };
        tracing::info!(directory = %request.directory.display(), "applying the definitions again, as SIGHUP asks");
        if let Err(error) = gateway.revisions.apply_directory(request).await {
            tracing::error!(error = %error.chain(), "the definitions in force stay unchanged");
        }
    }
}

/// Waits for SIGTERM or SIGINT.
pub(crate) async fn stop_asked() -> Result<()> {
    let failed = |error| Error::local_io("wait for signals", error);
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
