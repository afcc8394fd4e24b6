//! `POST /theme`: light, dark, or as the system says.

use crate::auth::cookie::set_cookie;
use crate::state::AppState;
use crate::web::layout::{THEME_COOKIE, Theme};
use crate::web::page_error::PageError;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::HeaderMap;
use http::header::{REFERER, SET_COOKIE};
use serde::Deserialize;
use std::sync::Arc;

const YEAR_IN_SECONDS: u32 = 31_536_000;

#[derive(Deserialize)]
pub(crate) struct ChosenTheme {
    theme: String,
}

/// `POST /theme`: keeps the choice in a cookie and leads back to the page it came from.
pub(crate) async fn choose(
    State(state): State<Arc<AppState>>,
    headers: HeaderMap,
    form: Result<Form<ChosenTheme>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(chosen) = form.map_err(|_| PageError::bad_request("The form is incomplete."))?;
    let theme = Theme::parse(&chosen.theme);
    let mut response = Redirect::to(&came_from(&headers)).into_response();
    if let Some(cookie) =
        set_cookie(THEME_COOKIE, theme.as_str(), state.settings.secure_cookies, Some(YEAR_IN_SECONDS))
    {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(response)
}

/// The path of the page that sent a form. Only the path is taken, so it leads to no other site.
fn came_from(headers: &HeaderMap) -> String {
    headers
        .get(REFERER)
        .and_then(|from| from.to_str().ok())
        .and_then(|from| url::Url::parse(from).ok())
        .map(|url| match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        })
        .filter(|path| path.starts_with('/') && !path[1..].starts_with(['/', '\\']))
        .unwrap_or_else(|| "/".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_theme_leads_back_to_its_page_only() {
        let from = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(REFERER, text.parse().unwrap());
            came_from(&headers)
        };
        assert_eq!(from("http://127.0.0.1:8420/transfers?state=failed"), "/transfers?state=failed");
        assert_eq!(from("http://evil.example//evil.example/x"), "/");
        assert_eq!(from("about:blank"), "/");
        assert_eq!(came_from(&HeaderMap::new()), "/");
    }
}
