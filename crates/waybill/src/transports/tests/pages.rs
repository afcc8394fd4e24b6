//! The examples of the pages in `docs/` are valid definitions, with the endpoints beside them that they name.

use super::Desk;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// An example: its page, what stands before it and after it, and how many warnings it gives.
struct Example {
    page: &'static str,
    before: &'static str,
    after: &'static str,
    warnings: usize,
    /// Whether it is checked without the definitions that are usually beside it, whose names it has.
    is_whole: bool,
}

const fn example(page: &'static str) -> Example {
    Example { page, before: "", after: "", warnings: 0, is_whole: false }
}

/// Endpoints that pages name and do not define.
const ACME: &str =
    "[endpoint.acme-orders]\ntransport = \"webdav\"\nurl = \"davs://files.acme.example/out\"\n";
const GLOBEX: &str = "[endpoint.globex-drop]\ntransport = \"file\"\nurl = \"file:///srv/waybill/globex\"\n";

/// All examples, in the order in which they stand on each page.
const EXAMPLES: &[Example] = &[
    Example {
        before: "[endpoint.erp-out]\ntransport = \"file\"\nurl = \"file:///srv/waybill/out\"\n\
                 [endpoint.erp-in]\ntransport = \"file\"\nurl = \"file:///srv/waybill/in\"\n",
        is_whole: true,
        ..example("as2.md")
    },
    Example {
        before: "[certificate.globex-2026]\npem = \"${file:x}\"\n",
        is_whole: true,
        ..example("as2.md")
    },
    Example {
        before: "[key.acme-2026]\nprivate_key = \"${file:x}\"\ncertificate = \"${file:x}\"\n\
                 [key.acme-2027]\nprivate_key = \"${file:x}\"\ncertificate = \"${file:x}\"\n\
                 [certificate.globex-2026]\npem = \"${file:x}\"\n[certificate.globex-2027]\npem = \"${file:x}\"\n",
        is_whole: true,
        ..example("as2.md")
    },
    Example {
        before: "[identity.acme.as2]\nid = \"ACME\"\nkeys = [\"acme-2026\"]\n\
                 [key.acme-2026]\nprivate_key = \"${file:x}\"\ncertificate = \"${file:x}\"\n\
                 [partner.globex.as2]\nid = \"GLOBEX\"\ncertificates = [\"globex-2026\"]\n\
                 [certificate.globex-2026]\npem = \"${file:x}\"\n\
                 [endpoint.globex-as2]\ntransport = \"as2\"\nurl = \"https://as2.globex.example/receive\"\npartner = \"globex\"\nidentity = \"acme\"\n\
                 [listener.as2]\ntransport = \"as2\"\nserver = \"partners\"\n\
                 [endpoint.erp-out]\ntransport = \"file\"\nurl = \"file:///srv/waybill/out\"\n",
        is_whole: true,
        ..example("as2.md")
    },
    Example {
        before: "[partner.globex.as2]\nid = \"GLOBEX\"\ncertificates = [\"globex-2026\"]\n\
                 [certificate.globex-2026]\npem = \"${file:x}\"\n\
                 [identity.acme.as2]\nid = \"ACME\"\nkeys = [\"acme-2026\"]\n\
                 [key.acme-2026]\nprivate_key = \"${file:x}\"\ncertificate = \"${file:x}\"\n\
                 [listener.as2]\ntransport = \"as2\"\nserver = \"partners\"\n\
                 [endpoint.erp-in]\ntransport = \"file\"\nurl = \"file:///srv/waybill/in\"\n",
        is_whole: true,
        ..example("as2.md")
    },
    example("certificates.md"),
    Example {
        before: "[certificate.globex-2026]\npem = \"${file:x}\"\n",
        after: "certificates = [\"globex-2026\"]\n",
        is_whole: true,
        ..example("evidence.md")
    },
    Example {
        before: "[endpoint.partner]\ntransport = \"file\"\nurl = \"file:///srv/waybill/partner\"\n",
        ..example("file.md")
    },
    example("ftp.md"),
    Example {
        before: "[key.acme-2026]\nprivate_key = \"${file:x}\"\ncertificate = \"${file:x}\"\n\
                 [certificate.globex-2026]\npem = \"${file:x}\"\n\
                 [credential.at-globex]\nusername = \"acme\"\npassword = \"${file:x}\"\n\
                 [credential.from-globex]\nusername = \"globex\"\npassword = \"${file:x}\"\n\
                 [endpoint.erp-out]\ntransport = \"file\"\nurl = \"file:///srv/waybill/out\"\n\
                 [endpoint.erp-in]\ntransport = \"file\"\nurl = \"file:///srv/waybill/in\"\n",
        is_whole: true,
        ..example("gisb.md")
    },
    Example {
        before: "[certificate.globex-2026]\npem = \"${file:x}\"\n",
        is_whole: true,
        ..example("gisb.md")
    },
    Example {
        before: "[endpoint.acme]\ntransport = \"sftp\"\nurl = \"sftp://sftp.acme.example/in\"\nusername = \"waybill\"\n\
                 host_key = \"SHA256:gGQZHBHcGZq4cRUVqDmiaRiBTRqlmFRJeiWJoCVWGFE\"\n",
        ..example("install.md")
    },
    Example {
        before: ACME,
        after: "[[flow.orders.destination]]\nendpoint = \"folder\"\n",
        ..example("polling.md")
    },
    Example {
        before: ACME,
        after: "[[flow.orders.destination]]\nendpoint = \"folder\"\n",
        ..example("polling.md")
    },
    example("sftp.md"),
    example("sftp.md"),
    example("sftp.md"),
    example("sftp.md"),
    // It allows old algorithms.
    Example { warnings: 1, ..example("sftp.md") },
    Example {
        before: "[endpoint.acme-orders]\ntransport = \"webdav\"\nurl = \"davs://files.acme.example/out\"\n\
                 [endpoint.globex-drop]\ntransport = \"file\"\nurl = \"file:///srv/waybill/globex\"\n\
                 [endpoint.mainframe]\ntransport = \"file\"\nurl = \"file:///srv/waybill/mainframe\"\n",
        ..example("steps.md")
    },
    Example {
        before: "[endpoint.acme-exports]\ntransport = \"webdav\"\nurl = \"davs://files.acme.example/exports\"\n\
                 [endpoint.warehouse]\ntransport = \"file\"\nurl = \"file:///srv/waybill/warehouse\"\n",
        ..example("streaming.md")
    },
    Example {
        before: "[endpoint.erp]\ntransport = \"file\"\nurl = \"file:///srv/waybill/erp\"\n",
        ..example("webdav.md")
    },
    Example {
        before: GLOBEX,
        after: "[flow.orders.source]\nendpoint = \"folder\"\nafter = \"keep\"\nerror_directory = \"/srv/waybill/bad\"\n",
        ..example("writing.md")
    },
    Example {
        before: GLOBEX,
        after: "[flow.orders.source]\nendpoint = \"folder\"\nafter = \"keep\"\nerror_directory = \"/srv/waybill/bad\"\n\
                [[flow.orders.destination]]\nendpoint = \"globex-drop\"\npaths_below = [\"/srv/waybill\"]\n",
        ..example("writing.md")
    },
];

fn pages(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(pages(&path));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A text whose references lead to the desk's own files, and whose local directories are below its root.
fn at_desk(desk: &Desk, text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.replace("/srv/exchange", "/srv/waybill").lines() {
        let name = match line.split([' ', '=']).next() {
            Some("pem" | "certificate") => "good.pem",
            Some("password" | "passphrase" | "token") => "good.password",
            _ => "good.key",
        };
        lines.push(match (line.find("${file:"), line.rfind('}')) {
            (Some(begin), Some(end)) => {
                format!("{}${{file:{}{}", &line[..begin], desk.path(name).display(), &line[end..])
            }
            _ => line.to_owned(),
        });
    }
    lines.join("\n") + "\n"
}

#[tokio::test]
async fn every_example_of_the_pages_is_valid() {
    let desk = Desk::new();
    fs::write(desk.path("good.password"), "a password").unwrap();
    fs::set_permissions(desk.path("good.password"), fs::Permissions::from_mode(0o600)).unwrap();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let mut expected = EXAMPLES.iter();
    for path in pages(&docs) {
        let page = path.strip_prefix(&docs).unwrap().display().to_string();
        let text = fs::read_to_string(&path).unwrap();
        for block in text.split("\n```toml\n").skip(1) {
            let block = block.split("\n```").next().unwrap();
            let example = expected.next().filter(|example| example.page == page);
            let example = example.unwrap_or_else(|| {
                panic!("an example of docs/{page} is not among those that are checked here: add it\n{block}")
            });
            let text = at_desk(&desk, &format!("{}{block}\n{}", example.before, example.after));
            let (valid, lines) = if example.is_whole { desk.check_alone(&text) } else { desk.check(&text) };
            assert!(valid && lines.len() == example.warnings, "docs/{page}:\n{block}\n{lines:#?}");
        }
    }
    assert!(expected.next().is_none(), "a page has fewer examples than are checked here");
}
