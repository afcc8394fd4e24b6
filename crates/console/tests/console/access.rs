//! Who may reach what: every path of the console, without a session and with every role.

use super::{inside, world};
use crate::browser::{self, Browser};
use crate::support::World;
use console::{Access, Console, ConsoleRoute};
use http::StatusCode;
use model::{Permission, Role};
use std::fmt::Write as _;
use std::path::Path;
use store::UserChange;

/// A path of a route that names nothing that is there.
fn path(route: &ConsoleRoute) -> String {
    let id = "0192f7a0-0000-7000-8000-000000000000";
    route.path.replace("{id}", id).replace("{delivery}", id).replace("{which}", "sent")
}

fn needed(route: &ConsoleRoute) -> Option<Permission> {
    match route.access {
        Access::Public => None,
        Access::Needs(permission) | Access::LocalOrNeeds(permission) => Some(permission),
    }
}

async fn give(world: &World, role: Role) {
    let change = UserChange { role: Some(role), ..UserChange::default() };
    world.store.change_user("ada", change, world.now(), vec![]).await.unwrap();
}

#[test]
fn what_is_public_is_known() {
    let public: Vec<String> = Console::routes()
        .iter()
        .filter(|route| route.access == Access::Public)
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    assert_eq!(
        public,
        [
            "GET /login",
            "POST /login",
            "POST /logout",
            "GET /setup/{token}",
            "POST /setup/{token}",
            "POST /theme",
            "GET /assets/{name}",
            "GET /healthz",
            "GET /readyz",
        ]
    );
}

/// Only `Routes` adds a path to the router, and it wants to know who may reach it.
#[test]
fn no_path_is_added_beside_the_list() {
    fn files(directory: &Path, adding: &mut Vec<String>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files(&path, adding);
            } else if std::fs::read_to_string(&path).unwrap().contains(".route(") {
                adding.push(path.file_name().unwrap().to_string_lossy().into_owned());
            }
        }
    }
    let mut adding = Vec::new();
    files(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut adding);
    assert_eq!(adding, ["routes.rs"]);
}

#[tokio::test]
async fn nothing_but_what_is_public_is_reached_without_a_session() {
    let (world, _) = inside().await;
    let mut guarded = 0;
    for route in Console::routes().iter().filter(|route| needed(route).is_some()) {
        let path = path(route);
        let mut nobody = Browser::new(&world.console);
        let mut forged =
            Browser::new(&world.console).with("cookie", &format!("waybill_session_8420={}", "x".repeat(43)));
        for browser in [&mut nobody, &mut forged] {
            if route.method == "POST" {
                let answer = browser.post(&path, &[("text", "a ssh-ed25519 AAAA")]).await;
                assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
                continue;
            }
            let answer = browser.get(&path).await;
            match route.access {
                Access::LocalOrNeeds(_) => assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}"),
                _ => {
                    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{path}");
                    assert!(answer.location().starts_with("/login"), "{path}");
                    assert_eq!(browser.fragment(&path).await.status, StatusCode::UNAUTHORIZED, "{path}");
                }
            }
        }
        guarded += 1;
    }
    assert!(guarded >= 10, "{guarded} paths");
}

#[tokio::test]
async fn every_role_reaches_what_its_permissions_say() {
    let (world, mut browser) = inside().await;
    for role in Role::ALL {
        give(&world, *role).await;
        for route in Console::routes() {
            let Some(permission) = needed(&route) else { continue };
            let path = path(&route);
            if route.method == "POST" {
                let answer = browser.post(&path, &[]).await;
                let refused = answer.status == StatusCode::FORBIDDEN;
                assert_eq!(refused, !role.may(permission), "{role} {path}: {}", answer.status);
                assert!(answer.status.is_client_error(), "{role} {path}: {}", answer.status);
                continue;
            }
            let answer = browser.get(&path).await;
            let part = browser.fragment(&path).await;
            if role.may(permission) {
                let reached = [StatusCode::OK, StatusCode::NOT_FOUND];
                assert!(reached.contains(&answer.status), "{role} {path}: {}", answer.status);
                assert_eq!(part.status, answer.status, "{role} {path}");
                continue;
            }
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{role} {path}");
            assert_eq!(part.status, StatusCode::FORBIDDEN, "{role} {path}");
            if route.path != "/metrics" {
                browser::check_html(&path, &answer.text);
                assert!(answer.text.contains(permission.permits()), "{role} {path}: {}", answer.text);
            }
        }
    }
}

#[tokio::test]
async fn viewers_see_no_link_to_the_audit_trail_and_are_told_who_may() {
    let (world, mut browser) = inside().await;
    assert!(browser.get("/transfers").await.text.contains("href=\"/audit\""));
    give(&world, Role::Viewer).await;
    assert!(!browser.get("/transfers").await.text.contains("href=\"/audit\""));
    let refused = browser.get("/audit").await.text;
    assert!(refused.contains("Your role (viewer)"), "{refused}");
    assert!(refused.contains("auditor, operator, designer, admin"), "{refused}");
}

#[tokio::test]
async fn the_first_user_is_an_administrator() {
    let world = world().await;
    super::enter(&world).await;
    let (users, _) = world.store.users().await.unwrap();
    assert_eq!((users.len(), users[0].role), (1, Role::Admin));
}

/// `docs/roles.md` holds the table of roles and permissions, and which page needs which.
#[test]
fn the_page_about_roles_is_what_the_code_declares() {
    let mut tables = String::from("| Permission | What it permits |");
    for role in Role::ALL {
        let _ = write!(tables, " {role} |");
    }
    tables.push_str("\n|---|---|");
    tables.push_str(&":-:|".repeat(Role::ALL.len()));
    tables.push('\n');
    for permission in Permission::ALL {
        let _ = write!(tables, "| `{permission}` | {} |", permission.permits());
        for role in Role::ALL {
            tables.push_str(if role.may(*permission) { " ✓ |" } else { "  |" });
        }
        tables.push('\n');
    }
    let mut pages = String::from("| Path | Permission |\n|---|---|\n");
    for route in Console::routes() {
        let access = match route.access {
            Access::Public => "none".to_owned(),
            Access::Needs(permission) => format!("`{permission}`"),
            Access::LocalOrNeeds(permission) => format!("none on the machine itself, else `{permission}`"),
        };
        let _ = writeln!(pages, "| `{} {}` | {access} |", route.method, route.path);
    }
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/roles.md")).unwrap();
    for table in [tables, pages] {
        assert!(page.contains(&table), "docs/roles.md is to hold this table:\n\n{table}");
    }
}
