//! Where a file goes whose metadata names it: under another name, or to an absolute path.

use super::FolderDestination;
use crate::{Deliver, Sent};
pub use model::metadata::{FILE_NAME, IS_FILE_PATH};
use model::{Error, ErrorKind, RemotePath, Result};
use serde_json::Value;

/// In a receipt: the absolute path at which the file was written, where the server tells.
const FILE_PATH: &str = "file_path";

/// Whether a value of metadata says yes: headers and forms carry texts.
fn is_true(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Bool(is_true)) => *is_true,
        Some(Value::String(text)) => text.trim().eq_ignore_ascii_case("true"),
        _ => false,
    }
}

impl FolderDestination {
    /// The path of a delivery's file.
    ///
    /// # Errors
    /// `Rejected`, permanent: it cannot be used here.
    pub(super) fn path_of(&self, delivery: &Deliver) -> Result<RemotePath> {
        let metadata = delivery.payload.metadata();
        let Some(named) = metadata.get(FILE_NAME).and_then(Value::as_str) else {
            return self
                .final_path(&self.directory_at(delivery.received, &delivery.flow)?, &delivery.file_name);
        };
        let named = RemotePath::from(named);
        let path = if is_true(metadata.get(IS_FILE_PATH)) {
            self.allowed_path(named)?
        } else {
            self.final_path(&self.directory_at(delivery.received, &delivery.flow)?, &named)?
        };
        self.folder.check_path(&path)?;
        Ok(path)
    }

    /// An absolute path, if it is below one of the directories that the flow names.
    fn allowed_path(&self, path: RemotePath) -> Result<RemotePath> {
        let refused = |advice: &'static str| {
            Error::permanent(ErrorKind::Rejected, "use the path in a file's metadata")
                .with("endpoint", &self.options.endpoint)
                .with("path", &path)
                .advice(advice)
        };
        let last = path.file_name();
        if !path.is_absolute() || path.escapes() || last.is_empty() || last == b"." {
            return Err(refused(
                "with is_file_path, file_name must be the absolute path of a file, without '..'",
            ));
        }
        if !self.options.paths_below.iter().any(|root| path.is_within(root)) {
            return Err(refused(
                "it is below none of the directories that the flow's destination allows; add one to paths_below if files \
                may name their paths there",
            ));
        }
        if path.parts().any(|part| part.len() > self.options.name_limit) {
            return Err(refused("a part of it is too long for this place"));
        }
        Ok(path)
    }

    /// Adds to a receipt at which absolute path the file was written. Where the server does not tell, or not any more, the
    /// receipt stays as it is: the file has arrived.
    pub(super) async fn with_file_path(&self, mut sent: Sent) -> Sent {
        if let Sent::Delivered { receipt, .. } = &mut sent
            && let Some(path) = receipt.detail.get("path").and_then(Value::as_str)
            && let Ok(path) = RemotePath::from_text(path)
        {
            match self.folder.absolute(&path).await {
                Ok(Some(absolute)) => {
                    receipt.detail.insert(FILE_PATH.into(), Value::from(absolute.to_text()));
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%path, error = %error.chain(), "the absolute path of a delivered file is not known");
                }
            }
        }
        sent
    }
}
