//! The language in which fields are declared: of definitions, of settings, and of every transport.
//!
//! A room or a transport declares once, as data, what a person may write ([`Field`], [`Group`]). Reading and
//! checking documents, the reference page, the JSON Schema for editors, export and forms are made from that one
//! declaration. What was read is a [`Values`]: only declared fields, each fit for its [`Kind`], defaults filled in.

mod field_path;
mod finding;
mod scalar;
mod suggest;
mod transport;
mod value;

pub use field_path::{FieldPath, FieldStep};
pub use finding::{Finding, Findings, Subject};
pub use scalar::{duration_text, parse_bandwidth, parse_duration, parse_size, parse_time};
pub use suggest::{did_you_mean, nearest, nearest_of};
pub use transport::{Paths, Roles, Scheme, TransportSpec, joined};
pub use value::{Value, Values};

/// One key of a table.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The key.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// The value when it is left out, as it would be written; `None` when it has none.
    pub default: Option<&'static str>,
    /// Whether it must be given.
    pub required: bool,
    /// Whether its value belongs to the place where a gateway runs, so that an overlay may replace it when
    /// definitions are moved from one gateway to another.
    pub per_environment: bool,
    /// Whether it says how to log in, so that an import may keep what the receiving gateway has.
    pub login: bool,
    /// Whether it decides to whom the secrets of its definition, and of those that it names, are shown: where to
    /// connect, and whom to trust there. A stored secret is kept only while these stay as they are.
    pub address: bool,
    /// One paragraph for the reference page and for forms.
    pub doc: &'static str,
}

impl Field {
    /// A field that must be given.
    #[must_use]
    pub const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self { required: true, ..Self::optional(name, kind, doc) }
    }

    /// A field that may be left out, and has no default.
    #[must_use]
    pub const fn optional(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self {
            name,
            kind,
            default: None,
            required: false,
            per_environment: false,
            login: false,
            address: false,
            doc,
        }
    }

    /// A field with a default.
    #[must_use]
    pub const fn preset(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Self {
        Self { default: Some(default), ..Self::optional(name, kind, doc) }
    }

    /// The same field, which says how to log in.
    #[must_use]
    pub const fn login(mut self) -> Self {
        self.login = true;
        self
    }

    /// The same field, which decides to whom secrets are shown.
    #[must_use]
    pub const fn address(mut self) -> Self {
        self.address = true;
        self
    }

    /// The same field, whose value belongs to the place where the gateway runs.
    #[must_use]
    pub const fn per_environment(mut self) -> Self {
        self.per_environment = true;
        self
    }
}

/// Fields that are declared together, and what must hold between them.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// The fields.
    pub fields: &'static [Field],
    /// What else must hold.
    pub rules: &'static [Rule],
}

impl Group {
    /// Fields with nothing between them.
    #[must_use]
    pub const fn of(fields: &'static [Field]) -> Self {
        Self { fields, rules: &[] }
    }

    /// Whether a table that is left out means one with its defaults: it has some, and nothing in it must be given.
    #[must_use]
    pub fn has_defaults(&self) -> bool {
        let must = self.rules.iter().any(|rule| matches!(rule, Rule::ExactlyOne(_)));
        let has = |field: &Field| {
            field.default.is_some() || matches!(field.kind, Kind::Table(group) if group.has_defaults())
        };
        !must && !self.fields.iter().any(|field| field.required) && self.fields.iter().any(has)
    }

    /// The same fields under rules.
    #[must_use]
    pub const fn with(self, rules: &'static [Rule]) -> Self {
        Self { rules, ..self }
    }
}

/// What must hold between the fields of one table.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    /// Exactly one of these is given.
    ExactlyOne(&'static [&'static str]),
    /// At most one of these is given.
    AtMostOne(&'static [&'static str]),
    /// The first is given only together with the second.
    Needs(&'static str, &'static str),
    /// The first is given only together with one of the others.
    NeedsOneOf(&'static str, &'static [&'static str]),
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Any text.
    Text,
    /// Text that is never shown again.
    Secret,
    /// What anybody may see and files hold: beside a secret the one kind of field that may refer to a file.
    Public(PublicMaterial),
    /// `true` or `false`.
    Bool,
    /// `false` alone: switches off what another form of the same field describes.
    Off,
    /// A whole number within bounds, both included.
    Integer {
        /// Smallest value.
        min: i64,
        /// Largest value.
        max: i64,
    },
    /// A duration with its unit, such as `"30s"`, `"5m"`, `"12h"`, `"7d"`; `"0s"` means none.
    Duration,
    /// A number of bytes, such as `4096`, `"64KiB"`, `"1GiB"`.
    Size,
    /// A number of bytes per second, such as `"512KiB/s"`, `"10MiB/s"`.
    Bandwidth,
    /// A moment in UTC or with its offset (RFC 3339), such as `"2027-01-01T00:00:00Z"`.
    Time,
    /// One of a list of words.
    Choice(&'static [&'static str]),
    /// An address; which schemes it may have is declared by the transport.
    Url,
    /// Text with fields in braces, such as `"{stem}-{received:%Y}{ext}"`; whoever uses it says which fields.
    Template,
    /// A directory at the endpoint that the table is about, as its scheme reads paths ([`Paths`]).
    Directory,
    /// A directory of the gateway's own machine, below its roots for files.
    LocalDirectory,
    /// The name of a definition of a kind.
    Name(Section),
    /// The name of an HTTP server, `[listen.http.NAME]` in `waybill.toml`.
    Server,
    /// The name of a definition with its kind before it, such as `"listener:as2"`.
    NameOf(&'static [Section]),
    /// Several values of a kind; one alone needs no brackets. Of tables: `[[…]]`.
    List(&'static Kind),
    /// A table.
    Table(&'static Group),
    /// Values by keys that a person chooses.
    Map(&'static Kind),
    /// One of several forms, told apart by their shape.
    OneOf(&'static [Kind]),
}

/// A list of texts.
pub const TEXTS: Kind = Kind::List(&Kind::Text);

/// What a file holds that anybody may see. Its content is compared with this before it is used, so that
/// no other file is shown through such a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PublicMaterial {
    /// Certificates: in PEM form, or files of them in PEM form, DER or PKCS #7.
    Certificate,
    /// A list of host keys: fingerprints or public keys of SSH.
    HostKeys,
    /// OpenSSH's `known_hosts`.
    KnownHosts,
    /// A user's certificate in OpenSSH's form.
    UserCertificate,
}

impl Kind {
    /// The kind in words, for a reference page or an error.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Self::Text => "text".into(),
            Self::Secret => "a secret".into(),
            Self::Public(PublicMaterial::Certificate) => "a certificate".into(),
            Self::Public(PublicMaterial::HostKeys) => "a host key or a list of them".into(),
            Self::Public(PublicMaterial::KnownHosts) => "the content of a known_hosts file".into(),
            Self::Public(PublicMaterial::UserCertificate) => "an OpenSSH certificate".into(),
            Self::Bool => "true or false".into(),
            Self::Off => "false".into(),
            Self::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Self::Duration => "a duration such as \"30s\"".into(),
            Self::Size => "a size such as \"64KiB\"".into(),
            Self::Bandwidth => "a bandwidth such as \"10MiB/s\"".into(),
            Self::Time => "a time such as \"2027-01-01T00:00:00Z\"".into(),
            Self::Choice([word]) => format!("\"{word}\""),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::Url => "a URL".into(),
            Self::Template => "text with fields such as {name}".into(),
            Self::Directory => "a directory".into(),
            Self::LocalDirectory => "a directory of this machine".into(),
            Self::Name(section) => format!("the name of {} {section}", article(section.as_str())),
            Self::Server => "the name of a [listen.http.NAME] in waybill.toml".into(),
            Self::NameOf(sections) => {
                let forms: Vec<String> =
                    sections.iter().map(|section| format!("\"{section}:NAME\"")).collect();
                forms.join(" or ")
            }
            Self::List(Self::Text) => "a list of texts".into(),
            Self::List(Self::Table(_)) => "a list of tables".into(),
            Self::List(Self::Name(section)) => format!("a list of names of {}", plural(section.as_str())),
            Self::List(kind) => format!("{}, or a list of such", kind.describe()),
            Self::Table(group) => {
                let names: Vec<&str> = group.fields.iter().map(|field| field.name).collect();
                format!("a table with {}", names.join(", "))
            }
            Self::Map(Self::Table(_)) => "tables by name".into(),
            Self::Map(kind) => format!("a table of keys, each with {}", kind.describe()),
            Self::OneOf(kinds) => {
                let mut forms: Vec<String> = Vec::new();
                for kind in kinds {
                    // What a list takes alone as well is said once.
                    let alone = if let Self::List(item) = kind { item.describe() } else { String::new() };
                    forms.retain(|form| !alone.split(", or ").any(|known| known == form));
                    forms.push(kind.describe());
                }
                forms.join(", or ")
            }
        }
    }

    /// Whether text stands for it in a document.
    #[must_use]
    pub fn takes_text(self) -> bool {
        match self {
            Self::Bool | Self::Off | Self::Integer { .. } | Self::Table(_) | Self::Map(_) => false,
            Self::List(kind) => kind.takes_text(),
            Self::OneOf(kinds) => kinds.iter().any(|kind| kind.takes_text()),
            _ => true,
        }
    }
}

fn article(word: &str) -> &'static str {
    if word.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" }
}

fn plural(word: &str) -> String {
    word.strip_suffix('y').map_or_else(|| format!("{word}s"), |stem| format!("{stem}ies"))
}

/// A kind of definition: the first part of a table's header, such as `endpoint` in `[endpoint.NAME]`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Section(&'static str);

impl Section {
    /// `[certificate.NAME]`
    pub const CERTIFICATE: Self = Self("certificate");
    /// `[key.NAME]`
    pub const KEY: Self = Self("key");
    /// `[credential.NAME]`
    pub const CREDENTIAL: Self = Self("credential");
    /// `[proxy.NAME]`
    pub const PROXY: Self = Self("proxy");
    /// `[calendar.NAME]`
    pub const CALENDAR: Self = Self("calendar");
    /// `[worker_pool.NAME]`
    pub const WORKER_POOL: Self = Self("worker_pool");
    /// `[identity.NAME]`
    pub const IDENTITY: Self = Self("identity");
    /// `[partner.NAME]`
    pub const PARTNER: Self = Self("partner");
    /// `[listener.NAME]`
    pub const LISTENER: Self = Self("listener");
    /// `[endpoint.NAME]`
    pub const ENDPOINT: Self = Self("endpoint");
    /// `[flow.NAME]`
    pub const FLOW: Self = Self("flow");

    /// A kind of definition that a transport declares for itself ([`TransportSpec::sections`]).
    #[must_use]
    pub const fn new(word: &'static str) -> Self {
        Self(word)
    }

    /// The word in a table's header.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl std::fmt::Display for Section {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

/// A kind of definition with its fields.
#[derive(Clone, Copy, Debug)]
pub struct SectionSpec {
    /// The kind.
    pub section: Section,
    /// What it is for, in one sentence.
    pub doc: &'static str,
    /// Its fields.
    pub group: &'static Group,
}

/// The words of enumerations (made by [`words!`](crate::words)) as choices, so that a word that is added there can be
/// written in documents.
#[macro_export]
macro_rules! choice_of {
    ($($(#[$doc:meta])* $visible:vis $name:ident = $type:ty;)*) => { $(
        $(#[$doc])*
        $visible const $name: $crate::schema::Kind = {
            const WORDS: [&str; <$type>::ALL.len()] = {
                let mut words = [""; <$type>::ALL.len()];
                let mut at = 0;
                while at < words.len() {
                    words[at] = <$type>::ALL[at].as_str();
                    at += 1;
                }
                words
            };
            $crate::schema::Kind::Choice(&WORDS)
        };
    )* };
}
