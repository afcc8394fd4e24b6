//! Reading committed payloads: ranges, streams, and bytes that are not what they were.

use crate::{bytes, content, id, path_of, real, stage};
use model::{Error, ErrorKind};
use proptest::prelude::*;
use staging::{STREAM_BUFFERS, Staging};
use std::fs;
use std::io::{self, Read};
use tokio::io::AsyncReadExt;

const LONG: usize = 3 * 512 * 1024 + 11;

#[test]
fn any_range_is_read_the_same_way_blocking_and_async() {
    let (_directory, staging) = real();
    let stage_one = |(n, length)| {
        let given = bytes(1, length);
        (stage(&staging, id(n), &given), given)
    };
    let payloads: Vec<_> = (0..).zip([0, 1, 512 * 1024 - 1, 512 * 1024, LONG]).map(stage_one).collect();
    let runtime = runtime();
    proptest!(ProptestConfig::with_cases(60), |(
        which in 0..payloads.len(),
        start in any::<prop::sample::Index>(),
        more in 0_u64..2_000_000,
    )| {
        let (payload, given) = &payloads[which];
        let start = start.index(given.len() + 10);
        let wanted = &given[start.min(given.len())..(start + more as usize).min(given.len())];
        let range = start as u64..start as u64 + more;
        let mut read = Vec::new();
        staging.read(payload, range.clone()).unwrap().read_to_end(&mut read).unwrap();
        prop_assert!(read == wanted);
        let mut streamed = Vec::new();
        runtime.block_on(async {
            staging.stream(payload, range).await.unwrap().read_to_end(&mut streamed).await.unwrap()
        });
        prop_assert!(streamed == wanted);
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn integrity(error: io::Error) -> String {
    let error: Error = error.downcast().unwrap();
    assert_eq!(error.kind(), ErrorKind::IntegrityFailed);
    error.to_string()
}

/// Changes a byte of a committed payload behind staging's back.
fn damage(staging: &Staging, payload: model::PayloadId, at: usize) {
    let path = staging.root().join(path_of(payload));
    let mut found = fs::read(&path).unwrap();
    found[at] ^= 1;
    fs::write(&path, found).unwrap();
}

#[tokio::test]
async fn a_changed_byte_is_found_before_the_last_bytes_are_handed_out() {
    let (_directory, staging) = real();
    for (n, length) in [1000, LONG].into_iter().enumerate() {
        let payload = stage(&staging, id(n as u64), &bytes(9, length));
        assert_eq!(content(&staging, &payload).len(), length);
        damage(&staging, payload.id, 500);
        let mut read = Vec::new();
        let error = staging.read_verified(&payload).unwrap().read_to_end(&mut read).unwrap_err();
        assert!(integrity(error).contains("found_sha256"));
        assert!(read.len() < length);

        let streamed = match staging.stream_verified(&payload).await {
            Ok(mut stream) => integrity(stream.read_to_end(&mut Vec::new()).await.unwrap_err()),
            Err(error) => error.to_string(),
        };
        assert!(streamed.contains("found_sha256") && streamed.contains("integrity_failed"), "{streamed}");
        let mut unverified = Vec::new();
        staging.read(&payload, 0..u64::MAX).unwrap().read_to_end(&mut unverified).unwrap();
        assert_eq!(unverified.len(), length);
    }
}

#[test]
fn a_payload_of_another_length_is_refused_when_opened_and_while_read() {
    let (_directory, staging) = real();
    let payload = stage(&staging, id(1), &bytes(9, LONG));
    let mut reader = staging.read(&payload, 0..LONG as u64).unwrap();
    reader.read_exact(&mut [0; 1000]).unwrap();
    let path = staging.root().join(path_of(payload.id));
    fs::File::options().write(true).open(path).unwrap().set_len(2000).unwrap();
    assert!(integrity(reader.read_to_end(&mut Vec::new()).unwrap_err()).contains("found_bytes 2000"));
    let error = staging.read(&payload, 0..10).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::IntegrityFailed);
}

#[tokio::test]
async fn a_stream_that_is_dropped_early_leaves_the_payload_alone() {
    let (_directory, staging) = real();
    let payload = stage(&staging, id(1), &bytes(9, LONG));
    for taken in [0, 10, STREAM_BUFFERS / 2 + 1] {
        let mut stream = staging.stream(&payload, 0..payload.length).await.unwrap();
        stream.read_exact(&mut vec![0; taken]).await.unwrap();
    }
    assert_eq!(content(&staging, &payload), bytes(9, LONG));
    let error = staging.remove(payload.id).and(staging.stream(&payload, 0..1).await.map(drop));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn many_streams_at_once() {
    let (_directory, staging) = real();
    let payload = stage(&staging, id(1), &bytes(9, LONG));
    let readers: Vec<_> = (0..64)
        .map(|_| {
            let staging = staging.clone();
            tokio::spawn(async move {
                let mut read = Vec::new();
                staging.stream_verified(&payload).await.unwrap().read_to_end(&mut read).await.unwrap()
            })
        })
        .collect();
    for reader in readers {
        assert_eq!(reader.await.unwrap(), LONG);
    }
}
