//! A table of mistakes, each with what is answered; and what comes of documents without one.

mod alone;
mod found;
mod mistakes;
mod seven;
mod whole;

use super::fixture::{catalogue, machine, roots};
use crate::{Documents, Problem};
use model::definition::Definitions;

/// Definitions without a mistake, that the tables of mistakes add to.
const BASE: &str = r#"
[key.ours]
private_key = "${file:/pem/good.key}"
certificate = "${file:/pem/good.pem}"
[certificate.theirs]
pem = "${file:/pem/other.pem}"
[identity.acme.as2]
id = "ACME"
keys = ["ours"]
[partner.globex.as2]
id = "GLOBEX"
certificates = ["theirs"]
[credential.login]
username = "waybill"
password = "${file:/secret/password}"
[endpoint.orders]
transport = "sftp"
url = "sftp://${env:HOST}/out"
username = "u"
host_key = "SHA256:x"
[endpoint.globex-as2]
transport = "as2"
url = "https://as2.globex.example/receive?in=1"
partner = "globex"
identity = "acme"
[listener.as2]
transport = "as2"
server = "partners"
[endpoint.folder]
transport = "file"
url = "file:///srv/in"
"#;

/// Checks the base in one file and a text in another.
fn check(text: &str) -> (Option<Definitions>, Vec<Problem>) {
    let (documents, mut problems) =
        Documents::parse([("base.toml", BASE.as_bytes()), ("x.toml", text.as_bytes())]);
    let (definitions, mut found) = documents.check(&catalogue(), &roots(), &machine());
    problems.append(&mut found);
    (definitions, problems)
}

/// A flow from the SFTP endpoint, with its source's and destination's fields.
fn flow(source: &str, destination: &str) -> String {
    format!("[flow.f]\nsource = {{ endpoint = \"orders\", {source} }}\n[[flow.f.destination]]\n{destination}")
}
