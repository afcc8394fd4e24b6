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
    /// The first header whose value HTTP cannot carry: the request is not made without it.
    pub(super) invalid: Option<&'static str>,
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
            invalid: None,
            body: Content::Bytes(Bytes::new()),
        }
    }

    pub(crate) const fn directory(mut self) -> Self {
        self.is_directory = true;
        self
    }

    /// With a header. A value that cannot be one, as of an ETag with a line end, is an error when the request is made: without its
    /// condition it would do more than it may.
    pub(crate) fn header(mut self, name: &'static str, value: impl AsRef<str>) -> Self {
        match HeaderValue::from_str(value.as_ref()) {
            Ok(value) => drop(self.headers.insert(HeaderName::from_static(name), value)),
            Err(_) => drop(self.invalid.get_or_insert(name)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_http_cannot_carry_is_noted() {
        let path = RemotePath::from("in/a");
        let ask = Ask::new("DELETE", &path).header("depth", "0");
        assert_eq!(ask.invalid, None);
        let ask = ask.header("if", "([\"a\r\nx: y\"])").header("destination", "also\nwrong");
        assert_eq!((ask.invalid, ask.headers.len()), (Some("if"), 1));
    }
}
