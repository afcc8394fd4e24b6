//! A browser of few words: keeps cookies, sends forms, says where it comes from.

use axum::body::Body;
use console::Console;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use model::{ConnectionId, Security};
use net::http::PeerInfo;
use regex::Regex;
use std::collections::BTreeMap;
use tower::ServiceExt as _;
use url::form_urlencoded::Serializer;

#[derive(Clone)]
pub(crate) struct Browser {
    router: axum::Router,
    cookies: BTreeMap<String, String>,
    extra: HeaderMap,
    remote: String,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn location(&self) -> &str {
        self.header("location")
    }

    pub(crate) fn cookie(&self) -> &str {
        self.headers.get_all(header::SET_COOKIE).iter().next_back().unwrap().to_str().unwrap()
    }
}

impl Browser {
    pub(crate) fn new(console: &Console) -> Self {
        Self {
            router: console.router(),
            cookies: BTreeMap::new(),
            extra: HeaderMap::new(),
            remote: "192.0.2.7:40000".into(),
        }
    }

    /// Sends a header with each request.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.extra.insert(name, value.parse().unwrap());
        self
    }

    pub(crate) fn from(mut self, remote: &str) -> Self {
        self.remote = remote.into();
        self
    }

    /// As a header has them.
    pub(crate) fn cookies(&self) -> String {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        cookies.join("; ")
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, None, false).await
    }

    pub(crate) async fn fragment(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, None, true).await
    }

    pub(crate) async fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Answer {
        let body = Serializer::new(String::new()).extend_pairs(form).finish();
        self.send(Method::POST, path, Some(body), false).await
    }

    async fn send(&mut self, method: Method, path: &str, form: Option<String>, fragment: bool) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, "gateway:8420");
        if !self.cookies.is_empty() {
            request = request.header(header::COOKIE, self.cookies());
        }
        if fragment {
            request = request.header("waybill-fragment", "1");
        }
        if form.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        let mut request = request.body(form.map_or_else(Body::empty, Body::from)).unwrap();
        request.headers_mut().extend(self.extra.clone());
        request.extensions_mut().insert(PeerInfo {
            connection: ConnectionId::new(uuid::Uuid::now_v7()),
            remote: self.remote.parse().unwrap(),
            proxy: None,
            local: "10.20.0.5:8420".parse().unwrap(),
            security: Security::None,
        });
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = answer.into_parts();
        for cookie in head.headers.get_all(header::SET_COOKIE) {
            let (name, rest) = cookie.to_str().unwrap().split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            if rest.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.into(), value.into());
            }
        }
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: head.status,
            headers: head.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }
}

/// The text between two others.
pub(crate) fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap();
    rest.split_once(after).unwrap().0
}

/// The target of a link, as a browser would follow it.
pub(crate) fn link(page: &str, before: &str) -> Option<String> {
    let (_, rest) = page.split_once(before)?;
    Some(rest.split_once('"')?.0.replace("&#38;", "&"))
}

/// The transfers of a list, in its order.
pub(crate) fn transfer_ids(page: &str) -> Vec<String> {
    let pattern = Regex::new("class=\"name\" href=\"/transfers/([0-9a-f-]{36})\"").unwrap();
    pattern.captures_iter(page).map(|found| found[1].to_owned()).collect()
}

/// What holds for every page: nothing that the content policy would block, all that is opened is
/// closed, ids are used once, and fields have labels.
pub(crate) fn check_html(path: &str, page: &str) {
    assert!(page.starts_with("<!doctype html>\n<html lang=\"en\""), "{path}");
    for bad in [" style=", "<style", "javascript:", " onclick=", " onload=", "http://", "https://"] {
        assert!(!page.contains(bad), "{path}: {bad}");
    }
    let scripts = Regex::new("<script[^>]*>").unwrap();
    for script in scripts.find_iter(page) {
        assert!(script.as_str().starts_with("<script type=\"module\" src=\"/assets/"), "{path}: {script:?}");
    }
    let mut open = Vec::new();
    let void = ["meta", "link", "input", "img", "br", "rect", "path", "circle", "line", "!doctype"];
    let tags = Regex::new("<(/?)([a-zA-Z!][a-zA-Z0-9]*)([^>]*)>").unwrap();
    for tag in tags.captures_iter(page) {
        let name = tag[2].to_lowercase();
        match (&tag[1], tag[3].ends_with('/')) {
            ("/", _) => assert_eq!(open.pop().as_deref(), Some(name.as_str()), "{path}: {}", &tag[0]),
            (_, true) => {}
            _ if void.contains(&name.as_str()) => {}
            _ => open.push(name),
        }
    }
    assert!(open.is_empty(), "{path}: {open:?}");
    let ids = Regex::new(" id=\"([^\"]*)\"").unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for id in ids.captures_iter(page) {
        assert!(seen.insert(id[1].to_owned()), "{path}: id {} twice", &id[1]);
    }
    let fields = Regex::new("<(?:input|select)([^>]*)>").unwrap();
    for field in fields.captures_iter(page).filter(|field| !field[1].contains("type=\"hidden\"")) {
        let id = between(&field[1], " id=\"", "\"");
        assert!(page.contains(&format!("<label for=\"{id}\"")), "{path}: {id} has no label");
    }
    assert_eq!(page.matches("<h1").count(), 1, "{path}: one first heading");
    assert!(page.contains("href=\"#main\"") && page.contains("<main id=\"main\""), "{path}");
}
