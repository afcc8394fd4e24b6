//! A multistatus answer (RFC 4918, 13), read one `response` at a time from a stream.
//!
//! Bounded in memory whatever the server sends: an event, a `response` and the depth of elements have limits. A document
//! type is refused, and with it every entity but the five of XML itself: nothing can be expanded.

use chrono::DateTime;
use model::Timestamp;
use quick_xml::events::{BytesRef, Event};
use quick_xml::name::ResolveResult;
use quick_xml::{NsReader, escape};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};
use transport::folder::version_of;

/// The longest tag, text or comment, in bytes.
const EVENT_LIMIT: usize = 64 * 1024;

/// The most bytes of one `response`.
const RESPONSE_LIMIT: usize = 256 * 1024;

/// The deepest level of elements.
const DEPTH_LIMIT: usize = 32;

/// The body of a PROPFIND request for what is read here.
pub(crate) const PROPERTIES: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:propfind xmlns:D=\"DAV:\"><D:prop>\
    <D:resourcetype/><D:getcontentlength/><D:getlastmodified/><D:getetag/></D:prop></D:propfind>";

/// The body of a PROPFIND request for the checksums of a file, as ownCloud and Nextcloud have them.
pub(crate) const CHECKSUMS: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:propfind xmlns:D=\"DAV:\" \
    xmlns:oc=\"http://owncloud.org/ns\"><D:prop><oc:checksums/></D:prop></D:propfind>";

/// The body of a PROPFIND request for who holds locks (RFC 4918, 15.8).
pub(crate) const LOCKS: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:propfind xmlns:D=\"DAV:\"><D:prop>\
    <D:lockdiscovery/></D:prop></D:propfind>";

/// The namespace of the checksums.
const OWNCLOUD: &str = "http://owncloud.org/ns";

/// What an answer says of one file or directory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Response {
    /// As the server writes it.
    pub(crate) href: String,
    pub(crate) is_directory: bool,
    pub(crate) size: Option<u64>,
    pub(crate) modified: Option<Timestamp>,
    /// The ETag, without the mark of a weak one: Apache calls the same one weak for a second.
    pub(crate) etag: Option<String>,
    /// The same as a condition, where it is strong (RFC 9110, 8.8.1).
    pub(crate) strong: Option<String>,
    /// Checksums as the server writes them, such as `SHA1:… MD5:…`.
    pub(crate) checksums: Option<String>,
    /// Who holds a lock, as that one wrote it.
    pub(crate) lock_owner: Option<String>,
    /// The status of the whole, if there is one.
    pub(crate) status: Option<u16>,
}

/// Why an answer cannot be read.
#[derive(Debug)]
pub(crate) enum Malformed {
    /// The bytes could not be read.
    Io(io::Error),
    /// They are no multistatus answer.
    Xml(String),
}

impl From<quick_xml::Error> for Malformed {
    fn from(error: quick_xml::Error) -> Self {
        match error {
            quick_xml::Error::Io(error) => {
                let error = std::sync::Arc::try_unwrap(error)
                    .unwrap_or_else(|shared| io::Error::new(shared.kind(), shared.to_string()));
                Self::Io(error)
            }
            other => Self::Xml(other.to_string()),
        }
    }
}

/// The elements that matter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Element {
    Multistatus,
    Response,
    Href,
    Status,
    Propstat,
    Prop,
    ResourceType,
    Collection,
    Length,
    Modified,
    Etag,
    Checksums,
    Checksum,
    LockOwner,
    Other,
}

impl Element {
    fn of(namespace: &ResolveResult<'_>, name: &str) -> Self {
        let is_dav = matches!(namespace, ResolveResult::Bound(bound) if bound.as_ref() == "DAV:");
        let is_owncloud = matches!(namespace, ResolveResult::Bound(bound) if bound.as_ref() == OWNCLOUD);
        match name {
            "checksums" if is_owncloud => Self::Checksums,
            "checksum" if is_owncloud => Self::Checksum,
            _ if !is_dav => Self::Other,
            "multistatus" => Self::Multistatus,
            "response" => Self::Response,
            "href" => Self::Href,
            "status" => Self::Status,
            "propstat" => Self::Propstat,
            "prop" => Self::Prop,
            "resourcetype" => Self::ResourceType,
            "collection" => Self::Collection,
            "getcontentlength" => Self::Length,
            "getlastmodified" => Self::Modified,
            "getetag" => Self::Etag,
            "owner" => Self::LockOwner,
            _ => Self::Other,
        }
    }

    const fn has_text(self) -> bool {
        matches!(
            self,
            Self::Href
                | Self::Status
                | Self::Length
                | Self::Modified
                | Self::Etag
                | Self::Checksum
                | Self::LockOwner
        )
    }
}

/// A reader of responses.
pub(crate) struct Multistatus<R> {
    reader: NsReader<Bounded<R>>,
    buffer: Vec<u8>,
    open: Vec<Element>,
    text: String,
    response: Response,
    /// The properties and status of the `propstat` that is being read.
    properties: (Response, Option<u16>),
    /// Bytes of the response that is being read.
    length: usize,
}

impl<R: AsyncBufRead + Unpin> Multistatus<R> {
    pub(crate) fn new(body: R) -> Self {
        let mut reader = NsReader::from_reader(Bounded { inner: body, left: EVENT_LIMIT });
        reader.config_mut().expand_empty_elements = true;
        Self {
            reader,
            buffer: Vec::new(),
            open: Vec::new(),
            text: String::new(),
            response: Response::default(),
            properties: Default::default(),
            length: 0,
        }
    }

    /// The next response; `None` at the end of the document.
    ///
    /// # Errors
    /// The answer could not be read to its end, or is not what it should be.
    pub(crate) async fn next(&mut self) -> Result<Option<Response>, Malformed> {
        loop {
            self.reader.get_mut().left = EVENT_LIMIT;
            self.buffer.clear();
            let (namespace, event) = self.reader.read_resolved_event_into_async(&mut self.buffer).await?;
            match event {
                Event::Start(start) => {
                    let element = Element::of(&namespace, start.local_name().as_ref());
                    if self.open.is_empty() && element != Element::Multistatus {
                        let name = start.name().as_ref().to_owned();
                        return Err(wrong(format!("its first element is '{name}', not multistatus")));
                    }
                    if self.open.len() >= DEPTH_LIMIT {
                        return Err(wrong(format!("it has more than {DEPTH_LIMIT} levels of elements")));
                    }
                    self.open.push(element);
                    self.text.clear();
                    self.begin(element);
                }
                Event::End(_) => {
                    let Some(element) = self.open.pop() else { continue };
                    if let Some(response) = self.end(element) {
                        return Ok(Some(response));
                    }
                }
                Event::Text(text) => {
                    if self.open.last().is_some_and(|element| element.has_text()) {
                        self.text.push_str(&text);
                    }
                }
                Event::CData(data) => {
                    if self.open.last().is_some_and(|element| element.has_text()) {
                        self.text.push_str(&data);
                    }
                }
                Event::GeneralRef(reference) => {
                    let character = resolve(&reference)?;
                    if self.open.last().is_some_and(|element| element.has_text()) {
                        self.text.push_str(&character);
                    }
                }
                Event::DocType(_) => return Err(wrong("it has a document type, which is refused")),
                Event::Eof if self.open.is_empty() => return Ok(None),
                Event::Eof => return Err(wrong("it ends in the middle")),
                Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            }
            self.length += self.buffer.len();
            if self.length > RESPONSE_LIMIT {
                return Err(wrong(format!("more than {RESPONSE_LIMIT} bytes tell of one file")));
            }
        }
    }

    fn begin(&mut self, element: Element) {
        match (element, self.open.len()) {
            (Element::Response, 2) => self.response = Response::default(),
            (Element::Propstat, 3) => self.properties = Default::default(),
            // multistatus, response, propstat, prop, resourcetype, collection.
            (Element::Collection, 6) if self.open[4] == Element::ResourceType => {
                self.properties.0.is_directory = true;
            }
            _ => {}
        }
    }

    /// Takes what an element said, now closed; its response if it was one.
    fn end(&mut self, element: Element) -> Option<Response> {
        let text = || self.text.trim().to_owned();
        let parent = self.open.last().copied();
        match (element, parent) {
            (Element::Href, Some(Element::Response)) => self.response.href = text(),
            (Element::Status, Some(Element::Response)) => self.response.status = status(&self.text),
            (Element::Status, Some(Element::Propstat)) => self.properties.1 = status(&self.text),
            (Element::Length, Some(Element::Prop)) => self.properties.0.size = self.text.trim().parse().ok(),
            (Element::Modified, Some(Element::Prop)) => self.properties.0.modified = time(&self.text),
            (Element::Etag, Some(Element::Prop)) => {
                let etag = self.text.trim();
                let is_strong = etag.len() > 2 && etag.starts_with('"') && etag.ends_with('"');
                let is_strong = is_strong && etag.len() <= CONDITION;
                self.properties.0.strong = is_strong.then(|| etag.to_owned());
                let etag = etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"');
                self.properties.0.etag = (!etag.is_empty()).then(|| version_of(etag));
            }
            (Element::Checksum, Some(Element::Checksums)) => {
                let told = self.properties.0.checksums.get_or_insert_default();
                told.push_str(self.text.trim());
                told.push(' ');
            }
            // Plain text, or a reference to the person.
            (Element::LockOwner, _) | (Element::Href, Some(Element::LockOwner)) => {
                let owner = self.text.trim();
                if !owner.is_empty() {
                    self.properties.0.lock_owner.get_or_insert_with(|| owner.to_owned());
                }
            }
            (Element::Propstat, Some(Element::Response)) => {
                let (told, status) = std::mem::take(&mut self.properties);
                // Properties that a file does not have are listed too, under their own status.
                if status.is_none_or(|status| (200..300).contains(&status)) {
                    let into = &mut self.response;
                    into.is_directory |= told.is_directory;
                    into.size = into.size.or(told.size);
                    into.modified = into.modified.or(told.modified);
                    into.etag = into.etag.take().or(told.etag);
                    into.strong = into.strong.take().or(told.strong);
                    into.checksums = into.checksums.take().or(told.checksums);
                    into.lock_owner = into.lock_owner.take().or(told.lock_owner);
                }
            }
            (Element::Response, Some(Element::Multistatus)) => {
                self.length = 0;
                return Some(std::mem::take(&mut self.response));
            }
            _ => {}
        }
        self.text.clear();
        None
    }
}

/// The longest ETag that is sent back as a condition.
const CONDITION: usize = 4096;

fn wrong(why: impl Into<String>) -> Malformed {
    Malformed::Xml(why.into())
}

/// The characters of a reference: one of XML's own, or a character's number.
fn resolve(reference: &BytesRef<'_>) -> Result<String, Malformed> {
    if let Some(character) = reference.resolve_char_ref().map_err(Malformed::from)? {
        return Ok(character.to_string());
    }
    let name: &str = reference;
    match escape::resolve_predefined_entity(name) {
        Some(text) => Ok(text.to_owned()),
        None => Err(wrong(format!("it refers to the entity '{name}', which is refused"))),
    }
}

/// The code of a status line, as `HTTP/1.1 200 OK`.
fn status(line: &str) -> Option<u16> {
    line.split_whitespace().nth(1)?.parse().ok()
}

/// A time of HTTP (RFC 9110, 5.6.7), or of the Internet (RFC 3339), which some servers give.
fn time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    DateTime::parse_from_rfc2822(text)
        .or_else(|_| DateTime::parse_from_rfc3339(text))
        .ok()
        .map(|time| time.to_utc())
}

/// Limits the bytes that one event may have.
struct Bounded<R> {
    inner: R,
    left: usize,
}

impl<R: AsyncBufRead + Unpin> AsyncBufRead for Bounded<R> {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        let bytes = ready!(Pin::new(&mut this.inner).poll_fill_buf(context))?;
        if this.left == 0 && !bytes.is_empty() {
            let message = format!("a tag or text of the answer has more than {EVENT_LIMIT} bytes");
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, message)));
        }
        Poll::Ready(Ok(&bytes[..bytes.len().min(this.left)]))
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        self.left = self.left.saturating_sub(amount);
        Pin::new(&mut self.inner).consume(amount);
    }
}

impl<R: AsyncBufRead + Unpin> AsyncRead for Bounded<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let bytes = ready!(self.as_mut().poll_fill_buf(context))?;
        let amount = bytes.len().min(into.remaining());
        into.put_slice(&bytes[..amount]);
        self.consume(amount);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
