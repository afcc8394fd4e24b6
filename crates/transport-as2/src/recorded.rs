//! Events about how a message was sent or proved: they are recorded beside it, and never change what it came to.

use model::AuditEvent;
use transport::AuditLog;

/// Records the event of a delivery. A delivery that is proved stays one when its event cannot be recorded, or the message would
/// be sent twice; the log then says which event is `lost`, and what it was about.
pub(crate) async fn record(audit: &dyn AuditLog, event: AuditEvent, lost: &'static str) {
    let used = event.detail.get("used").cloned().unwrap_or_default();
    if let Err(error) = audit.record(vec![event]).await {
        tracing::error!(%used, error = %error.chain(), "{lost}");
    }
}
