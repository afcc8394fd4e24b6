//! Tells each file's way as it happens, from the audit trails of both gateways.

use super::samples::Sample;
use crate::commands::write;
use model::{EventId, Result, Sha256};
use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};
use store::{EventFilter, EventView, Page, Store};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(300);
/// Events looked at each time; more than happen in one pause.
const LOOK: u32 = 500;

pub(crate) struct Progress {
    sides: [(&'static str, Store); 2],
}

impl Progress {
    pub(crate) fn new(sides: [(&'static str, Store); 2]) -> Self {
        Self { sides }
    }

    /// Tells until every sample has arrived whole; goes on telling after that unless `end_there`. Gives
    /// the names of those that arrived.
    pub(crate) async fn tell(
        &self,
        samples: &[Sample],
        warehouse: &Path,
        end_there: bool,
        patience: Duration,
    ) -> Result<HashSet<String>> {
        let begun = Instant::now();
        let mut told: HashSet<EventId> = HashSet::new();
        let mut arrived: HashSet<String> = HashSet::new();
        let mut names: HashMap<model::TransferId, String> = HashMap::new();
        let mut said_done = false;
        loop {
            for (side, store) in &self.sides {
                let mut news =
                    store.events(&EventFilter::default(), Page { after: None, limit: LOOK }).await?.rows;
                news.retain(|event| told.insert(event.id));
                for event in news.iter().rev() {
                    if let (Some(transfer), Some(name)) = (event.transfer, event.detail.get("file_name")) {
                        names.insert(transfer, name.as_str().unwrap_or_default().to_owned());
                    }
                    let name = event.transfer.and_then(|id| names.get(&id)).map_or("", String::as_str);
                    if let Some(words) = sentence(event, name) {
                        write::line(format_args!("{}  {side:<6}  {words}", event.at.format("%H:%M:%S%.3f")))?;
                    }
                }
            }
            for sample in samples.iter().filter(|sample| !arrived.contains(&sample.name)).collect::<Vec<_>>()
            {
                let (path, wanted) = (warehouse.join(&sample.name), sample.sha256);
                if tokio::task::spawn_blocking(move || is_whole(&path, wanted)).await.unwrap_or(false) {
                    arrived.insert(sample.name.clone());
                }
            }
            let settled = arrived.len() == samples.len() && self.settled().await?;
            if settled && !said_done {
                write::line(format_args!(
                    "\nAll {} files arrived complete. {}",
                    samples.len(),
                    if end_there { "" } else { "Put more files into Acme's folder, or stop with Ctrl-C." }
                ))?;
                said_done = true;
            }
            if end_there && (settled || begun.elapsed() > patience) {
                return Ok(arrived);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Whether nothing is under way on either side.
    async fn settled(&self) -> Result<bool> {
        for (_, store) in &self.sides {
            let now = chrono::DateTime::from_timestamp(0, 0).unwrap_or_default();
            let metrics = store.metrics(now).await?;
            let open = metrics
                .deliveries
                .iter()
                .filter(|(state, count)| !model::Lifecycle::is_final(*state) && *count > 0)
                .count();
            if open > 0 || metrics.offers_to_settle > 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// What an event means for the file of this name, in a few words; none for those that are about nothing but sockets.
fn sentence(event: &EventView, name: &str) -> Option<String> {
    let text =
        |key: &str| event.detail.get(key).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
    let number = |key: &str| event.detail.get(key).and_then(serde_json::Value::as_u64).unwrap_or_default();
    let endpoint = event.endpoint.as_deref().unwrap_or_default();
    let (what, about) = match event.kind.as_str() {
        "transfer.recorded" => {
            (format!("staged, {} bytes from {endpoint}", number("bytes")), name.to_owned())
        }
        "delivery.delivered" => (format!("delivered to {endpoint}: {}", text("summary")), name.to_owned()),
        "delivery.retrying" => (format!("will be tried again: {}", text("error")), name.to_owned()),
        "delivery.failed" => (format!("failed: {}", text("error")), name.to_owned()),
        "offer.refused" => (format!("refused: {}", text("error")), text("path")),
        "poll.failed" => (format!("poll failed: {}", text("error")), endpoint.to_owned()),
        "message.refused" => (format!("message refused: {}", text("reason")), String::new()),
        "offer.settled" => {
            let path = text("path");
            ("deleted at its source".to_owned(), path.rsplit('/').next().unwrap_or_default().to_owned())
        }
        _ => return None,
    };
    Some(format!("{about:<26}{what}"))
}

fn is_whole(path: &Path, wanted: Sha256) -> bool {
    let Ok(mut file) = std::fs::File::open(path) else { return false };
    let mut hasher = openssl::sha::Sha256::new();
    let mut chunk = vec![0; 256 * 1024];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Sha256(hasher.finish()) == wanted,
            Ok(count) => hasher.update(&chunk[..count]),
            Err(_) => return false,
        }
    }
}
