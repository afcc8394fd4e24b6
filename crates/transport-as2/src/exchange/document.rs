//! The XML document of a message about certificates, as a tree of its elements.
//!
//! Bounded whatever the partner sends: its bytes, the elements and their depth have limits. A document type is refused, and
//! with it every entity but the five of XML itself: nothing can be expanded.

use super::NAMESPACE;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::ResolveResult;
use quick_xml::{NsReader, XmlVersion, escape};

/// Deepest level of elements.
const DEEPEST: usize = 16;

/// Most elements.
const MOST_ELEMENTS: usize = 4000;

/// An element.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Element {
    /// Its name without a prefix.
    pub(crate) name: String,
    /// Its attribute `requestId`.
    pub(crate) request_id: Option<String>,
    /// Its text, trimmed.
    pub(crate) text: String,
    /// The elements in it.
    pub(crate) children: Vec<Element>,
}

impl Element {
    /// Reads a document; the answer is its outermost element, which is one of the draft's namespace.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut reader = NsReader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        let mut open: Vec<Self> = Vec::new();
        let mut count = 0;
        loop {
            let (namespace, event) = reader.read_resolved_event().map_err(|error| error.to_string())?;
            match event {
                Event::Start(start) => {
                    count += 1;
                    if count > MOST_ELEMENTS {
                        return Err(format!("it has more than {MOST_ELEMENTS} elements"));
                    }
                    if open.len() >= DEEPEST {
                        return Err(format!("it has more than {DEEPEST} levels of elements"));
                    }
                    let is_own =
                        matches!(namespace, ResolveResult::Bound(bound) if bound.as_ref() == NAMESPACE);
                    let element = Self::begun(&start)?;
                    if open.is_empty() && !is_own {
                        return Err(format!("its first element '{}' is not of {NAMESPACE}", element.name));
                    }
                    open.push(element);
                }
                Event::End(_) => {
                    let Some(mut element) = open.pop() else { continue };
                    element.text = element.text.trim().to_owned();
                    match open.last_mut() {
                        Some(parent) => parent.children.push(element),
                        // What follows the document is not read.
                        None => return Ok(element),
                    }
                }
                Event::Text(text) => push(&mut open, &text),
                Event::CData(data) => push(&mut open, &data),
                Event::GeneralRef(reference) => push(&mut open, &resolve(&reference)?),
                Event::DocType(_) => return Err("it has a document type, which is refused".to_owned()),
                Event::Eof => return Err("it ends in the middle".to_owned()),
                Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            }
        }
    }

    fn begun(start: &BytesStart<'_>) -> Result<Self, String> {
        let mut request_id = None;
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|error| error.to_string())?;
            if attribute.key.as_ref() == "requestId" {
                let value = attribute.normalized_value(XmlVersion::Implicit1_0);
                request_id = Some(value.map_err(|error| error.to_string())?.trim().to_owned());
            }
        }
        let name = start.local_name().as_ref().to_owned();
        Ok(Self { name, request_id, ..Self::default() })
    }

    /// The elements of a name in it.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The first element of a name in it.
    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first element of a name in it; `None` if there is none, or it is empty.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str()).filter(|text| !text.is_empty())
    }

    /// The text of the first element of a name, at any depth.
    pub(crate) fn within(&self, name: &str) -> Option<&str> {
        self.value(name).or_else(|| self.children.iter().find_map(|child| child.within(name)))
    }
}

fn push(open: &mut [Element], text: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(text);
    }
}

/// The characters of a reference: one of XML's own, or a character's number.
fn resolve(reference: &BytesRef<'_>) -> Result<String, String> {
    if let Some(character) = reference.resolve_char_ref().map_err(|error| error.to_string())? {
        return Ok(character.to_string());
    }
    let name: &str = reference;
    match escape::resolve_predefined_entity(name) {
        Some(text) => Ok(text.to_owned()),
        None => Err(format!("it refers to the entity '{name}', which is refused")),
    }
}
