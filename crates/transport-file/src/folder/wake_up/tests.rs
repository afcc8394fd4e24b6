use super::*;
use crate::LocalFolder;
use futures::FutureExt;
use model::RemotePath;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;
use transport::folder::Folder;

const PATIENCE: Duration = Duration::from_secs(20);

fn folder(root: &Path, wake_ups: &Arc<WakeUps>) -> LocalFolder {
    let path = RemotePath::from_bytes(root.as_os_str().as_bytes());
    LocalFolder::new(path.clone(), vec![path]).with_wake_ups(wake_ups)
}

async fn watch(folder: &LocalFolder, directory: &str) -> Box<dyn Watch> {
    folder.watch(&directory.into()).await.unwrap().unwrap()
}

async fn told(watch: &mut Box<dyn Watch>) {
    tokio::time::timeout(PATIENCE, watch.changed()).await.unwrap().unwrap();
}

#[tokio::test]
async fn files_that_arrive_are_told_to_each_watch_of_their_directory_alone() {
    let root = tempfile::tempdir().unwrap();
    for name in ["one", "other"] {
        fs::create_dir(root.path().join(name)).unwrap();
    }
    let wake_ups = Arc::default();
    let folder = folder(root.path(), &wake_ups);
    let (mut first, mut second) = (watch(&folder, "one").await, watch(&folder, "one").await);
    let mut other = watch(&folder, "other").await;
    fs::write(root.path().join("one/a"), "a").unwrap();
    told(&mut first).await;
    told(&mut second).await;
    drop(first);
    fs::rename(root.path().join("one/a"), root.path().join("one/b")).unwrap();
    told(&mut second).await;
    assert!(other.changed().now_or_never().is_none());
    fs::rename(root.path().join("one/b"), root.path().join("other/b")).unwrap();
    told(&mut other).await;
}

#[tokio::test]
async fn what_arrived_before_it_is_asked_for_is_told_and_a_file_that_is_open_is_not() {
    use std::io::Write;
    let root = tempfile::tempdir().unwrap();
    let wake_ups = Arc::default();
    let folder = folder(root.path(), &wake_ups);
    let mut watch = watch(&folder, "").await;
    let mut open = fs::File::create(root.path().join("growing")).unwrap();
    open.write_all(b"begun").unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(watch.changed().now_or_never().is_none());
    drop(open);
    told(&mut watch).await;
}

#[tokio::test]
async fn a_watch_of_a_directory_that_is_removed_ends() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("in")).unwrap();
    let wake_ups = Arc::default();
    let folder = folder(root.path(), &wake_ups);
    let mut watch = watch(&folder, "in").await;
    fs::remove_dir(root.path().join("in")).unwrap();
    let ended = tokio::time::timeout(PATIENCE, watch.changed()).await.unwrap();
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(folder.watch(&"in".into()).await.err().unwrap().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn without_the_option_nothing_is_watched() {
    let root = tempfile::tempdir().unwrap();
    let path = RemotePath::from_bytes(root.path().as_os_str().as_bytes());
    assert!(LocalFolder::new(path.clone(), vec![path]).watch(&"".into()).await.unwrap().is_none());
}

#[tokio::test]
async fn no_link_leads_a_watch_out_of_its_directory() {
    let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::os::unix::fs::symlink(outside.path(), root.path().join("out")).unwrap();
    let wake_ups = Arc::default();
    assert!(folder(root.path(), &wake_ups).watch(&"out".into()).await.is_err());
}
