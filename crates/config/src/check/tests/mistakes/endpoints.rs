use super::told;

#[test]
fn endpoints() {
    let sftp = |rest: &str| format!("[endpoint.e]\ntransport = \"sftp\"\n{rest}\n");
    let file = |url: &str| format!("[endpoint.e]\ntransport = \"file\"\nurl = \"{url}\"\n");
    told(&[
        (
            "[endpoint.e]\nurl = \"x:\"",
            "x.toml:1:11: error: endpoint.e: 'transport' is missing: the name of its transport",
        ),
        (
            "[endpoint.e]\ntransport = \"stfp\"",
            "x.toml:2:13: error: endpoint.e.transport: there is no transport 'stfp'; did you mean 'sftp'?",
        ),
        (
            "[endpoint.e]\ntransport = \"${env:UNSET:-sftp}\"\npassword = \"hunter2\"",
            "x.toml:2:13: error: endpoint.e.transport: cannot be a reference",
        ),
        (&sftp("ulr = \"x\""), "x.toml:3:1: error: endpoint.e: unknown key 'ulr'; did you mean 'url'?"),
        (&sftp(""), "x.toml:1:11: error: endpoint.e: 'url' is missing: transport 'sftp' needs sftp://…"),
        (
            &sftp("url = 5"),
            "error: endpoint.e.url: must be a URL, or a table with url, weight, or a list of such, not a whole number",
        ),
        (
            &sftp("url = \"sftp://h/\"\nhost_key = \"x\"\nproxy = 5"),
            "error: endpoint.e.proxy: must be \"none\", or the name of a proxy, not a whole number",
        ),
        (
            &sftp("url = \"nowhere\""),
            "error: endpoint.e.url: is not a URL: relative URL without a base; write sftp://…",
        ),
        (
            &sftp("url = \"sftp://u:hunter2@h/\""),
            "x.toml:3:7: error: endpoint.e.url: contains a user or password; write username",
        ),
        (&sftp("url = \"sftp://hunter2@h/\""), "error: endpoint.e.url: contains a user"),
        (
            &sftp("url = \"file:///srv\""),
            "error: endpoint.e.url: transport 'sftp' needs sftp://…, not file://; file:// belongs to transport = \"file\"",
        ),
        (&sftp("url = \"sfpt://h/\""), "not sfpt://; did you mean 'sftp'?"),
        (&sftp("url = \"sftp://h/a\\nb\""), "error: endpoint.e.url: has a line end"),
        (&sftp("url = \"sftp:///x\""), "error: endpoint.e.url: has no host"),
        (&sftp("url = \"sftp://h/a/../b\""), "error: endpoint.e.url: contains '..'"),
        (&sftp("url = \"sftp://h/a/%2e%2E/b\""), "error: endpoint.e.url: contains '..'"),
        (&sftp("url = \"sftp://h/a?b\""), "error: endpoint.e.url: has '?' or '#'"),
        (
            &sftp("url = \"sftp://h/\"\npartner = \"globex\"\nhost_key = \"x\""),
            "error: endpoint.e: unknown key 'partner'",
        ),
        (
            &sftp("url = \"sftp://h/\""),
            "x.toml:1:11: error: endpoint.e: 'host_key' is missing: Whose server it is",
        ),
        (
            &sftp("host_kye = \"x\""),
            "x.toml:3:1: error: endpoint.e: unknown key 'host_kye'; did you mean 'host_key'?",
        ),
        (
            &sftp("timeout = 60"),
            "x.toml:3:11: error: endpoint.e.timeout: must be a duration such as \"30s\", not a whole number; write \"60s\"",
        ),
        (&sftp("timeout = \"60\""), "error: endpoint.e.timeout: must be a duration such as"),
        (
            &sftp("strict = \"yes\""),
            "error: endpoint.e.strict: must be true or false, not text; write it without quotes",
        ),
        (&sftp("retries = 10"), "error: endpoint.e.retries: must be a whole number from 0 to 9"),
        (&sftp("compression = \"zilb\""), "must be one of none, zlib, not \"zilb\"; did you mean \"zlib\"?"),
        (&sftp("window = \"1MB\""), "error: endpoint.e.window: must be a size such as"),
        (&sftp("host_key = [1]"), "error: endpoint.e.host_key: must be text, not a whole number"),
        (&sftp("password = 12345"), "error: endpoint.e.password: must be a secret, not a whole number"),
        (
            &sftp("url = \"sftp://h/\"\nhost_key = \"x\"\npassword = \"hunter2\""),
            "x.toml:5:12: error: endpoint.e.password: contains a secret in plain text",
        ),
        (
            &sftp("credential = \"logn\""),
            "error: endpoint.e.credential: there is no credential 'logn'; did you mean 'login'?",
        ),
        (
            &sftp("credential = \"login\"\nusername = \"u\""),
            "error: endpoint.e.credential: cannot be used together with 'username'; remove one of them",
        ),
        (
            &sftp("credential = \"login\"\npassword = \"${file:/secret/password}\""),
            "error: endpoint.e.credential: cannot be used together with 'password'",
        ),
        (&sftp("key = \"our\""), "error: endpoint.e.key: there is no key 'our'; did you mean 'ours'?"),
        (&sftp("node = \"a b\""), "error: endpoint.e.node: node name \"a b\""),
        (
            "[endpoint.e]\ntransport = \"file\"\nurl = \"file:///srv/a\"\ncredential = \"login\"",
            "error: endpoint.e: unknown key 'credential'",
        ),
        (
            "[endpoint.e]\ntransport = \"file\"\nurl = \"file:///srv/a\"\nkey = \"ours\"",
            "error: endpoint.e: unknown key 'key'",
        ),
        (
            &file("file:///etc"),
            "x.toml:3:7: error: endpoint.e.url: /etc is outside the directories in roots.files in waybill.toml (/srv)",
        ),
        (&file("file:///srvx"), "error: endpoint.e.url: /srvx is outside the directories in roots.files"),
        (&file("file:///srv/../etc"), "error: endpoint.e.url: contains '..'"),
        (&file("file:///srv/%2e%2e/etc"), "error: endpoint.e.url: contains '..'"),
        (&file("file://srv/in"), "error: endpoint.e.url: write file:///absolute/path, with three slashes"),
        (
            "[endpoint.e]\ntransport = \"file\"\nurl = \"file:///srv/a\"\nsuffix = \"*\"",
            "x.toml:4:1: error: endpoint.e.suffix: cannot be used",
        ),
        (
            "[endpoint.e]\ntransport = \"as2\"\nurl = \"https://h/\"\nidentity = \"acme\"",
            "x.toml:1:11: error: endpoint.e: 'partner' is missing: The partner that the files go to",
        ),
        (
            "[endpoint.e]\ntransport = \"as2\"\nurl = \"https://h/\"\npartner = \"globex\"",
            "error: endpoint.e: 'identity' is missing: The identity under which we send",
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
fn several_addresses() {
    let as2 = |url: &str| {
        format!("[endpoint.e]\ntransport = \"as2\"\npartner = \"globex\"\nidentity = \"acme\"\nurl = {url}\n")
    };
    let several = "[{ url = \"https://a/\", weight = 2 }, \"https://b/\"]";
    let (definitions, problems) = super::check(&format!("{}balance = \"weighted\"\n", as2(several)));
    assert!(problems.is_empty(), "{problems:?}");
    let endpoint = &definitions.unwrap().endpoints["e"];
    let urls: Vec<_> = endpoint.urls.iter().map(|address| (address.url.as_str(), address.weight)).collect();
    assert_eq!(urls, [("https://a/", 2), ("https://b/", 1)]);
    let rules =
        ["offline = false", "offline = { after = 2, \"for\" = \"5m\" }", "offline = { after = 2 }", ""];
    let rules = rules.map(|rule| {
        let (definitions, _) = super::check(&format!("{}{rule}\n", as2("\"https://a/\"")));
        definitions.unwrap().endpoints["e"]
            .offline
            .map(|rule| (rule.after, rule.lasts.map(|time| time.as_secs())))
    });
    assert_eq!(rules, [None, Some((2, Some(300))), Some((2, None)), Some((5, None))]);
    told(&[
        (&as2("[]"), "x.toml:5:7: error: endpoint.e.url: contains no address"),
        (
            &as2("[\"https://a/\", \"sftp://b/\"]"),
            "x.toml:5:22: error: endpoint.e.url: transport 'as2' needs http",
        ),
        (
            &as2("[{ url = \"https://a/\", weigt = 2 }]"),
            "error: endpoint.e.url[1]: unknown key 'weigt'; did you mean 'weight'?",
        ),
        (&as2("[{ weight = 2 }]"), "error: endpoint.e.url[1]: 'url' is missing"),
        (&as2(several), "warning: endpoint.e.url: has a 'weight', which has no effect without balance"),
        (&as2("[\"https://a/\", \"https://a/\"]"), "warning: endpoint.e.url: has https://a/ twice"),
        (
            &format!("{}balance = \"random\"", as2("\"https://a/\"")),
            "warning: endpoint.e.balance: has no effect",
        ),
        (
            &format!("{}balance = \"failovr\"", as2(several)),
            "error: endpoint.e.balance: must be one of round_robin, random, weighted, failover, none",
        ),
        (
            &format!("{}offline = true", as2("\"https://a/\"")),
            "error: endpoint.e.offline: must be false, or a table with after, for",
        ),
        (
            &format!("{}offline = {{ after = 0 }}", as2("\"https://a/\"")),
            "error: endpoint.e.offline.after: must be a whole number from 1",
        ),
        (
            "[endpoint.e]\ntransport = \"sftp\"\nhost_key = \"x\"\nurl = [\"sftp://a/\", \"sftp://b/\"]\n\
             [flow.f]\nsource = { endpoint = \"e\", after = \"delete\" }\ndestination = { endpoint = \"folder\" }",
            "error: flow.f.source.endpoint: has 2 addresses: only deliveries choose among several",
        ),
        (
            "[endpoint.e]\ntransport = \"file\"\nurl = [\"file:///srv/other\", \"file:///srv/in\"]\n\
             [flow.f]\nsource = { endpoint = \"folder\", after = \"delete\" }\ndestination = { endpoint = \"e\" }",
            "error: flow.f.destination.endpoint: is a directory that this flow polls",
        ),
    ]);
}

#[test]
fn listeners() {
    told(&[
        (
            "[listener.l]\ntransport = \"as2\"\n",
            "x.toml:1:11: error: listener.l: 'server' is missing: The HTTP server",
        ),
        (
            "[listener.l]\ntransport = \"sftp\"\n",
            "error: listener.l.transport: transport 'sftp' has no listeners; transports with listeners: as2",
        ),
        ("[listener.l]\nserver = \"x\"\n", "error: listener.l: 'transport' is missing"),
    ]);
}
