//! Whatever a server sends, nothing panics, and no more of it is held than the limits say. A few hundred cases run with the
//! other tests; `PROPTEST_CASES=2000000` makes it some ten minutes.

use super::features::Features;
use super::reply::{LIMIT, Replies, Unread};
use super::{address, path};
use proptest::collection::vec;
use proptest::prelude::*;

/// What good servers send.
const SAMPLES: [&[u8]; 8] = [
    b"220-Welcome\r\n to the server\r\n220 ready\r\n",
    b"211-Features:\r\n MLST type*;size*;modify*;\r\n UTF8\r\n HASH SHA-256*;MD5\r\n XSHA256\r\n211 End\r\n",
    b"227 Entering Passive Mode (10,0,0,7,195,80).\r\n",
    b"229 Entering Extended Passive Mode (|||6446|)\r\n",
    b"257 \"/home/\"\"edi\"\"/in\" is the directory\r\n",
    b"250-Listing\r\n type=file;size=7;modify=20260228150912; /in/a.edi\r\n250 End\r\n",
    b"213-status\r\n-rw-r--r--   1 ftp      ftp           403 Feb 28 15:09 a.edi\r\n213 End\r\n",
    b"550 \xff\xfe no such file\r\n",
];

/// A sample with bytes changed, put in and taken out; or noise.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), 0_u8..4, any::<u8>());
    let changed = (0..SAMPLES.len(), vec(change, 0..12)).prop_map(|(sample, changes)| {
        let mut bytes = SAMPLES[sample].to_vec();
        for (at, what, byte) in changes {
            let at = at.index(bytes.len() + 1);
            match what {
                0 => bytes.insert(at, byte),
                1 if at < bytes.len() => drop(bytes.remove(at)),
                2 if at < bytes.len() => bytes[at] = byte,
                // A piece twice, as of a server that repeats itself.
                _ => bytes.splice(at..at, bytes[at / 2..at].to_vec()).for_each(drop),
            }
        }
        bytes
    });
    prop_oneof![4 => changed, 1 => vec(any::<u8>(), 0..400)]
}

proptest! {
    #[test]
    fn replies_are_read_or_refused_within_their_limit(bytes in vec(hostile(), 1..4), cut in 1_usize..50) {
        let bytes = bytes.concat();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut stream = tokio::io::BufReader::with_capacity(cut, &bytes[..]);
            let (mut replies, mut held) = (Replies::default(), 0);
            loop {
                match replies.next(&mut stream).await {
                    Ok(reply) => {
                        let length: usize = reply.lines.iter().map(Vec::len).sum();
                        assert!(length <= LIMIT && reply.code < 1000);
                        held += length;
                        let _ = (Features::read(&reply), reply.said(), reply.says(&["no"]), reply.inner().len());
                        for line in &reply.lines {
                            let _ = (address::passive(line), address::extended(line), path::quoted(line));
                        }
                        let hidden = reply.without(b"edi");
                        assert!(hidden.lines.iter().all(|line| !line.windows(3).any(|part| part == b"edi")));
                    }
                    Err(Unread::Lost(_)) => break,
                    Err(Unread::Malformed(_, words)) => {
                        assert!(words.len() <= LIMIT);
                        break;
                    }
                }
            }
            assert!(held <= bytes.len(), "more is told than was sent");
        });
    }

    #[test]
    fn addresses_are_read_or_refused(text in vec(any::<u8>(), 0..60), digits in "[0-9,|()!]{0,40}") {
        for text in [&text[..], digits.as_bytes()] {
            if let Some((_, port)) = address::passive(text) {
                prop_assert_ne!(port, 0);
            }
            prop_assert_ne!(address::extended(text), Some(0));
        }
    }
}

/// However much a server sends, a reply ends at the limit.
#[tokio::test]
async fn a_reply_without_end_is_held_up_to_its_limit() {
    for piece in [&b"220-more\r\n"[..], b"x", b"220-", b"220-\r\n"] {
        let bytes = piece.repeat(4 * LIMIT / piece.len());
        match Replies::default().next(&mut &bytes[..]).await {
            Err(Unread::Malformed(_, words)) => assert!(words.len() <= LIMIT),
            other => panic!("{other:?}"),
        }
    }
}
