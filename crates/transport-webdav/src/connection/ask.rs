//! A request, being put together.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use model::RemotePath;
use net::http::Body;

/// A request.
pub(crate) struct Ask {
    pub(super) method: Method,
    pub(super) path: RemotePath,
    /// Whether the path names a directory: it ends with a slash then.
    pub(super) is_directory: bool,
    pub(super) headers: HeaderMap,
    pub(super) body: Content,
}

pub(super) enum Content {
    Bytes(Bytes),
    /// Sent once.
    Stream(Body),
}

impl Ask {
    /// A request of a method that HTTP or WebDAV defines.
    pub(crate) fn new(method: &'static str, path: &RemotePath) -> Self {
        Self {
            method: Method::from_bytes(method.as_bytes()).unwrap_or(Method::OPTIONS),
            path: path.clone(),
            is_directory: false,
            headers: HeaderMap::new(),
            body: Content::Bytes(Bytes::new()),
        }
    }

    pub(crate) const fn directory(mut self) -> Self {
        self.is_directory = true;
        self
    }

    /// With a header, unless its value cannot be one.
    pub(crate) fn header(mut self, name: &'static str, value: impl AsRef<str>) -> Self {
        if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    pub(crate) fn xml(mut self, text: impl Into<Bytes>) -> Self {
        self.body = Content::Bytes(text.into());
        self.header("content-type", "application/xml; charset=utf-8")
    }

    pub(crate) fn stream(mut self, body: Body) -> Self {
        self.body = Content::Stream(body);
        self
    }
}
