//! `waybill validate`: what is wrong with a directory of definitions.

use super::{FOUND_WRONG, write};
use crate::cli::Output;
use crate::gateway::net_settings;
use crate::process::ClockAndRandom;
use crate::transports::Transports;
use async_trait::async_trait;
use config::{Catalogue, ProcessEnvironment, Settings};
use model::{ConnectionClosed, Error, ErrorKind, Result};
use net::http::{HttpServers, ServerLimits};
use net::{ConnectionFailed, ConnectionLog, Net, Opened};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

pub(crate) async fn run(settings: &Settings, directory: &Path, output: Output) -> Result<ExitCode> {
    let environment = ProcessEnvironment::at(ClockAndRandom::default().clock.now());
    let mut report = config::validate(directory, settings, &catalogue(settings), &environment);
    report.problems.extend(config::missing_roots(settings));
    write::as_far_as_read(match output {
        Output::Json => write::json(&report.to_json()),
        Output::Text => write::line(&report),
    })?;
    Ok(if report.is_valid() { ExitCode::SUCCESS } else { ExitCode::from(FOUND_WRONG) })
}

/// What definitions may say about transports, from transports that open no connection.
pub(crate) fn catalogue(settings: &Settings) -> Catalogue {
    let net = Net::new(net_settings(settings, &ClockAndRandom::default()), Arc::new(NoConnections));
    let servers = HttpServers::new(&net, ServerLimits::default());
    Transports::new(settings, &net, &servers, Vec::new()).catalogue()
}

/// Checking opens no connection; one that tried would be refused here.
struct NoConnections;

#[async_trait]
impl ConnectionLog for NoConnections {
    async fn opened(&self, _: Opened) -> Result<()> {
        Err(Error::permanent(ErrorKind::Internal, "open a connection while checking definitions"))
    }

    async fn closed(&self, _: ConnectionClosed) -> Result<()> {
        Ok(())
    }

    async fn failed(&self, _: ConnectionFailed) -> Result<()> {
        Ok(())
    }
}
