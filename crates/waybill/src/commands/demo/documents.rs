//! The definitions of both sides, as a person would write them.

use super::sshd::Sshd;
use super::write_file;
use model::Result;
use std::net::SocketAddr;
use std::path::Path;

/// Acme polls its folder by SFTP and forwards each file to Globex by AS2.
pub(crate) fn acme(root: &Path, sshd: &Sshd, receiver: SocketAddr) -> Result<()> {
    let text = format!(
        r#"[identity.acme.as2]
id = "ACME"
keys = ["acme"]

[key.acme]
private_key = "${{file:{root}/acme/key.pem}}"
certificate = "${{file:{root}/acme/certificate.pem}}"

[partner.globex]
title = "Globex Corporation"
[partner.globex.as2]
id = "GLOBEX"
certificates = ["globex"]

[certificate.globex]
pem = "${{file:{root}/globex/certificate.pem}}"

[endpoint.acme-folder]
transport = "sftp"
url = "sftp://127.0.0.1:{port}/{folder}"
username = "{user}"
private_key = "${{file:{key}}}"
host_key = "{host_key}"

[endpoint.globex-as2]
transport = "as2"
partner = "globex"
identity = "acme"
url = "http://{receiver}/as2"

[flow.orders]
source = {{ endpoint = "acme-folder", mask = "*", every = "2s", stable_for = "1s", read_limit = 0, order = "arrival", after = "delete" }}
[[flow.orders.destination]]
endpoint = "globex-as2"
retry = {{ attempts = 20, first = "1s", longest = "10s" }}
"#,
        root = root.display(),
        port = sshd.port,
        folder = in_url(&sshd.folder),
        user = sshd.user,
        key = sshd.client_key.display(),
        host_key = sshd.host_key,
    );
    write_file(&root.join("acme/definitions/acme.toml"), text)
}

/// Globex receives by AS2 and writes into its warehouse's directory.
pub(crate) fn globex(root: &Path) -> Result<()> {
    let text = format!(
        r#"[identity.globex.as2]
id = "GLOBEX"
keys = ["globex"]

[key.globex]
private_key = "${{file:{root}/globex/key.pem}}"
certificate = "${{file:{root}/globex/certificate.pem}}"

[partner.acme]
title = "Acme Inc"
[partner.acme.as2]
id = "ACME"
certificates = ["acme"]

[certificate.acme]
pem = "${{file:{root}/acme/certificate.pem}}"

[endpoint.warehouse]
transport = "file"
url = "file://{place}/globex/warehouse"

[listener.as2]
transport = "as2"
server = "partners"

[flow.inbound]
source = {{ listener = "as2", partner = "acme", mask = "*" }}
[[flow.inbound.destination]]
endpoint = "warehouse"
"#,
        root = root.display(),
        place = in_url(root),
    );
    super::make_directory(&root.join("globex/warehouse"))?;
    write_file(&root.join("globex/definitions/globex.toml"), text)
}

/// A path as part of a URL, without what has a meaning there.
fn in_url(path: &Path) -> String {
    path.display().to_string().replace('%', "%25").replace('#', "%23").replace('?', "%3F")
}
