//! A server with SharePoint's habits, played by a script: absolute references in the case in which it stores names, spaces
//! as `%20` and a plus as itself; and one whose file is replaced while it is to be replaced by ours.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use model::{ErrorKind, Mask, MaskSpec, Retry};
use std::sync::atomic::{AtomicUsize, Ordering};
use support::{Scripted, World, answer, directory, endpoint, list, multistatus};
use transport::folder::{EntryKind, Published};

/// The library `/Sites/EDI/Shared Documents/In+Out` with two files, found in any case.
fn library() -> Scripted {
    Scripted::start(|_, head| {
        let first = head.lines().next().unwrap_or_default().to_owned();
        let path = first.split(' ').nth(1).unwrap_or_default();
        // A plus is a plus: in a path it never stands for a space.
        if path.to_ascii_lowercase().trim_end_matches('/') != "/sites/edi/shared%20documents/in+out" {
            return answer("404 Not Found", "", "");
        }
        let host =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("host: ").map(str::to_owned));
        let base = format!("http://{}/Sites/EDI/Shared%20Documents/In+Out", host.unwrap_or_default());
        let file = |name: &str| support::file(&format!("{base}/{name}"), 7);
        multistatus(&[directory(&format!("{base}/")), file("Order%201+2.EDI"), file("notes.txt")].concat())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_are_found_in_any_case_and_names_keep_theirs() {
    let server = library();
    let world = World::new();
    for written in ["Sites/EDI/Shared%20Documents/In+Out", "sites/edi/shared documents/in+out"] {
        let url = format!("{}/{written}", server.url());
        let folder = world.folder(&endpoint(&url, &[("server", "sharepoint"), ("token", "t")]));
        let entries = list(&folder, "/sites/edi/shared documents/in+out").await.unwrap();
        let names: Vec<_> = entries.iter().map(|entry| (entry.path.to_text(), entry.kind)).collect();
        let file = |name: &str| (name.to_owned(), EntryKind::File);
        assert_eq!(names, [file("Order 1+2.EDI"), file("notes.txt")], "{written}");
        // A flow's mask, with its option ignore_case.
        let mask = MaskSpec { include: vec!["*.edi".into()], ignore_case: true, ..MaskSpec::default() };
        let mask = Mask::new(&mask).unwrap();
        assert_eq!(entries.iter().filter(|entry| mask.matches(entry.path.as_bytes())).count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_option_another_case_is_another_place() {
    let server = library();
    let world = World::new();
    let url = format!("{}/sites/edi/shared documents/in+out", server.url());
    let folder = world.folder(&endpoint(&url, &[("token", "t")]));
    let error = list(&folder, "/sites/edi/shared documents/in+out").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
}

/// A server whose file `/in/a` has another version each time it is looked at, and replaces it only after more looks than this.
fn changing(looks_before: usize) -> Scripted {
    let looks = AtomicUsize::new(0);
    Scripted::start(move |_, head| {
        if head.starts_with("MOVE") {
            let is_over = head.lines().any(|line| line.eq_ignore_ascii_case("overwrite: t"));
            let is_done = is_over && looks.load(Ordering::SeqCst) > looks_before;
            return answer(if is_done { "204 No Content" } else { "412 Precondition Failed" }, "", "");
        }
        let version = looks.fetch_add(1, Ordering::SeqCst) + 1;
        multistatus(&format!(
            "<D:response><D:href>/in/a</D:href><D:propstat><D:prop><D:resourcetype/><D:getetag>\"v{version}\"</D:getetag>\
             </D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>"
        ))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_file_that_was_seen_is_replaced() {
    let server = changing(1);
    let world = World::new();
    let folder = world.folder(&server.endpoint(&[]));
    let published = folder.publish(&"/in/.a.a".into(), &"/in/a".into(), true).await.unwrap();
    assert_eq!(published, Published::Published);
    let heads = server.heads();
    let conditions: Vec<_> = heads
        .iter()
        .filter_map(|head| head.lines().find(|line| line.to_ascii_lowercase().starts_with("if: ")))
        .collect();
    assert_eq!(conditions.len(), 2, "{heads:?}");
    assert!(conditions[0].trim_end().ends_with("/in/a> ([\"v1\"])"), "{conditions:?}");
    assert!(conditions[1].trim_end().ends_with("/in/a> ([\"v2\"])"), "{conditions:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_all_the_time_is_left_to_the_next_attempt() {
    let server = changing(usize::MAX);
    let world = World::new();
    let folder = world.folder(&server.endpoint(&[]));
    let error = folder.publish(&"/in/.a.a".into(), &"/in/a".into(), true).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Rejected, Retry::Transient), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_understand_the_condition_replaces_all_the_same() {
    let server = Scripted::start(|_, head| {
        let has_condition = head.lines().any(|line| line.to_ascii_lowercase().starts_with("if: "));
        let is_over = head.lines().any(|line| line.eq_ignore_ascii_case("overwrite: t"));
        match head.starts_with("MOVE") {
            true if is_over && !has_condition => answer("204 No Content", "", ""),
            true => answer("412 Precondition Failed", "", ""),
            false => multistatus(
                "<D:response><D:href>/in/a</D:href><D:propstat><D:prop><D:resourcetype/><D:getetag>\"v\"</D:getetag>\
                 </D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>",
            ),
        }
    });
    let world = World::new();
    let folder = world.folder(&server.endpoint(&[]));
    let published = folder.publish(&"/in/.a.a".into(), &"/in/a".into(), true).await.unwrap();
    assert_eq!(published, Published::Published);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_sharepoint_refuses_is_refused_before_anything_is_sent() {
    let server = library();
    let world = World::new();
    let folder = world.folder(&endpoint(&server.url(), &[("server", "sharepoint"), ("token", "t")]));
    let error = folder.check_path(&"/in/a:b.edi".into()).unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Rejected, Retry::Permanent), "{error}");
    assert!(error.to_string().contains("file_name"), "{error}");
    folder.check_path(&"/in/a b.edi".into()).unwrap();
    let standard = world.folder(&endpoint(&server.url(), &[("token", "t")]));
    standard.check_path(&"/in/a:b.edi".into()).unwrap();
    assert_eq!(server.heads().len(), 0);
}
