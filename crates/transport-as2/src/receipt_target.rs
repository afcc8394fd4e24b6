//! Where a receipt of ours may go that is sent later. The URL stands in the message, which anybody may send: without
//! limits it would make this gateway connect to whatever host a stranger names.

use crate::agreement::{NAME, Partner};
use model::definition::{Definitions, Endpoint};
use model::{Mask, MaskError, MaskSpec};
use std::sync::Arc;
use url::Url;

/// Where a receipt goes, and over whose connection settings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ReceiptTarget {
    pub(crate) url: String,
    /// An endpoint of the partner.
    pub(crate) endpoint: String,
}

/// Longest URL that is taken from a message, in bytes.
const LONGEST_URL: usize = 2048;

/// Reads the URL of a message (`Receipt-Delivery-Option`), whoever sends it.
///
/// # Errors
/// A sentence for the sender. Only an address of a kind that does not exist here is told from one that is wrong:
/// [`Unreadable::is_unsupported`].
pub(crate) fn read_url(text: &str) -> Result<Url, Unreadable> {
    let wrong = |reason: &str| Unreadable {
        is_unsupported: false,
        reason: format!("The Receipt-Delivery-Option is not a URL that receipts can be sent to: {reason}."),
    };
    if text.len() > LONGEST_URL {
        return Err(wrong("it is too long"));
    }
    let url = Url::parse(text.trim().trim_matches(['<', '>'])).map_err(|error| wrong(&error.to_string()))?;
    match url.scheme() {
        "http" | "https" => {}
        "mailto" => {
            return Err(Unreadable {
                is_unsupported: true,
                reason:
                    "Receipts by e-mail (mailto:) are not supported: ask for a receipt at a URL with http or \
                    https, or in the answer to the message."
                        .into(),
            });
        }
        other => return Err(Unreadable { is_unsupported: true, ..wrong(&format!("its scheme is {other}")) }),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("it contains a user or a password"));
    }
    Ok(url)
}

/// Why a URL of a message cannot be used.
pub(crate) struct Unreadable {
    pub(crate) is_unsupported: bool,
    pub(crate) reason: String,
}

/// The mask of a partner's hosts.
///
/// # Errors
/// Names the mask that cannot be read.
pub(crate) fn hosts_mask(hosts: &[String]) -> Result<Mask, MaskError> {
    let include = hosts.iter().map(|host| host.trim_matches(['[', ']']).to_owned()).collect();
    Mask::new(&MaskSpec { include, exclude: Vec::new(), is_regex: false, ignore_case: true })
}

/// Chooses how a receipt goes to a URL: over the partner's endpoint at the same server, else at the same host, else over its
/// first by name. Without an agreement it goes to the endpoints' own servers alone: at another port of the same host there
/// may be anything.
///
/// # Errors
/// For the operator: why it may not go there.
pub(crate) fn target(
    definitions: &Definitions,
    partner: &Partner,
    url: &Url,
) -> Result<ReceiptTarget, String> {
    let name = &partner.name;
    let of_partner =
        |endpoint: &&Arc<Endpoint>| endpoint.transport == NAME && endpoint.partner() == Some(name.as_str());
    let endpoints: Vec<&Arc<Endpoint>> = definitions.endpoints.values().filter(of_partner).collect();
    let Some(first) = endpoints.first() else {
        return Err(format!(
            "no endpoint is defined for partner {name}, whose connection settings receipts are sent over: add an AS2 \
            endpoint with partner = \"{name}\" and the URL that its receipts go to"
        ));
    };
    let host = host_of(url);
    let hosts =
        |endpoint: &Endpoint| endpoint.urls.iter().map(|address| host_of(&address.url)).collect::<Vec<_>>();
    let same_host = endpoints.iter().find(|endpoint| hosts(endpoint).contains(&host));
    let own = endpoints.iter().find(|endpoint| endpoint.urls.iter().any(|address| is_at(&address.url, url)));
    if own.is_none() && !is_allowed(partner, &host)? {
        return Err(format!(
            "receipts for partner {name} may not be sent to host {host} with this scheme and port: none of its endpoints \
            is at this server; if it is the partner's, add the host to partner.{name}.as2.mdn.hosts"
        ));
    }
    let same_server = endpoints.iter().find(|endpoint| endpoint.is_at_server_of(url.as_str()));
    let endpoint = own.or(same_server).or(same_host).unwrap_or(first);
    Ok(ReceiptTarget { url: url.as_str().to_owned(), endpoint: endpoint.name.clone() })
}

/// Whether a URL leads to the server of an endpoint's address: the same host and port, in the same way or by HTTPS.
fn is_at(address: &Url, url: &Url) -> bool {
    let usual_ports = address.port().is_none() && url.port().is_none();
    host_of(address) == host_of(url)
        && (url.scheme() == address.scheme() || url.scheme() == "https")
        && (usual_ports || address.port_or_known_default() == url.port_or_known_default())
}

fn is_allowed(partner: &Partner, host: &str) -> Result<bool, String> {
    let hosts = &partner.agreement.receipts.hosts;
    // An empty list of masks would match every name.
    if hosts.is_empty() {
        return Ok(false);
    }
    let mask = hosts_mask(hosts).map_err(|error| error.to_string())?;
    Ok(mask.matches(host.as_bytes()))
}

/// A URL's host in lower case, without the brackets of IPv6 and the dot at the end.
fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::SPEC;
    use model::definition;
    use model::schema::{Value, Values};

    fn partner(hosts: &[&str]) -> Partner {
        let text = |text: &str| Value::Text(text.to_owned());
        let hosts = Value::List(hosts.iter().map(|host| text(host)).collect());
        let mdn = Value::Table(Values::of([("hosts", hosts)]));
        let side = Values::of([("id", text("GLOBEX")), ("mdn", mdn)]);
        let agreements = [(SPEC.name.to_owned(), side)].into();
        let defined = definition::Partner { name: "globex".into(), title: None, contact: None, agreements };
        Partner::of(&defined).unwrap()
    }

    fn definitions(endpoints: &[(&str, &str, &str)]) -> Definitions {
        let mut definitions = Definitions::default();
        for (name, partner, url) in endpoints {
            let mut endpoint = Endpoint::bare(name, url, &SPEC).unwrap();
            endpoint.options = endpoint.options.with("partner", Value::Text((*partner).to_owned()));
            definitions.endpoints.insert((*name).to_owned(), Arc::new(endpoint));
        }
        definitions
    }

    fn goes(definitions: &Definitions, hosts: &[&str], url: &str) -> Option<String> {
        let url = read_url(url).ok()?;
        target(definitions, &partner(hosts), &url).ok().map(|target| target.endpoint)
    }

    #[test]
    fn receipts_go_to_the_partners_hosts_alone() {
        let defined = definitions(&[
            ("a", "globex", "https://as2.globex.example/in"),
            ("b", "globex", "https://mdn.globex.example:8443/mdn"),
            ("c", "initech", "https://as2.initech.example/in"),
            ("d", "globex", "http://plain.globex.example/in"),
        ]);
        for (hosts, url, expected) in [
            (&[][..], "https://as2.globex.example/anything?x=1", Some("a")),
            (&[][..], "https://AS2.Globex.example.:443/x", Some("a")),
            (&[][..], "https://as2.globex.example:8080/x", None),
            (&[][..], "http://as2.globex.example/x", None),
            (&[][..], "http://as2.globex.example:443/x", None),
            (&["as2.globex.example"][..], "http://AS2.Globex.example.:8080/x", Some("a")),
            (&[][..], "https://plain.globex.example/x", Some("d")),
            (&[][..], "http://plain.globex.example/x", Some("d")),
            (&[][..], "http://plain.globex.example:6379/x", None),
            (&[][..], "http://mdn.globex.example:8443/", None),
            (&[][..], "https://mdn.globex.example:8443/", Some("b")),
            (&[][..], "https://as2.initech.example/in", None),
            (&[][..], "http://169.254.169.254/latest/meta-data", None),
            (&[][..], "http://127.0.0.1/", None),
            (&["*.globex.example"][..], "https://other.globex.example/", Some("a")),
            (&["*.globex.example"][..], "https://globex.example.evil.example/", None),
            (&["*.globex.example"][..], "https://evilglobex.example/", None),
            (&["192.0.2.*", "2001:db8::7"][..], "http://192.0.2.7/", Some("a")),
            (&["192.0.2.*", "2001:db8::7"][..], "http://[2001:db8::7]/", Some("a")),
            (&["192.0.2.*", "2001:db8::7"][..], "http://[2001:db8::8]/", None),
            (&["*"][..], "https://anything.example/", Some("a")),
            (&["*"][..], "https://user@as2.globex.example/", None),
        ] {
            assert_eq!(goes(&defined, hosts, url).as_deref(), expected, "{hosts:?} {url}");
        }
        // Without an endpoint of the partner it is not known how to connect.
        let none = definitions(&[("c", "initech", "https://as2.initech.example/in")]);
        assert_eq!(goes(&none, &["*"], "https://anything.example/"), None);
    }

    #[test]
    fn only_urls_of_http_are_read() {
        for (text, unsupported) in [
            ("mailto:edi@globex.example", true),
            ("ftp://globex.example/", true),
            ("file:///etc/passwd", true),
            ("nonsense", false),
            ("http://", false),
            ("", false),
        ] {
            assert_eq!(read_url(text).err().map(|error| error.is_unsupported), Some(unsupported), "{text}");
        }
        assert_eq!(read_url(" <https://a.example/mdn> ").ok().unwrap().as_str(), "https://a.example/mdn");
    }
}
