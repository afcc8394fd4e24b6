//! What a server says that it can (FEAT, RFC 2389).

use super::reply::Reply;
use transport::folder::ChecksumKind;

/// The features that are used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Features {
    /// MLST and MLSD: listings for programs (RFC 3659, 7).
    pub(crate) mlst: bool,
    /// MFMT: setting the time of a file.
    pub(crate) mfmt: bool,
    /// UTF8 (RFC 2640).
    pub(crate) utf8: bool,
    /// Which checksums HASH computes, in the order of [`ChecksumKind::BY_PREFERENCE`].
    pub(crate) hashes: [bool; 4],
    /// The commands that compute one of them, in the same order.
    pub(crate) checksum_commands: [Option<&'static str>; 4],
}

impl Features {
    /// From the answer to FEAT; a server without FEAT has none.
    pub(crate) fn read(reply: &Reply) -> Self {
        let mut features = Self::default();
        if !reply.is_done() {
            return features;
        }
        for line in reply.inner() {
            let mut words = line.trim_ascii().split(|byte| *byte == b' ');
            let word = words.next().unwrap_or_default();
            match word.to_ascii_uppercase().as_slice() {
                b"MLST" | b"MLSD" => features.mlst = true,
                b"MFMT" => features.mfmt = true,
                b"UTF8" => features.utf8 = true,
                // `HASH SHA-256*;SHA-1;MD5`, a star at the one in force.
                b"HASH" => {
                    let offered = words.next().unwrap_or_default();
                    for name in offered.split(|byte| *byte == b';') {
                        let name = name.strip_suffix(b"*").unwrap_or(name);
                        let is_named =
                            |kind: &ChecksumKind| name.eq_ignore_ascii_case(kind.name().as_bytes());
                        if let Some(place) = ChecksumKind::BY_PREFERENCE.iter().position(is_named) {
                            features.hashes[place] = true;
                        }
                    }
                }
                b"XSHA256" => features.checksum_commands[0] = Some("XSHA256"),
                b"XSHA512" => features.checksum_commands[1] = Some("XSHA512"),
                b"XSHA1" => features.checksum_commands[2] = Some("XSHA1"),
                b"XSHA" => features.checksum_commands[2] = features.checksum_commands[2].or(Some("XSHA")),
                b"XMD5" => features.checksum_commands[3] = Some("XMD5"),
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
        let lines = [
            "Features:",
            " mlst Type*;Size*;Modify*;",
            " UTF8",
            " REST STREAM",
            " HASH CRC32;MD5;SHA-1*;SHA-256",
            " XSHA",
            "End",
        ];
        let reply = Reply { code: 211, lines: lines.map(|line| line.as_bytes().to_vec()).into() };
        let features = Features {
            mlst: true,
            mfmt: false,
            utf8: true,
            hashes: [true, false, true, true],
            checksum_commands: [None, None, Some("XSHA"), None],
        };
        assert_eq!(Features::read(&reply), features);
        let refused = Reply { code: 502, ..reply };
        assert_eq!(Features::read(&refused), Features::default());
    }
}
