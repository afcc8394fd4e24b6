//! `send`: posts one file by asx-rs, waits for its MDN on either way, and says what happened.

use crate::plain::Plain;
use crate::serve::{field, hex, wire};
use crate::side::Side;
use crate::{Failure, Options};
use asx::as2::{As2, Message};
use asx::{Partner, Payload};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::fs;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

pub const OPTIONS: &[&str] = &[
    "to-url",
    "from",
    "to",
    "key",
    "cert",
    "decrypt-key",
    "decrypt-cert",
    "partner-cert",
    "file",
    "content-type",
    "message-id",
    "mdn",
    "save",
    "mdn-out",
    "timeout",
];

pub async fn send(options: &Options) -> Result<ExitCode, Failure> {
    let (key, certificate) = (options.wanted("key")?, options.wanted("cert")?);
    let side = Side {
        name: options.or("from", "PEER").into(),
        key: key.into(),
        certificate: certificate.into(),
        decrypt_key: options.or("decrypt-key", key).into(),
        decrypt_certificate: options.or("decrypt-cert", certificate).into(),
        partner: options.or("to", "WAYBILL").into(),
        partner_certificate: Some(options.wanted("partner-cert")?.into()),
    };
    let http = Plain::default();
    let url = options.wanted("to-url")?.replacen("http://", "https://", 1);
    let (client, partner) = side.client(Some(&url), http.clone())?;
    let bytes = fs::read(options.wanted("file")?)?;
    let mut result = json!({ "sha256": hex(&openssl::sha::sha256(&bytes)), "length": bytes.len(), "message_id": null,
        "http_status": null, "disposition": null, "mdn_way": null, "mdn_signed": null, "mdn_verified": null, "mdn_mic": null,
        "mic_matched": null, "original_message_id_matched": null, "evidence": null, "error": null });
    let seconds = Duration::from_secs(options.or("timeout", "60").parse()?);
    let outcome = match options.or("mdn", "sync-signed") {
        "sync-signed" => {
            timeout(seconds, synchronous(&client, message(options, &partner, bytes), &http)).await
        }
        "async-signed" => timeout(seconds, asynchronous(&client, message(options, &partner, bytes))).await,
        other => return Err(format!("asx-rs asks for no such MDN: {other}").into()),
    };
    let mdn = match outcome {
        Ok(Ok((evidence, way))) => {
            // asx-rs gives no other receipt than one that is signed by the partner and has our MIC and Message-ID.
            for name in ["mdn_verified", "mic_matched", "original_message_id_matched"] {
                result[name] = true.into();
            }
            result["evidence"] = evidence;
            Some(way)
        }
        Ok(Err((error, way))) => {
            result["error"] = error.to_string().into();
            way
        }
        Err(_) => {
            result["error"] = "no MDN in time".into();
            None
        }
    };
    if let Some(request) = http.sent.lock().unwrap().as_ref() {
        result["message_id"] = json!(request.headers().get("message-id").and_then(|id| id.to_str().ok()));
        if let Some(path) = options.get("save") {
            fs::write(path, wire(request.headers(), request.body()))?;
        }
    }
    result["http_status"] =
        json!(http.answer.lock().unwrap().as_ref().map(|answer| answer.status().as_u16()));
    if let Some(Way { name, mdn }) = &mdn {
        result["mdn_way"] = (*name).into();
        result["disposition"] = json!(field(mdn.body(), "Disposition"));
        result["mdn_mic"] = json!(field(mdn.body(), "Received-Content-MIC"));
        let content_type = mdn.headers().get("content-type").map_or(&b""[..], |value| value.as_bytes());
        result["mdn_signed"] = content_type.starts_with(b"multipart/signed").into();
        if let Some(path) = options.get("mdn-out") {
            fs::write(path, wire(mdn.headers(), mdn.body()))?;
        }
    }
    println!("{result}");
    Ok(if result["error"].is_null() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// An MDN as it came.
struct Way {
    name: &'static str,
    mdn: Request<Bytes>,
}

type Outcome = Result<(Value, Way), (Failure, Option<Way>)>;

fn message(options: &Options, partner: &Partner, bytes: Vec<u8>) -> Message {
    let payload = Payload::new(bytes, options.or("content-type", "application/octet-stream"));
    let message = Message::to(partner, payload);
    match options.get("message-id") {
        Some(id) => message.message_id(id),
        None => message,
    }
}

async fn synchronous(client: &As2, message: Message, http: &Plain) -> Outcome {
    let outcome = client.send(message).await;
    let way = http.answer.lock().unwrap().clone().map(|answer| {
        let (parts, body) = answer.into_parts();
        let mut mdn = Request::new(body);
        *mdn.headers_mut() = parts.headers;
        Way { name: "sync", mdn }
    });
    match (outcome, way) {
        (Ok(receipt), Some(way)) => match serde_json::to_value(receipt.evidence()) {
            Ok(evidence) => Ok((evidence, way)),
            Err(error) => Err((error.into(), Some(way))),
        },
        (Ok(_), None) => Err(("a receipt without an answer".into(), None)),
        (Err(error), way) => Err((error.into(), way)),
    }
}

async fn asynchronous(client: &As2, message: Message) -> Outcome {
    let bare = |error: Failure| (error, None);
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| bare(error.into()))?;
    let address = listener.local_addr().map_err(|error| bare(error.into()))?;
    let (posts, mut posted) = mpsc::channel(1);
    tokio::spawn(take(listener, posts));
    let pending = client.send_async_mdn(message, &format!("http://{address}/mdn")).await;
    let pending = pending.map_err(|error| bare(error.into()))?;
    let mdn = posted.recv().await.ok_or_else(|| bare("no MDN".into()))?;
    let way = Way { name: "async", mdn: mdn.clone() };
    match client.verify_async_mdn(mdn, &pending).await {
        Ok(receipt) => match serde_json::to_value(receipt.evidence()) {
            Ok(evidence) => Ok((evidence, way)),
            Err(error) => Err((error.into(), Some(way))),
        },
        Err(error) => Err((error.into(), Some(way))),
    }
}

/// Where the MDN is delivered that was asked for at another address.
async fn take(listener: TcpListener, posts: mpsc::Sender<Request<Bytes>>) -> Result<(), Failure> {
    loop {
        let (stream, _) = listener.accept().await?;
        let posts = posts.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let posts = posts.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await?.to_bytes();
                posts.send(Request::from_parts(parts, body)).await?;
                Ok::<_, Failure>(Response::new(Full::new(Bytes::new())))
            }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}
