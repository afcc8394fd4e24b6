//! What AS2 endpoints, partners and listeners say of logins, header fields and unknown senders.

use super::Desk;

#[tokio::test]
async fn logins_and_header_fields_of_as2() {
    let desk = Desk::new();
    let endpoint = |scheme: &str, user: &str, rest: &str| {
        format!(
            "[credential.c]\nusername = \"{user}\"\npassword = \"${{file:PEM/good.key}}\"\n[endpoint.e]\ntransport = \"as2\"\n\
             url = \"{scheme}://h/\"\npartner = \"globex\"\nidentity = \"acme\"\n{rest}\n"
        )
    };
    let login = |rest: &str| endpoint("https", "u", &format!("credential = \"c\"\n{rest}"));
    let partner = |rest: &str| format!("[partner.p.as2]\nid = \"P\"\ncertificates = [\"theirs\"]\n{rest}\n");
    desk.told(&[
        (
            &login("chunked = true"),
            "error: endpoint.e.chunked: cannot be used with a login that the server asks for first",
        ),
        (
            &login("authentication = \"digest\"\nchunked = true"),
            "error: endpoint.e.chunked: cannot be used with a login that the server asks for first",
        ),
        (
            &endpoint("https", "a:b", "credential = \"c\""),
            "error: endpoint.e.credential: credential 'c' has a user name with ':'",
        ),
        (
            &endpoint("http", "u", "credential = \"c\""),
            "warning: endpoint.e.credential: the URL is http://, so that anyone on the way can read the password",
        ),
        (&endpoint("https", "u", "authentication = \"basic\""), "error: endpoint.e"),
        (&login("authentication = \"ntlm\""), "error: endpoint.e.authentication: must be one of basic, digest"),
        (&partner("send.from = \"ACME\""), "error: partner.p.as2.send.from: must be an e-mail address"),
        (&partner("send.to = \"a@b@c\""), "error: partner.p.as2.send.to: must be an e-mail address"),
        (&partner("send.subject = \"{flow}\""), "error: partner.p.as2.send.subject: has no field {flow}"),
        (
            "[listener.l]\ntransport = \"as2\"\nserver = \"partners\"\nunknown = \"ignore\"",
            "error: listener.l.unknown: must be one of receipt, answer, answer_with_reason, refuse, drop",
        ),
        (
            "[listener.l]\ntransport = \"as2\"\nserver = \"partners\"\nlargest = 0",
            "error: listener.l.largest: must be at least 1: with 0 every message is refused",
        ),
    ]);
    for fine in [
        login("authentication = \"basic\"\nchunked = true"),
        login(""),
        endpoint("http", "a:b", "credential = \"c\"\nauthentication = \"digest\""),
        partner(
            "send = { from = \"edi@acme.example\", to = \"edi@p.example\", subject = \"Order {name}\", date = false, features = true }",
        ),
    ] {
        let (valid, lines) = desk.check(&fine);
        assert!(valid && lines.is_empty(), "{fine}\n{lines:#?}");
    }
}
