use super::told;

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
            "error: partner.p.digest: 'sha1' can be forged: agree on sha256, or allow it with legacy = true",
        ),
        (
            &partner("certificates = [\"theirs\"]\ndigest = \"sha1\"\nlegacy = true"),
            "warning: partner.p.digest: legacy: 'sha1' can be forged",
        ),
        (
            &partner("certificates = [\"theirs\"]\nlegacy = true"),
            "warning: partner.p.legacy: legacy: 'true' lets signatures count that can be forged",
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
        (
            &first("small.pem"),
            "error: partner.p.certificates: 'c' has a key of 1024 bits, which can be broken",
        ),
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
