//! `waybill known-host …`, as clap reads it.

use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Subcommand, Debug)]
pub(crate) enum KnownHost {
    /// List the host keys of SSH servers that every node trusts, and those that servers showed and that wait for a decision.
    List {
        /// Only lines that contain this text.
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
    },
    /// Add lines of OpenSSH's known_hosts. Each key is shown with its fingerprint and asked about: compare it with what the
    /// server's operator told you. Within seconds every node trusts it.
    Add(AddKnownHost),
    /// Remove a line: within seconds no node trusts it any more.
    Remove {
        /// Its ID, or its fingerprint where one line alone has it.
        which: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Ask a server for its host keys and write them as lines of known_hosts, each below a comment with its fingerprint. Nothing is
    /// trusted by it: compare the fingerprints with what the server's operator told you, then add the lines.
    Scan {
        /// The server: a name or an address, with another port than 22 as NAME:PORT or [ADDRESS]:PORT.
        #[arg(required_unless_present = "endpoint", conflicts_with = "endpoint")]
        host: Option<String>,
        /// The server of an endpoint, reached as the endpoint says: with its proxy, jump host and algorithms.
        #[arg(long, value_name = "NAME")]
        endpoint: Option<String>,
    },
}

#[derive(Args, Debug)]
pub(crate) struct AddKnownHost {
    /// A line: host names and addresses with commas between, key type, and key. Left out, lines are read from the file, or from
    /// standard input.
    #[arg(value_name = "LINE", conflicts_with_all = ["file", "offered"])]
    pub(crate) line: Option<String>,
    /// A file with such lines.
    #[arg(long, value_name = "FILE", conflicts_with = "offered")]
    pub(crate) file: Option<PathBuf>,
    /// The key with this fingerprint, which a server showed and which waits for a decision (see `known-host list`).
    #[arg(long, value_name = "FINGERPRINT")]
    pub(crate) offered: Option<String>,
    /// A fingerprint that was compared already: it is not asked about. Can be given several times.
    #[arg(long, value_name = "FINGERPRINT")]
    pub(crate) confirm: Vec<String>,
    /// Remove the lines with other keys of the same type for these hosts.
    #[arg(long, conflicts_with = "keep_others")]
    pub(crate) replace: bool,
    /// Keep the lines with other keys of the same type for these hosts: both count.
    #[arg(long)]
    pub(crate) keep_others: bool,
}
