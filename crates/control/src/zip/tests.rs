use super::*;
use std::io::{self, Cursor, Read};

fn at() -> model::Timestamp {
    "2026-11-27T14:05:09Z".parse().unwrap()
}

fn archive() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut zip = ZipWriter::new(&mut bytes, at());
    zip.add("README.txt", &b"read me"[..], 7).unwrap();
    let long = vec![b'x'; 40_000];
    assert_eq!(zip.add("message/payload", &long[..], 40_000).unwrap(), 40_000);
    // As if it were large, and shorter than was said.
    assert_eq!(zip.add("message/large", &b"large"[..], u64::MAX).unwrap(), 5);
    zip.add("empty", &b""[..], 0).unwrap();
    zip.finish().unwrap();
    bytes
}

fn all(mut reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[test]
fn what_was_written_is_read_back() {
    let bytes = archive();
    assert!(bytes.len() < 3000, "{}", bytes.len());
    let mut zip = ZipReader::open(Cursor::new(bytes)).unwrap();
    let names: Vec<&str> = zip.files().keys().map(String::as_str).collect();
    assert_eq!(names, ["README.txt", "empty", "message/large", "message/payload"]);
    assert_eq!(zip.files()["message/payload"], 40_000);
    assert_eq!(zip.read_small("README.txt", 7).unwrap(), b"read me");
    assert!(zip.read_small("README.txt", 6).is_err());
    assert_eq!(all(zip.read("message/payload").unwrap()).unwrap(), vec![b'x'; 40_000]);
    assert_eq!(all(zip.read("message/large").unwrap()).unwrap(), b"large");
    assert_eq!(all(zip.read("empty").unwrap()).unwrap(), b"");
    assert!(zip.read("missing").is_err());
    assert!(!zip.has("missing"));
}

#[test]
fn a_changed_or_cut_archive_is_an_error_and_never_a_panic() {
    let good = archive();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x55;
        let Ok(mut zip) = ZipReader::open(Cursor::new(bad)) else { continue };
        let names: Vec<String> = zip.files().keys().cloned().collect();
        for name in names {
            // Whatever is read whole is what was written, or has another name now.
            if let Ok(content) =
                zip.read(&name).and_then(|file| all(file).map_err(|e| model::Error::local_io("read", e)))
            {
                let expected: &[u8] = match name.as_str() {
                    "README.txt" => &b"read me"[..],
                    "message/large" => &b"large"[..],
                    "message/payload" => &[b'x'; 40_000],
                    _ => continue,
                };
                assert!(content == expected, "{name}, byte {at}");
            }
        }
    }
    for length in 0..good.len() {
        assert!(ZipReader::open(Cursor::new(&good[..length])).is_err(), "{length}");
    }
}

#[test]
fn an_archive_that_was_given_up_has_no_directory() {
    struct Breaks;
    impl Read for Breaks {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }
    let mut bytes = Vec::new();
    let mut zip = ZipWriter::new(&mut bytes, at());
    zip.add("README.txt", &b"read me"[..], 7).unwrap();
    assert_eq!(zip.add("message/payload", Breaks, 7).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    drop(zip);
    assert!(!bytes.is_empty());
    assert!(ZipReader::open(Cursor::new(bytes)).is_err());
}

#[test]
fn a_file_is_read_from_an_archive_of_its_own() {
    let zip = ZipReader::open(Cursor::new(archive())).unwrap();
    assert_eq!(all(zip.into_file("message/payload").unwrap()).unwrap(), vec![b'x'; 40_000]);
}
