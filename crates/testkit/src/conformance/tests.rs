//! The suite against the folder in memory, whatever it can do.

use super::Place;
use crate::fake::MemoryFolder;
use std::sync::Arc;
use transport::folder::FolderCapabilities;

fn place(folder: &MemoryFolder) -> Place {
    folder.put("in/x", *b"");
    let place = Place::new(Arc::new(folder.clone()), "in", "beside").resuming();
    Place { name_limit: 255, ..place }
}

async fn empty(folder: MemoryFolder) -> Place {
    let place = place(&folder);
    place.folder.remove(&"in/x".into()).await.unwrap();
    place
}

#[tokio::test]
async fn the_folder_in_memory_conforms() {
    super::all(|| empty(MemoryFolder::new())).await;
}

#[tokio::test]
async fn a_folder_whose_rename_replaces_is_used_safely_too() {
    let capabilities = FolderCapabilities { rename_no_replace: false, set_modified: false };
    super::all(|| empty(MemoryFolder::with_capabilities(capabilities))).await;
}
