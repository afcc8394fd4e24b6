//! The URL at which a listener of ours takes receipts that come later, as partners are told.

use crate::receipt_terms::ReceiptTerms;
use model::definition::{Definitions, Listener};
use net::http::ListenSpec;
use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use url::Url;

/// The HTTP servers of `waybill.toml`, by name.
pub(crate) type ListenSpecs = BTreeMap<String, Vec<ListenSpec>>;

/// What is wrong with the address: a field of the partner's table `mdn`, and words that follow its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct WrongAddress {
    pub(crate) field: &'static str,
    pub(crate) message: String,
}

impl WrongAddress {
    fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self { field, message: message.into() }
    }
}

/// Checks a URL of ours that partners send receipts to.
pub(crate) fn check_url(text: &str) -> Result<(), WrongAddress> {
    let wrong = |message: &str| Err(WrongAddress::new("url", message));
    let Ok(url) = Url::parse(text) else {
        return wrong("must be a URL such as \"https://as2.acme.example/as2\"");
    };
    match url.scheme() {
        "http" | "https" => {}
        "mailto" => {
            return wrong(
                "is an e-mail address: receipts by e-mail are not supported, use http:// or https://",
            );
        }
        _ => return wrong("must begin with http:// or https://"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return wrong("must contain no user and no password: partners would have to log in");
    }
    if url.fragment().is_some() {
        return wrong("must contain no '#'");
    }
    Ok(())
}

/// The listener that takes a partner's receipts, if its definition is usable.
pub(crate) fn listener_of<'a>(
    definitions: &'a Definitions,
    terms: &ReceiptTerms,
    transport: &str,
) -> Option<Result<&'a Listener, WrongAddress>> {
    let name = terms.listener.as_deref()?;
    let listener = definitions.listeners.get(name)?;
    if listener.transport == transport {
        return Some(Ok(listener));
    }
    let message =
        format!("listener '{name}' takes no AS2 messages: name one with transport = \"{transport}\"");
    Some(Err(WrongAddress::new("reply_to", message)))
}

/// Checks what can be said without `waybill.toml`: where no URL is given, the listener must tell the host.
pub(crate) fn check_listener(listener: &Listener, terms: &ReceiptTerms) -> Result<(), WrongAddress> {
    if terms.url.is_some() || listener.options.text("host").is_some() {
        return Ok(());
    }
    let message = format!(
        "listener '{}' has no 'host', so partners cannot be told its URL: set its 'host', or 'url' beside reply_to",
        listener.name
    );
    Err(WrongAddress::new("reply_to", message))
}

/// The URL that messages name for their receipts; `None` where receipts come in the answer.
pub(crate) fn reply_url(
    listen: &ListenSpecs,
    definitions: &Definitions,
    terms: &ReceiptTerms,
    transport: &str,
) -> Result<Option<String>, WrongAddress> {
    let Some(name) = terms.listener.as_deref() else { return Ok(None) };
    if let Some(url) = &terms.url {
        return check_url(url).map(|()| Some(url.clone()));
    }
    let missing = || WrongAddress::new("reply_to", format!("listener '{name}' is not defined"));
    let listener = listener_of(definitions, terms, transport).ok_or_else(missing)??;
    check_listener(listener, terms)?;
    let text = |field: &str| listener.options.text(field).unwrap_or_default();
    let (host, path, server) = (text("host"), text("path"), text("server"));
    let specs = listen.get(server).map(Vec::as_slice).unwrap_or_default();
    let Some(spec) = specs.iter().find(|spec| spec.address.port() != 0) else {
        let message = format!(
            "the port of HTTP server '{server}' in waybill.toml is not known: set 'url' beside reply_to"
        );
        return Err(WrongAddress::new("reply_to", message));
    };
    let (scheme, usual) = if spec.tls.is_some() { ("https", 443) } else { ("http", 80) };
    let host = if host.parse::<Ipv6Addr>().is_ok() { format!("[{host}]") } else { host.to_owned() };
    let port = match spec.address.port() {
        port if port == usual => String::new(),
        port => format!(":{port}"),
    };
    Ok(Some(format!("{scheme}://{host}{port}{path}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::schema::{Value, Values};
    use std::sync::Arc;

    fn definitions(host: Option<&str>) -> Definitions {
        let mut options =
            Values::of([("server", Value::Text("partners".into())), ("path", Value::Text("/as2".into()))]);
        if let Some(host) = host {
            options = options.with("host", Value::Text(host.into()));
        }
        let listener = Listener { name: "in".into(), transport: "as2".into(), options };
        let mut definitions = Definitions::default();
        definitions.listeners.insert("in".into(), Arc::new(listener));
        definitions
    }

    fn terms(url: Option<&str>) -> ReceiptTerms {
        let url = url.map(str::to_owned);
        ReceiptTerms { listener: Some("in".into()), url, ..ReceiptTerms::default() }
    }

    fn listen(port: u16) -> ListenSpecs {
        let spec = ListenSpec::plain("partners", ([0, 0, 0, 0], port).into());
        [("partners".to_owned(), vec![spec])].into()
    }

    #[test]
    fn the_url_follows_from_the_listener_or_is_said() {
        let url = |host, port, said| reply_url(&listen(port), &definitions(host), &terms(said), "as2");
        assert_eq!(url(Some("as2.acme.example"), 80, None).unwrap().unwrap(), "http://as2.acme.example/as2");
        assert_eq!(url(Some("::1"), 8080, None).unwrap().unwrap(), "http://[::1]:8080/as2");
        let said = "https://proxy.acme.example/mdn";
        assert_eq!(url(None, 80, Some(said)).unwrap().unwrap(), said);
        for (host, port, said, field) in [
            (None, 80, None, "reply_to"),
            (Some("as2.acme.example"), 0, None, "reply_to"),
            (None, 80, Some("mailto:edi@acme.example"), "url"),
            (None, 80, Some("ftp://acme.example/"), "url"),
            (None, 80, Some("https://u:p@acme.example/"), "url"),
            (None, 80, Some("as2"), "url"),
        ] {
            assert_eq!(url(host, port, said).unwrap_err().field, field, "{host:?} {port} {said:?}");
        }
        let none = ReceiptTerms::default();
        assert_eq!(reply_url(&listen(80), &definitions(None), &none, "as2"), Ok(None));
        assert_eq!(
            reply_url(&listen(80), &definitions(None), &terms(None), "as4").unwrap_err().field,
            "reply_to"
        );
    }
}
