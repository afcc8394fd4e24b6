use super::*;
use crate::folder::{FileReader, FolderCapabilities, Published, Upload};
use async_trait::async_trait;
use futures::stream;
use model::Probe;

/// A directory with so many entries of a kind.
struct Endless(EntryKind, usize);

#[async_trait]
impl Folder for Endless {
    async fn probe(self: Arc<Self>, _: &mut Probe) -> Option<Arc<dyn Folder>> {
        None
    }

    async fn capabilities(&self) -> Result<FolderCapabilities> {
        unreachable!()
    }

    async fn list(&self, _: &RemotePath) -> Result<BoxStream<'static, Result<Entry>>> {
        let entry = Entry {
            path: "a".into(),
            kind: self.0,
            size: Some(1),
            modified: None,
            changed: None,
            version: None,
        };
        Ok(stream::repeat_with(move || Ok(entry.clone())).take(self.1).boxed())
    }

    async fn stat(&self, _: &RemotePath) -> Result<Entry> {
        unreachable!()
    }

    async fn read(&self, _: &RemotePath, _: u64) -> Result<FileReader> {
        unreachable!()
    }

    async fn begin_write(&self, _: &RemotePath, _: Option<u64>) -> Result<Box<dyn Upload>> {
        unreachable!()
    }

    async fn publish(&self, _: &RemotePath, _: &RemotePath, _: bool) -> Result<Published> {
        unreachable!()
    }

    async fn rename(&self, _: &RemotePath, _: &RemotePath) -> Result<()> {
        unreachable!()
    }

    async fn remove(&self, _: &RemotePath) -> Result<()> {
        unreachable!()
    }

    async fn make_directory(&self, _: &RemotePath) -> Result<()> {
        unreachable!()
    }
}

#[tokio::test]
async fn a_walk_has_a_limited_number_of_directories() {
    let mut walk = Walk::new(Arc::new(Endless(EntryKind::Directory, 2)), "in".into(), true);
    walk.directory_limit = 500;
    let error = walk.next().await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.to_string().contains("more subdirectories"), "{error}");
    assert_eq!(walk.directories, 501);
}

#[tokio::test]
async fn a_listing_without_an_end_is_an_error() {
    let mut walk = Walk::new(Arc::new(Endless(EntryKind::File, usize::MAX)), "in".into(), false);
    walk.entry_limit = 5;
    let mut found = 0;
    let error = loop {
        match walk.next().await {
            Ok(Some(_)) => found += 1,
            Ok(None) => panic!("it has no end"),
            Err(error) => break error,
        }
    };
    assert_eq!((found, error.kind()), (5, ErrorKind::Protocol));
    assert!(error.to_string().contains("in"), "{error}");
}
