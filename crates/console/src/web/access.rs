//! Authentication and authorisation: the one extractor by which a page names the permission that it needs.
//!
//! A handler whose first argument is [`Authorized`] runs only for a user who is logged in and has the permission.
//! Others get the login page, or a page that says which roles have it. The permission is part of the handler's
//! type, so that [`crate::web::routes::Routes`] lists it without running the handler.

use crate::state::AppState;
use crate::web::layout::{Layout, Section};
use crate::web::local_path::local_path;
use crate::web::page_error::PageError;
use crate::web::session::{CurrentUser, FRAGMENT, current_user};
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Redirect, Response};
use http::request::Parts;
use http::{Method, StatusCode};
use model::{Permission, Role};
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};
use url::form_urlencoded::byte_serialize;

/// A permission as a type.
pub(crate) trait Needs: Send + Sync + 'static {
    const PERMISSION: Permission;
}

/// Pages with flows, transfers and connections.
pub(crate) struct ViewTransfers;

impl Needs for ViewTransfers {
    const PERMISSION: Permission = Permission::ViewTransfers;
}

/// The audit trail.
pub(crate) struct ViewAudit;

impl Needs for ViewAudit {
    const PERMISSION: Permission = Permission::ViewAudit;
}

/// What proves messages, with their content.
pub(crate) struct ExportEvidence;

impl Needs for ExportEvidence {
    const PERMISSION: Permission = Permission::ExportEvidence;
}

/// Definitions, without secrets.
pub(crate) struct ViewDefinitions;

impl Needs for ViewDefinitions {
    const PERMISSION: Permission = Permission::ViewDefinitions;
}

/// What is done to transfers, and files that people send.
pub(crate) struct OperateTransfers;

impl Needs for OperateTransfers {
    const PERMISSION: Permission = Permission::OperateTransfers;
}

/// Changes of definitions, and of the list of known hosts.
pub(crate) struct ChangeDefinitions;

impl Needs for ChangeDefinitions {
    const PERMISSION: Permission = Permission::ChangeDefinitions;
}

/// A request of a user who has the permission.
pub(crate) struct Authorized<P> {
    pub(crate) user: CurrentUser,
    layout: Layout,
    /// Whether the page refreshes a part of itself and wants this part alone.
    pub(crate) fragment: bool,
    permission: PhantomData<P>,
}

impl<P> Authorized<P> {
    /// The layout of a page of that section.
    pub(crate) fn layout(self, section: Section) -> Layout {
        self.layout.at(section)
    }

    /// Whether the user has another permission as well.
    pub(crate) fn may(&self, permission: Permission) -> bool {
        self.user.role.may(permission)
    }
}

/// Where the extractor leaves the user for the error page, which is made after the handler has ended.
#[derive(Clone, Default)]
pub(crate) struct UserSlot(Arc<OnceLock<CurrentUser>>);

impl UserSlot {
    pub(crate) fn user(&self) -> Option<CurrentUser> {
        self.0.get().cloned()
    }
}

impl<P: Needs> FromRequestParts<Arc<AppState>> for Authorized<P> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<AppState>) -> Result<Self, Response> {
        let fragment = parts.headers.contains_key(FRAGMENT);
        let user = match current_user(state, &parts.headers).await {
            Ok(Some(user)) => user,
            Ok(None) => return Err(to_login(parts, fragment)),
            Err(error) => return Err(PageError::from(error).into_response()),
        };
        if let Some(UserSlot(slot)) = parts.extensions.get::<UserSlot>() {
            slot.get_or_init(|| user.clone());
        }
        if !user.role.may(P::PERMISSION) {
            return Err(refused(&user, P::PERMISSION).into_response());
        }
        let layout = Layout::new(state.clone(), &parts.headers, Some(user.clone()));
        Ok(Self { user, layout, fragment, permission: PhantomData })
    }
}

/// The login, which leads back to the page that was asked for.
fn to_login(parts: &Parts, fragment: bool) -> Response {
    if fragment || parts.method != Method::GET {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let asked = parts.uri.path_and_query().map_or("/", |asked| asked.as_str());
    let target = match local_path(Some(asked)) {
        "/" => "/login".to_owned(),
        path => format!("/login?next={}", byte_serialize(path.as_bytes()).collect::<String>()),
    };
    Redirect::to(&target).into_response()
}

fn refused(user: &CurrentUser, permission: Permission) -> PageError {
    let roles: Vec<&str> =
        Role::ALL.iter().filter(|role| role.may(permission)).map(|role| role.as_str()).collect();
    PageError::forbidden(
        format!(
            "Your role ({}) does not have the permission for this page: {}",
            user.role,
            permission.permits()
        ),
        format!("Ask an administrator for one of these roles: {}.", roles.join(", ")),
    )
}

/// Handlers whose first argument is [`Authorized`]: axum's type of their arguments says so.
pub(crate) trait Guarded {
    const PERMISSION: Permission;
}

macro_rules! guarded {
    ($($argument:ident),*) => {
        impl<Marker, P: Needs, $($argument),*> Guarded for (Marker, Authorized<P>, $($argument,)*) {
            const PERMISSION: Permission = P::PERMISSION;
        }
    };
}

guarded!();
guarded!(A);
guarded!(A, B);
guarded!(A, B, C);
guarded!(A, B, C, D);
