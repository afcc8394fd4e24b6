//! Cookies, in and out.

use http::header::{COOKIE, HOST};
use http::{HeaderMap, HeaderValue};

/// The value of a cookie.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value)
}

/// A `Set-Cookie` line for all of this console; without an age it goes with the browser, with age 0 at
/// once.
pub(crate) fn set_cookie(name: &str, value: &str, secure: bool, age: Option<u32>) -> Option<HeaderValue> {
    let age = age.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
    let secure = if secure { "; Secure" } else { "" };
    HeaderValue::try_from(format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{age}")).ok()
}

/// The session cookie's name. Browsers share cookies between the ports of a host, so the port is in
/// it: two consoles on one machine do not log each other out.
pub(crate) fn session_cookie(headers: &HeaderMap, secure: bool) -> String {
    let port = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .and_then(|host| host.rsplit_once(':'))
        .map(|(_, port)| port)
        .filter(|port| !port.is_empty() && port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()))
        .map(|port| format!("_{port}"))
        .unwrap_or_default();
    let prefix = if secure { "__Host-" } else { "" };
    format!("{prefix}waybill_session{port}")
}
