//! Fields as data: the one declaration that reading, suggesting and the reference page are made from.

use model::definition::{
    Cipher, ClaimBy, DigestName, DuplicatePolicy, MdnRequest, Order, SendSecurity, SettleWhen,
};
use model::{OptionKind, PublicMaterial};

/// One key of a table.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The key.
    pub name: &'static str,
    /// What it holds.
    pub kind: FieldKind,
    /// The value when it is left out, as it would be written; `None` when it has none.
    pub default: Option<&'static str>,
    /// Whether it must be given.
    pub required: bool,
    /// One paragraph for the reference page.
    pub doc: &'static str,
}

impl Field {
    pub(crate) const fn required(name: &'static str, kind: FieldKind, doc: &'static str) -> Self {
        Self { name, kind, default: None, required: true, doc }
    }

    pub(crate) const fn optional(name: &'static str, kind: FieldKind, doc: &'static str) -> Self {
        Self { name, kind, default: None, required: false, doc }
    }

    pub(crate) const fn preset(
        name: &'static str,
        kind: FieldKind,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self { name, kind, default: Some(default), required: false, doc }
    }
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub enum FieldKind {
    /// A scalar or a list of texts.
    Value(OptionKind),
    /// The name of a definition.
    Name(Section),
    /// Names of definitions.
    Names(Section),
    /// A table.
    Table(&'static [Field]),
    /// A list of tables, written `[[…]]`.
    Tables(&'static [Field]),
    /// Tables by a name that a person chooses.
    Named(&'static [Field]),
    /// What becomes of a polled file: a word, or a table.
    After,
    /// The options of the endpoint's transport.
    Options,
}

pub(crate) const TEXT: FieldKind = FieldKind::Value(OptionKind::Text);
pub(crate) const SECRET: FieldKind = FieldKind::Value(OptionKind::Secret);
pub(crate) const CERTIFICATE: FieldKind = FieldKind::Value(OptionKind::Public(PublicMaterial::Certificate));
pub(crate) const BOOL: FieldKind = FieldKind::Value(OptionKind::Bool);
pub(crate) const DURATION: FieldKind = FieldKind::Value(OptionKind::Duration);
pub(crate) const SIZE: FieldKind = FieldKind::Value(OptionKind::Size);
pub(crate) const LIST: FieldKind = FieldKind::Value(OptionKind::List);

/// The words of an enumeration of the model, as a choice. Made from the model's own list, so that a
/// word that is added there can be written here.
macro_rules! choice {
    ($name:ident, $type:ty) => {
        pub(crate) const $name: FieldKind = {
            const WORDS: [&str; <$type>::ALL.len()] = {
                let mut words = [""; <$type>::ALL.len()];
                let mut at = 0;
                while at < words.len() {
                    words[at] = <$type>::ALL[at].as_str();
                    at += 1;
                }
                words
            };
            FieldKind::Value(OptionKind::Choice(&WORDS))
        };
    };
}
choice!(ORDER, Order);
choice!(SETTLE, SettleWhen);
choice!(CLAIM, ClaimBy);
choice!(SECURITY, SendSecurity);
choice!(CIPHER, Cipher);
choice!(DIGEST, DigestName);
choice!(MDN, MdnRequest);
choice!(DUPLICATES, DuplicatePolicy);

/// A kind of definition: the first part of a table's header.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Section {
    /// `[certificate.NAME]`
    Certificate,
    /// `[key.NAME]`
    Key,
    /// `[credential.NAME]`
    Credential,
    /// `[proxy.NAME]`
    Proxy,
    /// `[identity.NAME]`
    Identity,
    /// `[partner.NAME]`
    Partner,
    /// `[endpoint.NAME]`
    Endpoint,
    /// `[flow.NAME]`
    Flow,
}

impl Section {
    /// All of them, each after those it may name.
    pub const ALL: [Self; 8] = [
        Self::Certificate,
        Self::Key,
        Self::Credential,
        Self::Proxy,
        Self::Identity,
        Self::Partner,
        Self::Endpoint,
        Self::Flow,
    ];

    /// The word in a table's header.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Key => "key",
            Self::Credential => "credential",
            Self::Proxy => "proxy",
            Self::Identity => "identity",
            Self::Partner => "partner",
            Self::Endpoint => "endpoint",
            Self::Flow => "flow",
        }
    }
}
