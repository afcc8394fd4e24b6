//! HTTP's content codings (RFC 9110, 8.4.1): taken off as a message streams, within its bound; put on where a partner
//! asks for it.

use crate::header_options::ContentCoding;
use crate::outgoing::Outgoing;
use crate::rejection::Rejection;
use flate2::Compression;
use flate2::read::{DeflateDecoder, GzEncoder, MultiGzDecoder, ZlibDecoder, ZlibEncoder};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, TRANSFER_ENCODING};
use smime::Measured;
use std::io::{self, Cursor, Read};

/// The codings that are read, for `Accept-Encoding`.
pub(crate) const ACCEPTED: &str = "gzip, deflate, identity";

/// Words in `Content-Encoding` that name no content coding: the transfer encodings of MIME (RFC 2045, 6.1), as
/// senders write them into the wrong header, and `none`. The bytes are taken as they are.
const NO_CODINGS: [&str; 6] = ["7bit", "8bit", "binary", "base64", "quoted-printable", "none"];

/// How the bytes of a body are coded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Coding {
    Identity,
    Gzip,
    Deflate,
}

impl Coding {
    /// Reads `Content-Encoding`.
    ///
    /// # Errors
    /// What the sender used, when it is not one of [`ACCEPTED`] or more than one of them.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, String> {
        let mut found = Self::Identity;
        for name in tokens(headers, CONTENT_ENCODING) {
            let coding = match name.as_str() {
                "identity" => continue,
                "gzip" | "x-gzip" => Self::Gzip,
                "deflate" => Self::Deflate,
                _ if NO_CODINGS.contains(&name.as_str()) => {
                    tracing::debug!(name, "a Content-Encoding that is not a content coding was ignored");
                    continue;
                }
                _ => return Err(name),
            };
            if found != Self::Identity {
                return Err("several codings".to_owned());
            }
            found = coding;
        }
        Ok(found)
    }

    /// The one that is put on messages to a partner.
    pub(crate) const fn put_on(coding: ContentCoding) -> Self {
        match coding {
            ContentCoding::No => Self::Identity,
            ContentCoding::Gzip => Self::Gzip,
            ContentCoding::Deflate => Self::Deflate,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    /// The decoded bytes, at most so many.
    pub(crate) fn decoder<'a>(self, source: impl Read + Send + 'a, most: u64) -> Box<dyn Read + Send + 'a> {
        let decoder: Box<dyn Read + Send + 'a> = match self {
            Self::Identity => return Box::new(source),
            Self::Gzip => Box::new(MultiGzDecoder::new(source)),
            Self::Deflate => Box::new(Deflate::Unseen(Some(source))),
        };
        Box::new(Decoder { inner: decoder, coding: self, room: most, most })
    }
}

impl Outgoing {
    /// The same message with its body under a content coding. It is HTTP's own: the MIC is that of the message.
    pub(crate) fn coded(mut self, coding: ContentCoding) -> Self {
        if coding == ContentCoding::No {
            return self;
        }
        let body = std::mem::replace(&mut self.body, Box::new(&b""[..]));
        self.body = match coding {
            ContentCoding::Deflate => Box::new(Coded(ZlibEncoder::new(body, Compression::default()))),
            ContentCoding::Gzip | ContentCoding::No => {
                Box::new(Coded(GzEncoder::new(body, Compression::default())))
            }
        };
        self.headers.push(("Content-Encoding".into(), coding.as_str().into()));
        self
    }
}

/// A coded body, whose length is not known before its end.
struct Coded<R>(R);

impl<R: Read> Read for Coded<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }
}

impl<R: Read> Measured for Coded<R> {
    fn total_len(&self) -> Option<u64> {
        None
    }
}

/// Transfer codings other than `chunked`, which the HTTP library does not take off.
pub(crate) fn transfer_coding(headers: &HeaderMap) -> Option<String> {
    tokens(headers, TRANSFER_ENCODING).find(|name| !matches!(name.as_str(), "chunked" | "identity"))
}

fn tokens(headers: &HeaderMap, name: http::HeaderName) -> impl Iterator<Item = String> {
    headers.get_all(name).iter().flat_map(|value| {
        let text = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
        names.into_iter().filter(|name| !name.is_empty())
    })
}

/// Tells a fault of the coding from one of the stream below, and stops at the bound.
struct Decoder<R> {
    inner: R,
    coding: Coding,
    room: u64,
    most: u64,
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(out).map_err(|error| match error.get_ref() {
            // The library's own faults hold nothing of ours.
            Some(inner) if inner.is::<model::Error>() || inner.is::<Rejection>() => error,
            _ if error.kind() == io::ErrorKind::Interrupted => error,
            _ => io::Error::other(Rejection::Undecodable { coding: self.coding.name() }),
        })?;
        match self.room.checked_sub(count as u64) {
            Some(left) => self.room = left,
            None => return Err(io::Error::other(Rejection::TooLarge { most: self.most })),
        }
        Ok(count)
    }
}

/// `deflate` means zlib's form (RFC 9110, 8.4.1.2), but some send the bare one.
enum Deflate<R> {
    Unseen(Option<R>),
    Zlib(ZlibDecoder<io::Chain<Cursor<Vec<u8>>, R>>),
    Bare(DeflateDecoder<io::Chain<Cursor<Vec<u8>>, R>>),
}

impl<R: Read> Read for Deflate<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            match self {
                Self::Zlib(decoder) => return decoder.read(out),
                Self::Bare(decoder) => return decoder.read(out),
                Self::Unseen(source) => {
                    let Some(mut source) = source.take() else {
                        return Err(io::ErrorKind::InvalidData.into());
                    };
                    let mut head = Vec::new();
                    (&mut source).take(2).read_to_end(&mut head)?;
                    // RFC 1950, 2.2: method 8, and both bytes a multiple of 31.
                    let zlib =
                        matches!(head[..], [a, b] if a & 15 == 8 && u16::from_be_bytes([a, b]) % 31 == 0);
                    let source = Cursor::new(head).chain(source);
                    *self = match zlib {
                        true => Self::Zlib(ZlibDecoder::new(source)),
                        false => Self::Bare(DeflateDecoder::new(source)),
                    };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use model::{Error, ErrorKind};
    use smime::{Digest, MicReader};
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn decoded(coding: Coding, bytes: &[u8], most: u64) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        coding.decoder(bytes, most).read_to_end(&mut out).map(|_| out)
    }

    fn rejection(result: io::Result<Vec<u8>>) -> Rejection {
        result.unwrap_err().downcast::<Rejection>().unwrap()
    }

    #[test]
    fn a_coded_message_is_decoded_to_the_same_and_keeps_its_mic() {
        let content = b"an order\r\n".repeat(1000);
        for (word, coding) in [(ContentCoding::Gzip, Coding::Gzip), (ContentCoding::Deflate, Coding::Deflate)]
        {
            let body: Box<dyn Measured + Send> =
                Box::new(smime::Payload::new(Cursor::new(content.clone()), 10_000));
            let tapped = MicReader::new(body, Digest::Sha256).unwrap();
            let mic = tapped.slot();
            let message =
                Outgoing { headers: Vec::new(), body: Box::new(tapped), mic, content_headers: Vec::new() };
            let mut message = message.coded(word);
            assert_eq!(message.headers, [("Content-Encoding".to_owned(), word.to_string())]);
            assert_eq!(message.length(), None);
            let mut bytes = Vec::new();
            message.body.read_to_end(&mut bytes).unwrap();
            assert!(bytes.len() < 1000);
            assert_eq!(decoded(coding, &bytes, 1 << 20).unwrap(), content);
            assert_eq!(message.mic.get().unwrap().digest, openssl::sha::sha256(&content));
        }
    }

    #[test]
    fn names_are_read_in_any_spelling() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_ENCODING, value.parse().unwrap());
            }
            Coding::of(&headers)
        };
        for (values, coding) in [
            (&[][..], Coding::Identity),
            (&[""], Coding::Identity),
            (&["identity"], Coding::Identity),
            (&["GZip"], Coding::Gzip),
            (&["x-gzip, identity"], Coding::Gzip),
            (&["identity", "deflate"], Coding::Deflate),
            (&["binary"], Coding::Identity),
            (&["Binary", "7BIT"], Coding::Identity),
            (&["8bit"], Coding::Identity),
            (&["none"], Coding::Identity),
            (&["base64"], Coding::Identity),
            (&["gzip, binary"], Coding::Gzip),
        ] {
            assert_eq!(of(values), Ok(coding), "{values:?}");
        }
        for values in
            [&["br"][..], &["compress"], &["gzip, gzip"], &["gzip", "deflate"], &["zstd"], &["binary, br"]]
        {
            assert!(of(values).is_err(), "{values:?}");
        }
    }

    #[test]
    fn codings_are_taken_off_within_their_bound() {
        let content = b"an order\n".repeat(30_000);
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(&content).unwrap();
        let mut bare = DeflateEncoder::new(Vec::new(), Compression::default());
        bare.write_all(&content).unwrap();
        let two = [gzip(&content[..100]), gzip(&content[100..])].concat();
        let most = content.len() as u64;
        for (coding, bytes) in [
            (Coding::Gzip, gzip(&content)),
            (Coding::Gzip, two),
            (Coding::Deflate, zlib.finish().unwrap()),
            (Coding::Deflate, bare.finish().unwrap()),
        ] {
            assert!(decoded(coding, &bytes, most).unwrap() == content, "{coding:?}");
            assert_eq!(rejection(decoded(coding, &bytes, most - 1)), Rejection::TooLarge { most: most - 1 });
            let cut = rejection(decoded(coding, &bytes[..bytes.len() / 2], most));
            assert_eq!(cut, Rejection::Undecodable { coding: coding.name() });
        }
        assert!(matches!(
            rejection(decoded(Coding::Gzip, b"UNB+UNOA:1", most)),
            Rejection::Undecodable { .. }
        ));
        // A bomb stops at the bound.
        let bomb = gzip(&vec![0; 50_000_000]);
        assert_eq!(rejection(decoded(Coding::Gzip, &bomb, 1000)), Rejection::TooLarge { most: 1000 });
    }

    #[test]
    fn a_fault_of_the_stream_below_stays_one() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other(Error::transient(ErrorKind::Unreachable, "receive the whole message")))
            }
        }
        for coding in [Coding::Gzip, Coding::Deflate] {
            let error = coding.decoder(Broken, 10).read(&mut [0; 10]).unwrap_err();
            assert!(error.downcast::<Error>().is_ok(), "{coding:?}");
        }
    }
}
