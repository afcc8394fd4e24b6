//! Each test on both databases: `both! { name(scene) { … } }`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use uuid::Uuid;

/// A database of its own in a SQLite file.
pub(crate) fn sqlite(dir: &Path) -> String {
    format!("sqlite:{}", dir.join("waybill.db").display())
}

/// A database of its own on the PostgreSQL server of this test run.
pub(crate) fn postgres() -> String {
    let name = format!("t{}", Uuid::new_v4().simple());
    let output = script().arg("database").arg(server()).arg(name).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn script() -> Command {
    Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/servers/postgres.sh"))
}

/// The directory of the server. nextest runs each test in a process of its own: these share one server,
/// which ends with nextest; otherwise it ends with this process.
fn server() -> &'static Path {
    static SERVER: OnceLock<PathBuf> = OnceLock::new();
    SERVER.get_or_init(|| {
        let (name, owner) = match std::env::var("NEXTEST_RUN_ID") {
            Ok(run) => (run, std::os::unix::process::parent_id()),
            Err(_) => (Uuid::new_v4().simple().to_string(), std::process::id()),
        };
        let dir = std::env::temp_dir().join(format!("waybill-engine-{name}"));
        std::fs::create_dir_all(&dir).unwrap();
        let lock = std::fs::File::create(dir.join("starting")).unwrap();
        lock.lock().unwrap();
        if !dir.join("run/json").exists() {
            let mut start = script();
            start
                .arg("start")
                .arg(&dir)
                .args(["--owner-pid", &owner.to_string(), "--temporary"])
                .stdin(Stdio::null());
            let started = start.output().unwrap();
            assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        }
        dir
    })
}

/// Runs an async test on both databases.
macro_rules! both {
    ($($name:ident($scene:ident) $body:block)*) => {$(
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            async fn run($scene: $crate::scene::Scene) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                run($crate::scene::Scene::sqlite().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                run($crate::scene::Scene::postgres().await).await;
            }
        }
    )*};
}
pub(crate) use both;
