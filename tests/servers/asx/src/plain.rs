//! HTTP without TLS for asx-rs, which sends to `https` URLs alone: the scheme is for its eyes only. The last answer is kept.

use crate::Failure;
use asx::{BoxFuture, HttpClient};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use std::sync::{Arc, Mutex};
use tokio::net::TcpStream;

#[derive(Clone, Debug, Default)]
pub struct Plain {
    pub sent: Arc<Mutex<Option<Request<Bytes>>>>,
    pub answer: Arc<Mutex<Option<Response<Bytes>>>>,
}

impl HttpClient for Plain {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, Failure>> {
        Box::pin(async move {
            *self.sent.lock().unwrap() = Some(request.clone());
            let (mut parts, body) = request.into_parts();
            let authority = parts.uri.authority().ok_or("a URL without host")?.as_str().to_owned();
            let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
            parts.uri = path.parse::<Uri>()?;
            parts.headers.insert(header::HOST, HeaderValue::from_str(&authority)?);
            let stream = TcpStream::connect(&authority).await?;
            let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
            let driver = tokio::spawn(connection);
            let answer = sender.send_request(Request::from_parts(parts, Full::new(body))).await?;
            let (parts, body) = answer.into_parts();
            let answer = Response::from_parts(parts, body.collect().await?.to_bytes());
            driver.abort();
            *self.answer.lock().unwrap() = Some(answer.clone());
            Ok(answer)
        })
    }
}
