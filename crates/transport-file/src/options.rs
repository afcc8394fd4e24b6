//! What a file endpoint can be told.

use model::definition::Endpoint;
use model::{OptionKind, OptionSpec, RemotePath};
use transport::folder::{Overwrite, WriteOptions};

/// The options of `transport = "file"`.
pub const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "temporary_name",
        kind: OptionKind::Bool,
        default: Some("true"),
        required: false,
        doc: "Whether files are written under a temporary name first, and renamed when they are whole. false writes each \
              under its own name at once, for places that take files as soon as they are closed; whoever looks there may \
              see a file that is not whole.",
    },
    OptionSpec {
        name: "temporary_suffix",
        kind: OptionKind::Text,
        default: Some(".a"),
        required: false,
        doc: "Ends the name of a file that is still being written. Files with this suffix are never polled.",
    },
    OptionSpec {
        name: "prefix",
        kind: OptionKind::Text,
        default: Some(""),
        required: false,
        doc: "Goes before the name of every file written.",
    },
    OptionSpec {
        name: "suffix",
        kind: OptionKind::Text,
        default: Some(""),
        required: false,
        doc: "Goes after the name of every file written.",
    },
    OptionSpec {
        name: "overwrite",
        kind: OptionKind::Choice(Overwrite::WORDS),
        default: Some("refuse"),
        required: false,
        doc: "What happens when a file of the name lies there: refuse fails the delivery and destroys \
              nothing, replace puts the new file in its place in one step, rename adds a number.",
    },
    OptionSpec {
        name: "create_directories",
        kind: OptionKind::Bool,
        default: Some("false"),
        required: false,
        doc: "Whether the endpoint's directory is made when it is missing. Off, because a directory that \
              is missing may be a file system that is not mounted.",
    },
    OptionSpec {
        name: "shared",
        kind: OptionKind::Bool,
        default: Some("false"),
        required: false,
        doc: "Whether all nodes see the same directory (NFS and the like). Otherwise the endpoint belongs \
              to the node it names.",
    },
];

/// The writing options of an endpoint.
pub(crate) fn write_options(endpoint: &Endpoint, directory: RemotePath) -> WriteOptions {
    let options = &endpoint.options;
    let text = |name: &str| options.text(name).unwrap_or_default().to_owned();
    WriteOptions {
        address: endpoint.url.as_ref().map(ToString::to_string).unwrap_or_default(),
        temporary_suffix: temporary_suffix(endpoint),
        prefix: text("prefix"),
        suffix: text("suffix"),
        overwrite: Overwrite::from_word(options.text("overwrite").unwrap_or_default()),
        create_directories: options.bool("create_directories"),
        temporary_name: options.bool("temporary_name"),
        ..WriteOptions::new(endpoint.name.clone(), directory)
    }
}

/// The suffix of files being written.
pub(crate) fn temporary_suffix(endpoint: &Endpoint) -> String {
    endpoint.options.text("temporary_suffix").unwrap_or(".a").to_owned()
}
