//! A router that knows who may reach each of its paths.

use crate::state::AppState;
use crate::web::access::Guarded;
use axum::Router;
use axum::handler::Handler;
use axum::routing::{get, post};
use model::Permission;
use std::sync::Arc;

/// Who may reach a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Everybody.
    Public,
    /// Users who have the permission.
    Needs(Permission),
    /// This machine itself, and users who have the permission.
    LocalOrNeeds(Permission),
}

/// A path of the console, with the method.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConsoleRoute {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// The path, with its parameters in braces.
    pub path: &'static str,
    /// Who may reach it.
    pub access: Access,
}

/// Builds the router. A page can only be added with a handler that names the permission it needs; what is open
/// to others is added by a name that says so.
#[derive(Default)]
pub(crate) struct Routes {
    router: Router<Arc<AppState>>,
    list: Vec<ConsoleRoute>,
}

impl Routes {
    /// A page: the permission is the one that its handler's `Authorized` names.
    pub(crate) fn page<H, T>(self, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, Arc<AppState>>,
        T: Guarded + 'static,
    {
        self.get(path, Access::Needs(T::PERMISSION), handler)
    }

    /// A path that forms are sent to: the permission is the one that its handler's `Authorized` names.
    pub(crate) fn form<H, T>(self, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, Arc<AppState>>,
        T: Guarded + 'static,
    {
        self.post(path, Access::Needs(T::PERMISSION), handler)
    }

    /// A path that everybody may read.
    pub(crate) fn public_get<H, T>(self, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, Arc<AppState>>,
        T: 'static,
    {
        self.get(path, Access::Public, handler)
    }

    /// A path that everybody may send forms to.
    pub(crate) fn public_post<H, T>(self, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, Arc<AppState>>,
        T: 'static,
    {
        self.post(path, Access::Public, handler)
    }

    /// A path whose handler lets this machine through, and users who have the permission.
    pub(crate) fn local_get<H, T>(self, path: &'static str, permission: Permission, handler: H) -> Self
    where
        H: Handler<T, Arc<AppState>>,
        T: 'static,
    {
        self.get(path, Access::LocalOrNeeds(permission), handler)
    }

    fn post<H, T>(mut self, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, Arc<AppState>>,
        T: 'static,
    {
        self.list.push(ConsoleRoute { method: "POST", path, access });
        self.router = self.router.route(path, post(handler));
        self
    }

    fn get<H, T>(mut self, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, Arc<AppState>>,
        T: 'static,
    {
        self.list.push(ConsoleRoute { method: "GET", path, access });
        self.router = self.router.route(path, get(handler));
        self
    }

    pub(crate) fn into_parts(self) -> (Router<Arc<AppState>>, Vec<ConsoleRoute>) {
        (self.router, self.list)
    }
}
