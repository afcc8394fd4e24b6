//! What a server says that it can (FEAT, RFC 2389).

use super::reply::Reply;

/// The features that are used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Features {
    /// MLST and MLSD: listings for programs (RFC 3659, 7).
    pub(crate) mlst: bool,
    /// MFMT: setting the time of a file.
    pub(crate) mfmt: bool,
    /// UTF8 (RFC 2640).
    pub(crate) utf8: bool,
}

impl Features {
    /// From the answer to FEAT; a server without FEAT has none.
    pub(crate) fn read(reply: &Reply) -> Self {
        let mut features = Self::default();
        if !reply.is_done() {
            return features;
        }
        for line in reply.inner() {
            let word = line.trim_ascii().split(|byte| *byte == b' ').next().unwrap_or_default();
            match word.to_ascii_uppercase().as_slice() {
                b"MLST" | b"MLSD" => features.mlst = true,
                b"MFMT" => features.mfmt = true,
                b"UTF8" => features.utf8 = true,
                _ => {}
            }
        }
        features
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_read_in_any_case() {
        let lines = ["Features:", " mlst Type*;Size*;Modify*;", " UTF8", " REST STREAM", "End"];
        let reply = Reply { code: 211, lines: lines.map(|line| line.as_bytes().to_vec()).into() };
        assert_eq!(Features::read(&reply), Features { mlst: true, mfmt: false, utf8: true });
        let refused = Reply { code: 502, ..reply };
        assert_eq!(Features::read(&refused), Features::default());
    }
}
