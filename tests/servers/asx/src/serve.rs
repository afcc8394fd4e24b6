//! `serve`: takes messages at /as2 by asx-rs, and is told things at /control.

use crate::plain::Plain;
use crate::side::Side;
use crate::{Failure, Options, look};
use asx::as2::Received;
use asx::{Inbound, MemoryDedup, Reject, Verified};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tower_service::Service;

pub const OPTIONS: &[&str] = &["dir", "port", "name", "partner", "partner-cert", "key", "cert"];

struct Server {
    dir: PathBuf,
    now: Mutex<Now>,
    /// What asx-rs handed over, by Message-ID.
    taken: Arc<Mutex<HashMap<String, Value>>>,
}

struct Now {
    side: Side,
    inbound: Inbound,
    /// Whether CMS is handed over in binary, as it comes: asx-rs reads it in base64 alone.
    as_it_comes: bool,
    number: usize,
}

pub async fn serve(options: &Options) -> Result<ExitCode, Failure> {
    let (key, certificate) = (options.wanted("key")?.to_owned(), options.wanted("cert")?.to_owned());
    let side = Side {
        name: options.or("name", "PEER").into(),
        decrypt_key: key.clone(),
        decrypt_certificate: certificate.clone(),
        key,
        certificate,
        partner: options.or("partner", "WAYBILL").into(),
        partner_certificate: options.get("partner-cert").map(str::to_owned),
    };
    let dir = PathBuf::from(options.wanted("dir")?);
    for folder in ["inbox", "raw"] {
        fs::create_dir_all(dir.join(folder))?;
    }
    let port: u16 = options.wanted("port")?.parse()?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await.map_err(|error| {
        // As server.sh wants to read it.
        if error.kind() == std::io::ErrorKind::AddrInUse {
            "address already in use".into()
        } else {
            Failure::from(error)
        }
    })?;
    let taken = Arc::default();
    let inbound = inbound(&side, &dir, &taken)?;
    let server = Arc::new(Server {
        dir,
        now: Mutex::new(Now { side, inbound, as_it_comes: false, number: 0 }),
        taken,
    });
    println!("listening on {port}");
    loop {
        let (stream, _) = listener.accept().await?;
        let server = server.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| answer(server.clone(), request));
            if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await {
                eprintln!("connection: {error}");
            }
        });
    }
}

/// What takes messages for this side; each file goes into the inbox.
fn inbound(
    side: &Side,
    dir: &PathBuf,
    taken: &Arc<Mutex<HashMap<String, Value>>>,
) -> Result<Inbound, Failure> {
    let (client, _) = side.client(None, Plain::default())?;
    let (inbox, taken) = (dir.join("inbox"), taken.clone());
    Ok(client.inbound(MemoryDedup::default(), move |message: Verified<Received>| {
        let (inbox, taken) = (inbox.clone(), taken.clone());
        async move {
            let payload = message.payload();
            let sha256 = hex(&openssl::sha::sha256(payload.bytes()));
            let file = inbox.join(&sha256);
            fs::write(&file, payload.bytes())?;
            let evidence = serde_json::to_value(message.evidence())?;
            let line = json!({ "from": message.from(), "sha256": sha256, "length": payload.bytes().len(),
                "file": file, "media_type": payload.mime_type(), "evidence": evidence });
            taken.lock().unwrap().insert(message.message_id().to_owned(), line);
            Ok::<(), Reject>(())
        }
    }))
}

async fn answer(server: Arc<Server>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Failure> {
    let path = request.uri().path().to_owned();
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let answer = match (&parts.method, path.as_str()) {
        (&Method::POST, "/as2") => receive(&server, Request::from_parts(parts, body)).await,
        (&Method::POST, "/control") => {
            control(&server, &body).map(|()| Response::new(Full::new("{}".into())))
        }
        _ => Ok(status(StatusCode::NOT_FOUND, "")),
    };
    Ok(answer.unwrap_or_else(|error| {
        eprintln!("{path}: {error}");
        status(StatusCode::BAD_REQUEST, &error.to_string())
    }))
}

fn status(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.to_owned().into()));
    *response.status_mut() = status;
    response
}

fn control(server: &Server, body: &[u8]) -> Result<(), Failure> {
    let told: HashMap<String, Value> = serde_json::from_slice(body)?;
    let mut now = server.now.lock().unwrap();
    for (name, value) in &told {
        let text = value.as_str().unwrap_or_default().to_owned();
        match name.as_str() {
            "partner" => now.side.partner = text,
            "partner_cert" => now.side.partner_certificate = Some(text),
            "as_it_comes" => now.as_it_comes = value == &Value::Bool(true),
            other => return Err(format!("unknown: {other}").into()),
        }
    }
    now.inbound = inbound(&now.side, &server.dir, &server.taken)?;
    Ok(())
}

async fn receive(server: &Server, request: Request<Bytes>) -> Result<Response<Full<Bytes>>, Failure> {
    let (side, mut inbound, as_it_comes, number) = {
        let mut now = server.now.lock().unwrap();
        now.number += 1;
        (now.side.clone(), now.inbound.clone(), now.as_it_comes, now.number)
    };
    let value =
        |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let message_id = value("message-id").unwrap_or_default();
    let mut line = json!({ "number": number, "peer": "asx", "message_id": message_id, "from": value("as2-from"),
        "to": value("as2-to"), "options": value("disposition-notification-options"),
        "receipt_to": value("receipt-delivery-option"), "raw_length": request.body().len(),
        "raw_sha256": hex(&openssl::sha::sha256(request.body())) });
    extend(&mut line, look::at(request.body(), &side));
    let raw = server.dir.join(format!("raw/{number}.message"));
    fs::write(&raw, wire(request.headers(), request.body()))?;
    line["raw"] = json!(raw);
    let handed_over = if as_it_comes { request } else { in_base64(request) };
    let answer = match inbound.call(handed_over.map(Full::new)).await {
        Ok(answer) => answer,
        Err(never) => match never {},
    };
    let (parts, body) = answer.into_parts();
    let body = body.collect().await?.to_bytes();
    let mdn = server.dir.join(format!("raw/{number}.mdn"));
    fs::write(&mdn, wire(&parts.headers, &body))?;
    line["mdn"] = json!(mdn);
    line["http_status"] = parts.status.as_u16().into();
    line["disposition"] = json!(field(&body, "Disposition"));
    line["mic"] = json!(field(&body, "Received-Content-MIC"));
    let bare = message_id.trim_start_matches('<').trim_end_matches('>');
    let taken = server.taken.lock().unwrap().remove(bare);
    line["status"] = if taken.is_some() { "processed" } else { "refused" }.into();
    extend(&mut line, taken.unwrap_or_default());
    // Before the answer goes out.
    let mut file = OpenOptions::new().create(true).append(true).open(server.dir.join("received.jsonl"))?;
    file.write_all(format!("{line}\n").as_bytes())?;
    Ok(Response::from_parts(parts, Full::new(body)))
}

/// The message with its CMS in base64. DER begins with a SEQUENCE.
fn in_base64(mut request: Request<Bytes>) -> Request<Bytes> {
    if request.body().first() == Some(&0x30) {
        *request.body_mut() = openssl::base64::encode_block(request.body()).into();
        request.headers_mut().remove(header::CONTENT_LENGTH);
    }
    request
}

fn extend(line: &mut Value, more: Value) {
    if let (Some(line), Value::Object(more)) = (line.as_object_mut(), more) {
        line.extend(more);
    }
}

/// A header block and its body.
pub fn wire(headers: &http::HeaderMap, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in headers {
        bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    [&bytes, &b"\r\n"[..], body].concat()
}

/// A field of the report in an MDN, which stands in the clear.
pub fn field(mdn: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(mdn);
    let mut lines = text.lines().map(str::trim_end);
    lines.find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
