//! What is around every page: navigation, theme, who is logged in.

use crate::auth::cookie::cookie;
use crate::state::AppState;
use crate::web::badge::Icon;
use crate::web::session::CurrentUser;
use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::request::Parts;
use model::Permission;
use std::convert::Infallible;
use std::sync::Arc;

/// Which link of the navigation a page belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Section {
    Overview,
    Flows,
    Partners,
    Transfers,
    Connections,
    Audit,
    Keys,
    Certificates,
    KnownHosts,
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

/// The cookie that keeps the theme.
pub(crate) const THEME_COOKIE: &str = "waybill_theme";

impl Theme {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    pub(crate) fn parse(word: &str) -> Self {
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

/// What is around every page: navigation, theme, who is logged in.
#[derive(Clone)]
pub(crate) struct Layout {
    state: Arc<AppState>,
    pub(crate) theme: Theme,
    pub(crate) user: Option<CurrentUser>,
    section: Section,
}

impl Layout {
    pub(crate) fn new(state: Arc<AppState>, headers: &HeaderMap, user: Option<CurrentUser>) -> Self {
        let theme = Theme::parse(cookie(headers, THEME_COOKIE).unwrap_or_default());
        Self { state, theme, user, section: Section::Outside }
    }

    /// The same for a page of that section.
    pub(crate) fn at(self, section: Section) -> Self {
        Self { section, ..self }
    }

    pub(crate) fn nav(&self) -> Vec<NavLink> {
        let link = |path, name, section| NavLink { path, name, current: self.section == section };
        let mut links = vec![
            link("/", "Overview", Section::Overview),
            link("/flows", "Flows", Section::Flows),
            link("/partners", "Partners", Section::Partners),
            link("/transfers", "Transfers", Section::Transfers),
            link("/connections", "Connections", Section::Connections),
        ];
        if self.user.as_ref().is_some_and(|user| user.role.may(Permission::ViewAudit)) {
            links.push(link("/audit", "Audit", Section::Audit));
        }
        if self.user.as_ref().is_some_and(|user| user.role.may(Permission::ViewDefinitions)) {
            links.push(link("/keys", "Keys", Section::Keys));
            links.push(link("/certificates", "Certificates", Section::Certificates));
            links.push(link("/known-hosts", "Known hosts", Section::KnownHosts));
        }
        links
    }

    pub(crate) fn style(&self) -> &str {
        &self.state.assets.style
    }

    pub(crate) fn icon(&self) -> &str {
        &self.state.assets.icon
    }

    pub(crate) fn scripts(&self) -> &[String] {
        &self.state.assets.scripts
    }

    pub(crate) fn node(&self) -> &str {
        self.state.settings.node.as_str()
    }

    pub(crate) fn version(&self) -> &str {
        &self.state.settings.version
    }
}

/// The layout of public pages.
impl FromRequestParts<Arc<AppState>> for Layout {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<AppState>) -> Result<Self, Infallible> {
        Ok(Self::new(state.clone(), &parts.headers, None))
    }
}
