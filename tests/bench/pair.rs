//! Acme and Globex for a measurement: sshd, one gateway that polls it and sends by AS2, one that
//! receives into a directory.

use std::path::{Path, PathBuf};
use suites::{Gateway, GatewayBuilder, KeyPair, Server, fresh_database};
use tempfile::TempDir;

pub(crate) struct Pair {
    pub(crate) sshd: Server,
    pub(crate) acme: Gateway,
    pub(crate) globex: Gateway,
    pub(crate) place: TempDir,
}

impl Pair {
    pub(crate) fn new(postgres: bool) -> Self {
        let place = tempfile::tempdir().unwrap();
        let root = place.path();
        let sshd = Server::start("sshd", &[]);
        let (acme_key, globex_key) = (KeyPair::make(root, "acme-key"), KeyPair::make(root, "globex-key"));
        let database = |name: &str| postgres.then(|| fresh_database(name));
        let globex = GatewayBuilder::new(root, "globex").database(database("globex").as_deref()).build();
        let acme = GatewayBuilder::new(root, "acme").database(database("acme").as_deref()).build();
        globex.define("all.toml", &receiving(root, &acme_key, &globex_key));
        acme.define("all.toml", &sending(&sshd, &acme_key, &globex_key, globex.http));
        std::fs::create_dir_all(root.join("warehouse")).unwrap();
        Self { sshd, acme, globex, place }
    }

    pub(crate) fn folder(&self) -> PathBuf {
        PathBuf::from(self.sshd.text("folder"))
    }

    pub(crate) fn warehouse(&self) -> PathBuf {
        self.place.path().join("warehouse")
    }
}

fn parties(own: (&str, &KeyPair), partner: (&str, &KeyPair)) -> String {
    format!(
        "[identity.us]\nas2_id = \"{}\"\nkey = \"us\"\n\
         [key.us]\nprivate_key = \"${{file:{}}}\"\ncertificate = \"${{file:{}}}\"\n\
         [partner.them]\nas2_id = \"{}\"\ncertificates = [\"them\"]\n\
         [certificate.them]\npem = \"${{file:{}}}\"\n",
        own.0,
        own.1.key.display(),
        own.1.certificate.display(),
        partner.0,
        partner.1.certificate.display(),
    )
}

fn receiving(root: &Path, acme: &KeyPair, globex: &KeyPair) -> String {
    format!(
        "{}[endpoint.warehouse]\ntransport = \"file\"\nurl = \"file://{}/warehouse\"\n\
         [flow.inbound]\nsource = {{ listener = \"as2\", partner = \"them\", mask = \"*\" }}\n\
         [[flow.inbound.destination]]\nendpoint = \"warehouse\"\n",
        parties(("GLOBEX", globex), ("ACME", acme)),
        root.display(),
    )
}

fn sending(sshd: &Server, acme: &KeyPair, globex: &KeyPair, port: u16) -> String {
    // The key lies outside the roots, so its text goes into the document itself: this is a measurement.
    let key = std::fs::read_to_string(sshd.text("key")).unwrap();
    format!(
        "{}[endpoint.folder]\ntransport = \"sftp\"\nurl = \"sftp://127.0.0.1:{}/\"\nusername = \"{}\"\n\
         [endpoint.folder.options]\nhost_key = \"{}\"\nprivate_key = '''\n{key}'''\n\
         [endpoint.globex]\ntransport = \"as2\"\npartner = \"them\"\nidentity = \"us\"\nurl = \"http://127.0.0.1:{port}/as2\"\n\
         [flow.orders]\nsource = {{ endpoint = \"folder\", mask = \"*\", every = \"2s\", stable_for = \"0s\", read_limit = 0, after = \"delete\" }}\n\
         [[flow.orders.destination]]\nendpoint = \"globex\"\n",
        parties(("ACME", acme), ("GLOBEX", globex)),
        sshd.port(),
        sshd.text("user"),
        sshd.text("fingerprint"),
    )
}
