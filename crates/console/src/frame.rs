//! What every page has around it: navigation, theme, who is logged in; and the pages for problems.

use crate::door::{Visitor, cookie, session, set_cookie};
use crate::problem::Problem;
use crate::show::Icon;
use crate::site::Site;
use askama::Template;
use axum::extract::{Form, FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Redirect, Response};
use http::header::{REFERER, RETRY_AFTER, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use std::convert::Infallible;
use std::sync::Arc;

/// Which part of the console a page belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Section {
    Overview,
    Flows,
    Transfers,
    Connections,
    Audit,
    /// Login and the like.
    Outside,
}

/// Colours: as the system says, or as the person chose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Theme {
    Auto,
    Light,
    Dark,
}

const THEME_COOKIE: &str = "waybill_theme";
const YEAR_IN_SECONDS: u32 = 31_536_000;

impl Theme {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    fn parse(word: &str) -> Self {
        match word {
            "light" => Self::Light,
            "dark" => Self::Dark,
            _ => Self::Auto,
        }
    }

    /// What the button changes to.
    pub(crate) const fn next(self) -> Self {
        match self {
            Self::Auto => Self::Light,
            Self::Light => Self::Dark,
            Self::Dark => Self::Auto,
        }
    }

    pub(crate) const fn icon(self) -> Icon {
        match self {
            Self::Auto => Icon::Contrast,
            Self::Light => Icon::Sun,
            Self::Dark => Icon::Moon,
        }
    }
}

/// A link of the navigation.
pub(crate) struct NavLink {
    pub(crate) path: &'static str,
    pub(crate) name: &'static str,
    pub(crate) current: bool,
}

/// What the templates' frame shows.
#[derive(Clone)]
pub(crate) struct Frame {
    site: Arc<Site>,
    pub(crate) theme: Theme,
    pub(crate) visitor: Option<Visitor>,
    section: Section,
}

impl Frame {
    fn of(site: Arc<Site>, headers: &HeaderMap, visitor: Option<Visitor>) -> Self {
        let theme = Theme::parse(cookie(headers, THEME_COOKIE).unwrap_or_default());
        Self { site, theme, visitor, section: Section::Outside }
    }

    /// The frame of a page of that part.
    pub(crate) fn at(self, section: Section) -> Self {
        Self { section, ..self }
    }

    pub(crate) fn nav(&self) -> Vec<NavLink> {
        let link = |path, name, section| NavLink { path, name, current: self.section == section };
        let mut links = vec![
            link("/", "Overview", Section::Overview),
            link("/flows", "Flows", Section::Flows),
            link("/transfers", "Transfers", Section::Transfers),
            link("/connections", "Connections", Section::Connections),
        ];
        if self.visitor.as_ref().is_some_and(Visitor::reads_audit) {
            links.push(link("/audit", "Audit", Section::Audit));
        }
        links
    }

    pub(crate) fn style(&self) -> &str {
        &self.site.assets.style
    }

    pub(crate) fn icon(&self) -> &str {
        &self.site.assets.icon
    }

    pub(crate) fn scripts(&self) -> &[String] {
        &self.site.assets.scripts
    }

    pub(crate) fn node(&self) -> &str {
        self.site.settings.node.as_str()
    }

    pub(crate) fn version(&self) -> &str {
        &self.site.settings.version
    }
}

impl FromRequestParts<Arc<Site>> for Frame {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self, Infallible> {
        let visitor = parts.extensions.get::<Visitor>().cloned();
        Ok(Self::of(site.clone(), &parts.headers, visitor))
    }
}

#[derive(Deserialize)]
pub(crate) struct ChosenTheme {
    theme: String,
}

/// `POST /theme`: keeps the choice in a cookie and leads back to the page it came from.
pub(crate) async fn choose_theme(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    form: Result<Form<ChosenTheme>, axum::extract::rejection::FormRejection>,
) -> Result<Response, Problem> {
    let Form(chosen) = form.map_err(|_| Problem::bad_request("The form came incomplete."))?;
    let theme = Theme::parse(&chosen.theme);
    let mut response = Redirect::to(&came_from(&headers)).into_response();
    if let Some(cookie) =
        set_cookie(THEME_COOKIE, theme.as_str(), site.settings.secure_cookies, Some(YEAR_IN_SECONDS))
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

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage {
    frame: Frame,
    problem: Problem,
}

/// Renders [`Problem`]s, wherever in the console they came from.
pub(crate) async fn dress(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let headers = request.headers().clone();
    let mut response = next.run(request).await;
    let Some(mut problem) = response.extensions_mut().remove::<Problem>() else { return response };
    let mut visitor = response.extensions_mut().remove::<Visitor>();
    if visitor.is_none() && problem.status.is_client_error() {
        // No page's address, yet perhaps somebody's who is logged in: they keep their navigation.
        visitor = session::visitor(&site, &headers).await.unwrap_or_default();
    }
    if visitor.is_none() {
        problem.detail = None;
    }
    let status = problem.status;
    let page = ProblemPage { frame: Frame::of(site, &headers, visitor), problem };
    let mut dressed = match page.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            (status, "Something went wrong; the log tells the cause.\n").into_response()
        }
    };
    if status == StatusCode::SERVICE_UNAVAILABLE {
        dressed.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    }
    for (name, value) in response.headers() {
        // Allow of a 405, cookies; not the length of the body that is replaced.
        if name != http::header::CONTENT_LENGTH && name != http::header::CONTENT_TYPE {
            dressed.headers_mut().append(name.clone(), value.clone());
        }
    }
    dressed
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
