use super::{check, flow};
use proptest::prelude::*;

/// Checks each text and looks for a line with the expected words.
fn told(table: &[(&str, &str)]) {
    for (text, expected) in table {
        let (definitions, problems) = check(text);
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(lines.iter().any(|line| line.contains(expected)), "{text}\nexpected: {expected}\n{lines:#?}");
        assert!(!lines.iter().any(|line| line.contains("hunter2")), "a secret is shown: {lines:#?}");
        assert_eq!(definitions.is_none(), expected.contains(" error: "), "{text}\n{lines:#?}");
    }
}

#[test]
fn names_and_sections() {
    told(&[
        (
            "[endpont.x]\n",
            "x.toml:1:2: error: unknown kind of definition 'endpont'; did you mean 'endpoint'?",
        ),
        ("[listen]\n", "x.toml:1:2: error: 'listen' is a setting of the process; it belongs in waybill.toml"),
        ("flow = 1\n", "x.toml:1:8: error: flow: takes tables, written [flow.NAME]"),
        ("[flow]\nf = 1\n", "x.toml:2:5: error: flow.f: takes a table, not a whole number"),
        ("[flow.\"A b\"]\n", "x.toml:1:7: error: flow: the name \"A b\" cannot be used: 1 to 64 of a-z"),
        ("[flow.\"..\"]\n", "x.toml:1:7: error: flow: the name \"..\" cannot be used"),
        (
            "\n[identity.acme]\nas2_id = \"B\"\nkey = \"ours\"",
            "x.toml:2:11: error: identity.acme: is defined twice: first in base.toml:7",
        ),
        (
            "[credential.a]\nusername=\"u\"\n[credential.a]\n",
            "x.toml:3:13: error: duplicate key: written first on line 1",
        ),
        ("[flow.f\n", "x.toml:1:8: error: unclosed table"),
        (
            "[credential.a]\nusername = 1.5\n",
            "x.toml:2:12: error: credential.a.username: takes no number with a fraction",
        ),
        ("[credential.a]\nusername = 2020-01-01\n", "error: credential.a.username: takes no bare date"),
        (
            "[credential.a]\nusername = 99999999999999999999\n",
            "x.toml:2:12: error: credential.a.username: is a larger number",
        ),
    ]);
}

#[test]
fn references() {
    let password = |text: &str| format!("[credential.c]\nusername = \"u\"\npassword = \"{text}\"");
    let table = [
        (
            "${env:HOME}",
            "x.toml:3:12: error: credential.c.password: the variable HOME is not among roots.variables",
        ),
        ("${env:HOTS}", "not among roots.variables in waybill.toml; did you mean HOST?"),
        ("${env:UNSET}", " error: credential.c.password: the variable UNSET is not set"),
        ("${file:/etc/shadow}", " error: credential.c.password: /etc/shadow lies outside roots.secrets"),
        (
            "${file:/secret/../etc/shadow}",
            " error: credential.c.password: /secret/../etc/shadow contains '..'",
        ),
        ("${file:secret}", " error: credential.c.password: secret is not an absolute path"),
        ("${file:/secret/none}", " error: credential.c.password: cannot read /secret/none: no such file"),
        (
            "${file:/secret/link}",
            " error: credential.c.password: a symbolic link leads to /elsewhere/password",
        ),
        ("${file:/secret/latin1}", " error: credential.c.password: /secret/latin1 is not UTF-8"),
        ("${file:/secret/huge}", " error: credential.c.password: /secret/huge is larger than 1 MiB"),
        (
            "${fiel:/secret/x}",
            " error: credential.c.password: '${fiel:/secret/x}' is no reference; did you mean '${file:…}'",
        ),
        ("${env:HOST", " error: credential.c.password: '${' is not closed"),
        ("hunter2", "x.toml:3:12: warning: credential.c.password: is written down here"),
        ("$${env:HOST}", "warning: credential.c.password: is written down here"),
        (
            "${file:/secret/open}",
            "warning: credential.c.password: every user of this machine can read /secret/open",
        ),
    ];
    for (text, expected) in table {
        told(&[(&password(text), expected)]);
    }
    // What a reference brings is not shown when it does not fit.
    let endpoint = "[endpoint.e]\ntransport = \"sftp\"\nurl = \"sftp://h/\"\noptions = { host_key = \"x\", retries = \"${file:/secret/password}\" }";
    told(
        &[(
            endpoint,
            "takes a whole number from 0 to 9; what \"${file:/secret/password}\" stands for does not fit",
        )]
        .map(|(text, words)| (text, words)),
    );
}

#[test]
fn endpoints() {
    let sftp = |rest: &str| format!("[endpoint.e]\ntransport = \"sftp\"\n{rest}\n");
    let file = |url: &str| format!("[endpoint.e]\ntransport = \"file\"\nurl = \"{url}\"\n");
    told(&[
        (
            "[endpoint.e]\nurl = \"x:\"",
            "x.toml:1:11: error: endpoint.e: 'transport' is missing: The transport",
        ),
        (
            "[endpoint.e]\ntransport = \"stfp\"",
            "x.toml:2:13: error: endpoint.e.transport: there is no transport 'stfp'; did you mean 'sftp'?",
        ),
        (&sftp("ulr = \"x\""), "x.toml:3:1: error: endpoint.e: unknown key 'ulr'; did you mean 'url'?"),
        (&sftp(""), "x.toml:1:11: error: endpoint.e: 'url' is missing: transport 'sftp' needs sftp://…"),
        (&sftp("url = 5"), "error: endpoint.e.url: takes text, not a whole number; write it in quotes"),
        (
            &sftp("url = \"nowhere\""),
            "error: endpoint.e.url: is no URL: relative URL without a base; write sftp://…",
        ),
        (
            &sftp("url = \"sftp://u:hunter2@h/\""),
            "x.toml:3:7: error: endpoint.e.url: holds a user or password; write username",
        ),
        (&sftp("url = \"sftp://hunter2@h/\""), "error: endpoint.e.url: holds a user"),
        (
            &sftp("url = \"file:///srv\""),
            "error: endpoint.e.url: transport 'sftp' takes sftp://…, not file://; file:// belongs to transport = \"file\"",
        ),
        (&sftp("url = \"sfpt://h/\""), "not sfpt://; did you mean 'sftp'?"),
        (&sftp("url = \"sftp:///x\""), "error: endpoint.e.url: names no host"),
        (&sftp("url = \"sftp://h/a/../b\""), "error: endpoint.e.url: contains '..'"),
        (&sftp("url = \"sftp://h/a/%2e%2E/b\""), "error: endpoint.e.url: contains '..'"),
        (&sftp("url = \"sftp://h/a?b\""), "error: endpoint.e.url: has '?' or '#'"),
        (
            &sftp("url = \"sftp://h/\"\npartner = \"globex\"\noptions.host_key = \"x\""),
            "error: endpoint.e.partner: transport 'sftp' has no partner",
        ),
        (
            &sftp("url = \"sftp://h/\""),
            "x.toml:1:11: error: endpoint.e.options: option 'host_key' is missing: transport 'sftp' needs it",
        ),
        (&sftp("options = 1"), "error: endpoint.e.options: takes a table"),
        (
            &sftp("[endpoint.e.options]\nhost_kye = \"x\""),
            "x.toml:4:1: error: endpoint.e.options: transport 'sftp' has no option 'host_kye'; did you mean 'host_key'?",
        ),
        (
            &sftp("[endpoint.e.options]\ntimeout = 60"),
            "x.toml:4:11: error: endpoint.e.options.timeout: takes a duration such as \"30s\", not a whole number; write \"60s\"",
        ),
        (
            &sftp("[endpoint.e.options]\ntimeout = \"60\""),
            "error: endpoint.e.options.timeout: takes a duration such as",
        ),
        (
            &sftp("[endpoint.e.options]\nstrict = \"yes\""),
            "error: endpoint.e.options.strict: takes true or false, not text; write it without quotes",
        ),
        (
            &sftp("[endpoint.e.options]\nretries = 10"),
            "error: endpoint.e.options.retries: takes a whole number from 0 to 9",
        ),
        (
            &sftp("[endpoint.e.options]\ncompression = \"zilb\""),
            "takes one of none, zlib, not \"zilb\"; did you mean \"zlib\"?",
        ),
        (
            &sftp("[endpoint.e.options]\nwindow = \"1MB\""),
            "error: endpoint.e.options.window: takes a size such as",
        ),
        (
            &sftp("[endpoint.e.options]\nhost_key = [1]"),
            "error: endpoint.e.options.host_key: takes text, not a whole number",
        ),
        (
            &sftp("[endpoint.e.options]\npassword = 12345"),
            "error: endpoint.e.options.password: takes a secret, not a whole number",
        ),
        (
            &sftp("url = \"sftp://h/\"\n[endpoint.e.options]\nhost_key = \"x\"\npassword = \"hunter2\""),
            "x.toml:6:12: warning: endpoint.e.options.password: is written down here",
        ),
        (
            &sftp("credential = \"logn\""),
            "error: endpoint.e.credential: there is no credential 'logn'; did you mean 'login'?",
        ),
        (
            &sftp("credential = \"login\"\nusername = \"u\""),
            "error: endpoint.e.credential: brings its own user",
        ),
        (
            &sftp("credential = \"login\"\noptions.password = \"${file:/secret/password}\""),
            "error: endpoint.e.credential: brings the option 'password'",
        ),
        (&sftp("key = \"our\""), "error: endpoint.e.key: there is no key 'our'; did you mean 'ours'?"),
        (&sftp("node = \"a b\""), "error: endpoint.e.node: node name \"a b\""),
        (
            "[endpoint.e]\ntransport = \"file\"\nurl = \"file:///srv/a\"\ncredential = \"login\"",
            "error: endpoint.e.credential: transport 'file' takes no password",
        ),
        (
            "[endpoint.e]\ntransport = \"file\"\nurl = \"file:///srv/a\"\nkey = \"ours\"",
            "error: endpoint.e.key: transport 'file' takes no private_key",
        ),
        (
            &file("file:///etc"),
            "x.toml:3:7: error: endpoint.e.url: /etc lies outside roots.files in waybill.toml (/srv)",
        ),
        (&file("file:///srvx"), "error: endpoint.e.url: /srvx lies outside roots.files"),
        (&file("file:///srv/../etc"), "error: endpoint.e.url: contains '..'"),
        (&file("file:///srv/%2e%2e/etc"), "error: endpoint.e.url: contains '..'"),
        (&file("file://srv/in"), "error: endpoint.e.url: write file:///absolute/path, with three slashes"),
        (
            "[endpoint.e]\ntransport = \"file\"\nurl = \"file:///srv/a\"\noptions.suffix = \"*\"",
            "x.toml:1:11: error: endpoint.e: could not use the suffix",
        ),
        (
            "[endpoint.e]\ntransport = \"as2\"\nurl = \"https://h/\"\nidentity = \"acme\"",
            "x.toml:1:11: error: endpoint.e: 'partner' is missing: transport 'as2' needs the partner on the other side",
        ),
        (
            "[endpoint.e]\ntransport = \"as2\"\nurl = \"https://h/\"\npartner = \"globex\"",
            "error: endpoint.e: 'identity' is missing: transport 'as2' needs our own side",
        ),
        (
            "[endpoint.e]\ntransport = \"as2\"\nidentity = \"acme\"\npartner = \"globex\"",
            "error: endpoint.e: 'url' is missing",
        ),
        (
            "[endpoint.e]\ntransport = \"as2\"\nurl = \"https://h/\"\npartner = \"globx\"\nidentity = \"acme\"",
            "error: endpoint.e.partner: there is no partner 'globx'; did you mean 'globex'?",
        ),
    ]);
}

#[test]
fn partners_and_material() {
    let partner = |rest: &str| format!("[partner.p]\nas2_id = \"P\"\n{rest}\n");
    let key = |key: &str, rest: &str| format!("[key.k]\nprivate_key = \"${{file:{key}}}\"\n{rest}\n");
    let certificate = |file: &str| format!("[certificate.c]\npem = \"${{file:/pem/{file}}}\"\n");
    let first = |file: &str| format!("{}{}", certificate(file), partner("certificates = [\"c\"]"));
    told(&[
        (
            "[partner.p]\nas2_id = \"GLOBEX\"\ncertificates = [\"theirs\"]",
            "x.toml:2:10: error: partner.p.as2_id: 'GLOBEX' is the AS2 name of partner.globex already (base.toml:11)",
        ),
        (
            "[partner.p]\nas2_id = \"ACME\"\ncertificates = [\"theirs\"]",
            "error: partner.p.as2_id: 'ACME' is the AS2 name of identity.acme already",
        ),
        (
            "[partner.p]\nas2_id = \"\"\n",
            "error: partner.p.as2_id: AS2 name \"\": use 1 to 128 printable ASCII",
        ),
        ("[partner.p]\nas2_id = \"Ä\"\n", "error: partner.p.as2_id: AS2 name"),
        (
            &partner("certificates = [\"thiers\"]"),
            "x.toml:3:17: error: partner.p.certificates: there is no certificate 'thiers'; did you mean 'theirs'?",
        ),
        (
            &partner("certificates = [\"theirs\", \"theirs\"]"),
            "error: partner.p.certificates: names 'theirs' twice",
        ),
        (
            &partner(""),
            "x.toml:1:10: error: partner.p.certificates: at least one certificate is needed: send_security encrypts to it, receive_security verifies its signature, mdn verifies its receipts",
        ),
        (
            &partner("certificates = []\nsend_security = \"none\"\nreceive_security = \"none\""),
            "error: partner.p.certificates: at least one certificate is needed: mdn verifies its receipts",
        ),
        (
            &partner("cipher = \"aes256\""),
            "error: partner.p.cipher: takes one of aes128-cbc, aes192-cbc, aes256-cbc, 3des, not \"aes256\"; did you mean \"aes256-cbc\"?",
        ),
        (
            &partner("certificates = [\"theirs\"]\ncipher = \"3des\""),
            "x.toml:4:10: warning: partner.p.cipher: legacy: '3des' is broken",
        ),
        (
            &partner("certificates = [\"theirs\"]\ndigest = \"sha1\""),
            "warning: partner.p.digest: legacy: 'sha1' can be forged",
        ),
        (
            &partner("certificates = [\"theirs\"]\nsend_security = \"none\""),
            "warning: partner.p.send_security: legacy: 'none' sends messages",
        ),
        (
            &partner("certificates = [\"theirs\"]\nreceive_security = \"none\""),
            "warning: partner.p.receive_security: legacy: 'none' takes messages",
        ),
        (
            &partner("certificates = [\"theirs\"]\nmdn = \"none\""),
            "warning: partner.p.mdn: legacy: 'none' leaves no proof",
        ),
        (
            &partner("certificates = [\"theirs\"]\naccept_expired = true"),
            "warning: partner.p.accept_expired: legacy: 'true' goes on",
        ),
        (
            &partner("certificates = [\"theirs\"]\nlargest_message = \"much\""),
            "error: partner.p.largest_message: takes a size",
        ),
        (
            "[identity.i]\nas2_id = \"I\"\nkey = \"ous\"",
            "x.toml:3:7: error: identity.i.key: there is no key 'ous'; did you mean 'ours'?",
        ),
        (
            &format!("[identity.i]\nas2_id = \"I\"\nkey = \"k\"\n{}", key("/pem/good.key", "")),
            "error: identity.i.key: names a key without 'certificate'",
        ),
        (
            &format!(
                "[identity.i]\nas2_id = \"I\"\nkey = \"k\"\n{}",
                key("/pem/curve.key", "certificate = \"${file:/pem/curve.pem}\"")
            ),
            "warning: identity.i.key: names a key that is not RSA",
        ),
        (
            &certificate("expired.pem"),
            "x.toml:2:7: warning: certificate.c.pem: the certificate expired on 2027-01-10",
        ),
        (
            &certificate("expiring.pem"),
            "warning: certificate.c.pem: the certificate expires on 2027-01-25, in 10 days",
        ),
        (
            &certificate("future.pem"),
            "warning: certificate.c.pem: the certificate is not valid before 2027-01-16",
        ),
        (&certificate("small.pem"), "warning: certificate.c.pem: has a key of 1024 bits"),
        (&certificate("two.pem"), "warning: certificate.c.pem: holds 2 certificates; the first is used"),
        (&certificate("good.key"), "error: certificate.c.pem: holds a private key"),
        ("[certificate.c]\npem = \"hello\"", "x.toml:2:7: error: certificate.c.pem: "),
        (
            "[certificate.c]\npem = \"-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----\"",
            "error: certificate.c.pem: is no certificate in PEM form",
        ),
        (
            &first("curve.pem"),
            "error: partner.p.certificates: 'c' comes first and encrypts, but its key is not RSA",
        ),
        (
            &key("/pem/good.key", "certificate = \"${file:/pem/other.pem}\""),
            "x.toml:3:15: error: key.k.certificate: does not belong to the private key",
        ),
        (
            &key("/pem/good.key", "certificate = \"${file:/pem/expired.pem}\""),
            "warning: key.k.certificate: the certificate expired on",
        ),
        (&key("/pem/small.key", ""), "warning: key.k.private_key: has a key of 1024 bits"),
        (&key("/pem/good.pem", ""), "error: key.k.private_key: is no private key in PEM form"),
        (&key("/pem/locked.key", ""), "error: key.k.private_key: is encrypted; give its 'passphrase'"),
        (
            &key("/pem/locked.key", "passphrase = \"${file:/secret/password}\""),
            "error: key.k.private_key: cannot be decrypted: the passphrase is wrong",
        ),
        (
            &key("/secret/ssh", "certificate = \"${file:/pem/good.pem}\""),
            "error: key.k.private_key: is in OpenSSH's own form",
        ),
    ]);
}

#[test]
fn flows() {
    let to_folder = "endpoint = \"folder\"\n";
    let source = |fields: &str| flow(fields, to_folder);
    let destination = |fields: &str| flow("after = \"keep\"", fields);
    let from_folder = |fields: &str| {
        format!(
            "[flow.f]\nsource = {{ endpoint = \"folder\", {fields} }}\n[[flow.f.destination]]\nendpoint = \"orders\""
        )
    };
    let receive = |fields: &str| {
        format!("[flow.f]\nsource = {{ {fields} }}\n[[flow.f.destination]]\nendpoint = \"folder\"")
    };
    told(&[
        ("[flow.f]\n", "x.toml:1:7: error: flow.f: 'source' is missing: Where its files come from"),
        (
            "[flow.f]\nsource = { endpoint = \"orders\", after = \"keep\" }",
            "error: flow.f: 'destination' is missing",
        ),
        (
            "[flow.f]\ndestination = []\nsource = { endpoint = \"orders\", after = \"keep\" }",
            "error: flow.f.destination: names none",
        ),
        (
            "[flow.f]\nsource = {}\ndestination = 1",
            "error: flow.f.destination: takes tables, written [[flow.f.destination]]",
        ),
        (
            &source("evry = \"5s\""),
            "x.toml:2:33: error: flow.f.source: unknown key 'evry'; did you mean 'every'?",
        ),
        (&source(""), "x.toml:2:1: error: flow.f.source: 'after' is missing: say what becomes"),
        (
            &source("after = \"delte\""),
            "error: flow.f.source.after: takes no 'delte'; did you mean 'delete'?",
        ),
        (
            &source("after = \"archive\""),
            "error: flow.f.source.after: 'archive' needs a directory: after = { archive = \"DIR\" }",
        ),
        (&source("after = {}"), "error: flow.f.source.after: needs a directory"),
        (
            &source("after = { archiv = \"done\" }"),
            "error: flow.f.source.after: needs a directory: { archive = \"DIR\" } or { move = \"DIR\" }; did you mean 'archive'?",
        ),
        (&source("after = { archive = \"\" }"), "error: flow.f.source.after.archive: names no directory"),
        (
            &source("after = { archive = \"a\", move = \"b\" }"),
            "error: flow.f.source.after: takes 'archive' or 'move', not both",
        ),
        (
            &source("after = { move = \"a\", timestamp = true }"),
            "error: flow.f.source.after: unknown key 'timestamp'",
        ),
        (
            &source("after = { archive = \"out/done\" }"),
            "x.toml:2:53: error: flow.f.source.after.archive: 'out/done' lies inside the polled directory",
        ),
        (
            &source("after = { move = \"x/../out\" }"),
            "error: flow.f.source.after.move: 'x/../out' lies inside",
        ),
        (
            &source("after = \"keep\", error_directory = \"out/bad\""),
            "error: flow.f.source.error_directory: 'out/bad' lies inside",
        ),
        (
            &from_folder("after = \"keep\""),
            "error: flow.f.source: 'error_directory' is missing: a folder on this machine needs one",
        ),
        (
            &from_folder("after = \"keep\", error_directory = \"/srv/in/bad\""),
            "error: flow.f.source.error_directory: '/srv/in/bad' lies inside",
        ),
        (
            &from_folder("after = \"keep\", error_directory = \"bad\""),
            "error: flow.f.source.error_directory: bad is not an absolute path",
        ),
        (
            &from_folder("error_directory = \"/srv/bad\", after = { archive = \"/var/done\" }"),
            "error: flow.f.source.after.archive: /var/done lies outside roots.files",
        ),
        (
            &from_folder("error_directory = \"/srv/bad\", after = { archive = \"/srv/x/../in/a\" }"),
            "error: flow.f.source.after.archive: /srv/x/../in/a contains '..'",
        ),
        (&source("after = \"keep\", every = \"500ms\""), "error: flow.f.source.every: takes at least \"1s\""),
        (
            &source("after = \"keep\", every = \"4s\", stable_for = \"1s\""),
            "x.toml:2:58: warning: flow.f.source.every: is under 5s",
        ),
        (
            &source("after = \"keep\", every = \"10s\", stable_for = \"20s\""),
            "warning: flow.f.source.every: is shorter than the stability window of 20s",
        ),
        (
            &source("after = \"keep\", read_limit = -1"),
            "error: flow.f.source.read_limit: takes a whole number from 0",
        ),
        (
            &source("after = \"keep\", order = \"arival\""),
            "error: flow.f.source.order: takes one of listing, arrival, name, not \"arival\"; did you mean \"arrival\"?",
        ),
        (
            &source("after = \"keep\", settle = \"later\""),
            "error: flow.f.source.settle: takes one of recorded, after_delivery",
        ),
        (
            &source("after = \"keep\", claim = \"rename \""),
            "error: flow.f.source.claim: takes one of lease, rename",
        ),
        (
            &source("after = \"keep\", mask = \"a/b\""),
            "error: flow.f.source.mask: mask \"a/b\": a mask is matched against the name alone",
        ),
        (
            &source("after = \"keep\", mask = [\"*\", \"(\"], mask_is_regex = true"),
            "error: flow.f.source.mask: mask \"*\": ",
        ),
        (&source("after = \"keep\", exclude = [\"\"]"), "error: flow.f.source.exclude: mask \"\": is empty"),
        (
            &source("after = \"keep\", retry = { attempts = 0 }"),
            "error: flow.f.source.retry.attempts: takes a whole number from 1",
        ),
        (
            &source("after = \"keep\", partner = \"globex\""),
            "error: flow.f.source.partner: goes with 'listener'",
        ),
        (
            &receive("endpoint = \"order\", after = \"keep\""),
            "error: flow.f.source.endpoint: there is no endpoint 'order'; did you mean 'orders'?",
        ),
        (&receive("mask = \"*\""), "error: flow.f.source: needs 'endpoint' (to poll a place) or 'listener'"),
        (
            &receive("listener = \"as2\", endpoint = \"orders\""),
            "error: flow.f.source.listener: stands beside 'endpoint'",
        ),
        (
            &receive("listener = \"sftp\""),
            "error: flow.f.source.listener: no transport 'sftp' receives; there are: as2",
        ),
        (
            &receive("listener = \"as2\", every = \"60s\""),
            "error: flow.f.source.every: has no meaning with 'listener'",
        ),
        (
            &receive("listener = \"as2\", partner = \"gloex\""),
            "error: flow.f.source.partner: there is no partner 'gloex'; did you mean 'globex'?",
        ),
        (
            &receive("endpoint = \"globex-as2\", after = \"keep\", every = \"60s\""),
            "error: flow.f.source.endpoint: transport 'as2' cannot be polled: partners push; receive with source = { listener = \"as2\" }",
        ),
        (
            &destination("endpoint = \"foldr\""),
            "x.toml:4:12: error: flow.f.destination[1].endpoint: there is no endpoint 'foldr'; did you mean 'folder'?",
        ),
        (&destination("name = \"x\""), "x.toml:3:1: error: flow.f.destination[1]: 'endpoint' is missing"),
        (
            &destination("endpoint = \"folder\"\nresponse = true"),
            "x.toml:5:1: error: flow.f.destination[1]: unknown key 'response'",
        ),
        (
            &destination("endpoint = \"folder\"\n[[flow.f.destination]]\nendpoint = \"folder\""),
            "error: flow.f.destination[2].endpoint: a second destination 'folder'",
        ),
        (
            &destination("endpoint = \"folder\"\nname = \"A\""),
            "error: flow.f.destination[1].name: 'A' cannot be a name",
        ),
        (
            &destination("endpoint = \"folder\"\nfile_name = \"{steam}\""),
            "error: flow.f.destination[1].file_name: file name \"{steam}\": no field '{steam}'; did you mean '{stem}'?",
        ),
        (
            &destination("endpoint = \"folder\"\nfile_name = \"a*\""),
            "error: flow.f.destination[1].file_name: file name \"a*\": '*' cannot be part",
        ),
        (
            &destination("endpoint = \"folder\"\nexpires_after = \"0s\""),
            "error: flow.f.destination[1].expires_after: would expire at once",
        ),
        (
            &destination("endpoint = \"folder\"\nretry = { first = \"0s\" }"),
            "error: flow.f.destination[1].retry.first: takes more than no time",
        ),
        (
            &destination("endpoint = \"folder\"\nretry = { first = \"2h\" }"),
            "error: flow.f.destination[1].retry.first: the longest wait is shorter",
        ),
        (
            &destination("endpoint = \"orders\""),
            "error: flow.f.destination[1].endpoint: leads into the directory that this flow polls",
        ),
        (&format!("{}[flow.f]\nretention = \"month\"", ""), "error: flow.f.retention: takes a duration"),
        (
            &format!(
                "{}\n",
                source("after = \"keep\"").replace("[flow.f]\n", "[flow.f]\ncontinue_after_failure = true\n")
            ),
            "warning: flow.f.continue_after_failure: has no effect without ordered",
        ),
    ]);
}

#[test]
fn directories_polled_twice() {
    let other = |url: &str, user: &str, first: &str, second: &str| {
        format!(
            "[endpoint.other]\ntransport = \"sftp\"\nurl = \"{url}\"\nusername = \"{user}\"\noptions.host_key = \"x\"\n\
             [flow.one]\nsource = {{ endpoint = \"orders\", after = \"keep\", {first} }}\n[[flow.one.destination]]\nendpoint = \"folder\"\n\
             [flow.two]\nsource = {{ endpoint = \"other\", after = \"keep\", {second} }}\n[[flow.two.destination]]\nendpoint = \"folder\"\n"
        )
    };
    let same = "sftp://SFTP.example:22/out/";
    told(&[
        (&other(same, "u", "", ""), "x.toml:11:23: error: flow.two.source.endpoint: polls the same directory as flow 'one' (x.toml:7), and their masks overlap"),
        (&other(same, "u", "mask = \"*.edi\"", "mask = \"ORD*\""), "masks overlap"),
        (&other("sftp://sftp.example/out/sub", "u", "recursive = true", ""), "error: flow.two.source.endpoint: polls a directory nested with that of flow 'one'"),
        (&other("sftp://sftp.example/", "u", "", "recursive = true"), "error: flow.two.source.endpoint: polls a directory nested"),
        (&other("sftp://sftp.example/out/sub", "u", "", ""), "warning: flow.two.source.endpoint: polls a directory nested with that of flow 'one' (x.toml:7); with recursive = true on 'one'"),
        (&other(same, "u", "mask = \"a.*\", mask_is_regex = true", "mask = \"b.*\", mask_is_regex = true"), "warning: flow.two.source.endpoint: polls the same directory as flow 'one' (x.toml:7); make sure"),
    ].map(|(text, words)| (text.as_str(), if words == "masks overlap" { " error: flow.two.source.endpoint: polls the same" } else { words })));
    for fine in [
        other(same, "u", "mask = \"*.edi\"", "mask = \"*.xml\""),
        other(same, "v", "", ""),
        other("sftp://sftp.example:2222/out", "u", "", ""),
        other("sftp://sftp.example//out", "u", "", ""),
        other("sftp://sftp.example/outer", "u", "recursive = true", ""),
        other(same, "u", "", "").replace("[flow.two]", "[flow.two]\nenabled = false"),
    ] {
        let (definitions, problems) = check(&fine);
        assert!(definitions.is_some() && problems.is_empty(), "{fine}\n{problems:#?}");
    }
}

#[test]
fn everything_is_told_at_once_and_once() {
    let text = "[endpoint.e]\ntransport = \"sftp\"\nurl = \"x\"\nusrname = \"u\"\n[partner.p]\nas2_id = \"\"\n[flow.f]\nsource = { endpoint = \"e\", after = \"keep\" }\n[[flow.f.destination]]\nendpoint = \"nowhere\"";
    let (_, problems) = check(text);
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(lines.len(), 6, "{lines:#?}");
    assert!(problems.is_sorted());
}

#[test]
fn a_broken_file_hides_no_other_and_invents_nothing() {
    let (definitions, problems) = check("[endpoint.e]\ntransport = \"sftp\nurl = \"sftp://h/\"\n[endpnt.x]");
    assert!(definitions.is_none());
    assert!(problems.iter().all(|problem| problem.key.is_empty()), "{problems:#?}");
    let (_, problems) =
        check("\u{feff}[credential.c]\nusername = \"u\"\npassword = \"${file:/secret/password}\"");
    assert!(problems.is_empty(), "{problems:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let (documents, _) = crate::Documents::parse([("x.toml", &bytes[..])]);
        let _ = documents.check(&super::catalogue(), &super::roots(), &super::machine());
    }

    #[test]
    fn no_document_panics(lines in proptest::collection::vec(line(), 0..12)) {
        let text = lines.join("\n");
        let (_, problems) = check(&text);
        for problem in problems {
            prop_assert!(!problem.to_string().contains("hunter2"));
        }
    }
}

/// Lines out of which half-sensible documents come.
fn line() -> impl Strategy<Value = String> {
    let words = "(endpoint|flow|partner|key|identity|certificate|source|destination|url|after|every|mask|options|orders|globex|a|\"\")";
    let value = prop_oneof![
        Just("\"sftp://${env:HOST}/x\"".to_owned()),
        Just("\"${file:/secret/password}\"".to_owned()),
        Just("{ endpoint = \"orders\", after = \"keep\" }".to_owned()),
        Just("[[1], {}]".to_owned()),
        "\"[${}:a-z/é*]{0,8}\"",
        "-?[0-9]{1,20}",
        Just("true".to_owned()),
    ];
    prop_oneof![
        (words, words).prop_map(|(kind, name)| format!("[{kind}.{name}]")),
        (words, words, words).prop_map(|(kind, name, list)| format!("[[{kind}.{name}.{list}]]")),
        (words, value).prop_map(|(key, value)| format!("{key} = {value}")),
        ".{0,20}",
    ]
}
