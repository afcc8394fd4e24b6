use super::told;

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
        (&sftp("url = \"sftp://h/a\\nb\""), "error: endpoint.e.url: has a line end"),
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
            "x.toml:6:12: error: endpoint.e.options.password: holds a secret in clear",
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
fn only_rsa_keys_sign_what_is_sent() {
    let sent = |security: &str| {
        format!(
            "[key.k]\nprivate_key = \"${{file:/pem/curve.key}}\"\ncertificate = \"${{file:/pem/curve.pem}}\"\n\
             [identity.i]\nas2_id = \"I\"\nkey = \"k\"\n\
             [partner.p]\nas2_id = \"P\"\ncertificates = [\"theirs\"]\nsend_security = \"{security}\"\n\
             [endpoint.e]\ntransport = \"as2\"\nurl = \"https://h/\"\npartner = \"p\"\nidentity = \"i\"\n"
        )
    };
    let refused =
        "x.toml:15:12: error: endpoint.e.identity: signs what is sent to 'p' by key 'k', which is not RSA";
    told(&[(&sent("signed_encrypted"), refused), (&sent("signed"), refused)]);
    for security in ["encrypted", "none"] {
        assert!(super::check(&sent(security)).0.is_some(), "{security}");
    }
}
