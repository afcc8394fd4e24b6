//! Configuration: the settings of the process, and definitions as TOML documents.
//!
//! [`Settings`] belong to the administrator of the machine: `waybill.toml`, and environment variables that
//! override it. [`Documents`] contain the definitions: endpoints, partners, flows. Both are read by declared
//! fields ([`model::schema`]). A transport's own fields come from the [`Catalogue`] that the binary passes
//! in, so this crate names no transport. All problems are collected, each with its file, line and the nearest
//! valid name.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod catalogue;
mod certificate_facts;
mod certificates;
mod check;
mod comments;
mod context;
mod documents;
mod environment;
mod export;
mod facts;
mod json_schema;
mod outline;
mod pkcs12;
mod plan;
mod problem;
mod public;
mod reader;
mod reference;
mod reference_page;
mod roots;
mod secrets;
mod sections;
pub mod settings;
mod stored;
mod tree;
mod validate;
mod words;

pub use catalogue::Catalogue;
pub use certificate_facts::{CertificateFacts, ReadCertificate, key_name, read_certificates};
pub use certificates::{certificates_in, leaf_first};
pub use check::is_name;
pub use documents::Documents;
pub use environment::{Environment, ProcessEnvironment, ReadFile};
pub use export::{ExportedFile, export, export_one};
pub use facts::{Address, Facts, Reference};
pub use json_schema::json_schema;
pub use outline::Outline;
pub use plan::{Changed, Changes, Conflict, FieldChange, Named, Notice, Origin, Plan, Side};
pub use problem::{Problem, Severity};
pub use reference_page::reference_markdown;
pub use roots::Roots;
pub use secrets::{Held, Put, each_secret};
pub use sections::SECTIONS;
pub use settings::Settings;
pub use validate::{Report, missing_roots, validate};
