use super::told;

#[test]
fn proxies() {
    let proxy = |rest: &str| format!("[proxy.p]\n{rest}\n");
    let endpoint = |option: &str| {
        format!(
            "[proxy.corporate]\nurl = \"http://proxy:3128\"\n[endpoint.e]\ntransport = \"sftp\"\nurl = \"sftp://h/\"\n\
             host_key = \"x\"\n{option}\n"
        )
    };
    told(&[
        (&proxy(""), "error: proxy.p: 'url' is missing"),
        (
            &proxy("url = \"https://proxy:3128\""),
            "error: proxy.p.url: TLS to the proxy itself is not supported",
        ),
        (&proxy("url = \"http://u:hunter2@proxy\""), "error: proxy.p.url: contains a user or password"),
        (
            &proxy("url = \"http://proxy\"\nusername = \"ada\""),
            "error: proxy.p.username: needs a 'password' as well",
        ),
        (
            &proxy("url = \"http://proxy\"\npassword = \"${file:/secret/password}\""),
            "error: proxy.p.password: needs a 'username' as well",
        ),
        ("[proxy.none]\nurl = \"http://proxy\"", "error: proxy.none: the name 'none' means no proxy"),
        (
            &endpoint("proxy = \"corporat\""),
            "error: endpoint.e.proxy: there is no proxy 'corporat'; did you mean 'corporate'?",
        ),
    ]);
}
