use super::told;

#[test]
fn partners_and_material() {
    let partner = |rest: &str| format!("[partner.p.as2]\nid = \"P\"\n{rest}\n");
    let key = |key: &str, rest: &str| format!("[key.k]\nprivate_key = \"${{file:{key}}}\"\n{rest}\n");
    let certificate = |file: &str| format!("[certificate.c]\npem = \"${{file:/pem/{file}}}\"\n");
    told(&[
        (
            "[partner.p]\ntitle = 5",
            "x.toml:2:9: error: partner.p.title: must be text, not a whole number; write it in quotes",
        ),
        ("[partner.p]\nas3 = {}", "x.toml:2:1: error: partner.p: unknown key 'as3'; did you mean 'as2'?"),
        (
            &partner("certificates = [\"thiers\"]"),
            "x.toml:3:17: error: partner.p.as2.certificates: there is no certificate 'thiers'; did you mean 'theirs'?",
        ),
        (
            &partner("certificates = [\"theirs\", \"theirs\"]"),
            "error: partner.p.as2.certificates: names 'theirs' twice",
        ),
        (
            &partner("send.cipher = \"aes256\""),
            "error: partner.p.as2.send.cipher: must be one of aes128-cbc, aes256-cbc, not \"aes256\"; did you mean \"aes256-cbc\"?",
        ),
        (
            "[partner.p.as2]\nid = \"P\"\ncertificates = 5",
            "x.toml:3:16: error: partner.p.as2.certificates: must be the name of a certificate",
        ),
        (
            "[credential.c]\nusername = \"\"\npassword = \"${file:/secret/password}\"",
            "error: credential.c.username: is empty",
        ),
        ("[partner.p.as2]\nid = \"UNWANTED\"", "x.toml:2:1: error: partner.p.as2.id: is not wanted"),
        (
            "[identity.i.as2]\nid = \"I\"\nkeys = [\"ous\"]",
            "x.toml:3:9: error: identity.i.as2.keys: there is no key 'ous'; did you mean 'ours'?",
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
            &certificate("two.pem"),
            "warning: certificate.c.pem: contains 2 certificates; only the first one is used",
        ),
        (&certificate("good.key"), "error: certificate.c.pem: contains a private key"),
        ("[certificate.c]\npem = \"hello\"", "x.toml:2:7: error: certificate.c.pem: "),
        (
            "[certificate.c]\npem = \"-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----\"",
            "error: certificate.c.pem: is not a certificate in PEM form",
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
        (&key("/pem/good.pem", ""), "error: key.k.private_key: is not a private key in PEM form"),
        (&key("/pem/locked.key", ""), "error: key.k.private_key: is encrypted; set its 'passphrase'"),
        (
            &key("/pem/locked.key", "passphrase = \"${file:/secret/password}\""),
            "error: key.k.private_key: cannot be decrypted: the passphrase is wrong",
        ),
        (
            &key("/pem/good.p12", "passphrase = \"${file:/secret/password}\""),
            "error: key.k.private_key: is a PKCS #12 file that cannot be opened: the passphrase is wrong",
        ),
        (&key("/pem/good.p12", ""), "cannot be opened: it needs a 'passphrase'"),
        (
            &key(
                "/pem/other.p12",
                "passphrase = \"${env:OPEN}${env:SESAME}\"\ncertificate = \"${file:/pem/good.pem}\"",
            ),
            "error: key.k.certificate: does not belong to the private key",
        ),
        (
            &key("/secret/ssh", "certificate = \"${file:/pem/good.pem}\""),
            "error: key.k.private_key: is in OpenSSH's own form",
        ),
    ]);
}
