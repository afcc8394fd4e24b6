//! Process settings, and definitions as TOML documents: read, checked, stored as written.
//!
//! [`Settings`] are the host owner's: `waybill.toml` and the environment over it. [`Documents`] are what
//! people define: endpoints, partners, flows. Both are read by fields that are declared as data
//! ([`Field`]); a transport's own options come from the [`Catalogue`] that the binary hands in, so this
//! room names no transport. Every problem is collected with its file, line and the nearest valid name.

mod catalogue;
mod check;
mod context;
mod documents;
mod environment;
mod export;
mod facts;
mod field;
mod outline;
mod plan;
mod problem;
mod public;
mod reader;
mod reference;
mod reference_page;
mod roots;
mod secrets;
pub mod settings;
mod stored;
mod tree;
mod validate;

pub use catalogue::{Catalogue, EndpointCheck, FlowCheck, Roles, TransportSpec};
pub use check::fields_of;
pub use documents::Documents;
pub use environment::{Environment, ProcessEnvironment, ReadFile};
pub use export::{ExportedFile, export, export_one};
pub use facts::Facts;
pub use field::{Field, FieldKind, Section};
pub use outline::Outline;
pub use plan::{Changed, Changes, Conflict, FieldChange, Named, Notice, Plan, Side};
pub use problem::{Problem, Severity};
pub use reference_page::reference_markdown;
pub use roots::Roots;
pub use settings::Settings;
pub use validate::{Report, validate};
