//! The replies to messages, as they are stored in the database.

use model::{Error, ErrorKind, Result};
use serde_json::json;
use store::Reply;
use transport::StoredReply;

pub(crate) fn write_reply(reply: &StoredReply) -> Reply {
    Reply { head: json!({ "status": reply.status, "headers": reply.headers }), body: reply.body.clone() }
}

pub(crate) fn read_reply(reply: Reply) -> Result<StoredReply> {
    let broken = || Error::permanent(ErrorKind::Internal, "read a stored reply");
    let status = reply.head.get("status").and_then(serde_json::Value::as_u64);
    let headers = reply.head.get("headers").cloned().ok_or_else(broken)?;
    Ok(StoredReply {
        status: status.and_then(|status| u16::try_from(status).ok()).ok_or_else(broken)?,
        headers: serde_json::from_value(headers).map_err(|error| broken().caused_by(error))?,
        body: reply.body,
    })
}
