//! The ciphers that encrypt content: their parameters in CMS, and the library's implementation of each.
//!
//! RC2 is in OpenSSL's legacy provider alone. That one is loaded into a library context of its own: loaded into the
//! process's context, it would switch off the default provider there, or offer its weak algorithms to everybody.

use std::sync::OnceLock;

use openssl::cipher::{self, CipherRef};
use openssl::cipher_ctx::CipherCtx;
use openssl::error::ErrorStack;
use openssl::lib_ctx::LibCtx;
use openssl::provider::Provider;
use zeroize::Zeroizing;

use crate::algorithm::{Cipher, oid};
use crate::der::{self, Element};
use crate::error::{CryptoContext, Error, Result};

/// A shorter tag would be too easy to guess (RFC 5084 section 3.2 allows 12 to 16).
const SHORTEST_TAG: usize = 12;
pub(crate) const LONGEST_TAG: usize = 16;
/// GCM takes nonces of other lengths than the 12 bytes that RFC 5084 recommends.
const LONGEST_NONCE: usize = 16;

/// The state of a cipher within one content.
pub(crate) struct ContentCipher(CipherCtx);

impl ContentCipher {
    /// Key and IV must have the cipher's lengths.
    pub(crate) fn encrypting(cipher: Cipher, key: &[u8], iv: &[u8]) -> Result<Self> {
        let mut context = CipherCtx::new().during("encrypt")?;
        context.encrypt_init(Some(implementation(cipher)?), Some(key), Some(iv)).during("encrypt")?;
        Ok(ContentCipher(context))
    }

    /// The key must have the cipher's length, and the IV one that the cipher takes.
    pub(crate) fn decrypting(cipher: Cipher, key: &[u8], iv: &[u8]) -> Result<Self> {
        let mut context = CipherCtx::new().during("decrypt")?;
        context.decrypt_init(Some(implementation(cipher)?), None, None).during("decrypt")?;
        if iv.len() != cipher.iv_len() {
            context.set_iv_length(iv.len()).during("decrypt")?;
        }
        context.decrypt_init(None, Some(key), Some(iv)).during("decrypt")?;
        Ok(ContentCipher(context))
    }

    /// Writes what `input` gives to `out`, which must be longer than it by a block.
    pub(crate) fn update(&mut self, input: &[u8], out: &mut [u8]) -> Result<usize, ErrorStack> {
        self.0.cipher_update(input, Some(out))
    }

    /// Checks padding or tag; `out` must have room for a block.
    pub(crate) fn finish(&mut self, out: &mut [u8]) -> Result<usize, ErrorStack> {
        self.0.cipher_final(out)
    }

    pub(crate) fn tag(&self, tag: &mut [u8]) -> Result<(), ErrorStack> {
        self.0.tag(tag)
    }

    pub(crate) fn set_tag(&mut self, tag: &[u8]) -> Result<(), ErrorStack> {
        self.0.set_tag(tag)
    }
}

/// The plaintext of the first whole blocks of a content, nothing checked.
pub(crate) fn first_plaintext(
    cipher: Cipher,
    key: &[u8],
    iv: &[u8],
    first: &[u8],
) -> Result<Zeroizing<Vec<u8>>> {
    let mut context = ContentCipher::decrypting(cipher, key, iv)?;
    context.0.set_padding(false);
    let whole = first.len() - first.len() % cipher.block_len();
    let mut plain = Zeroizing::new(vec![0; whole + cipher.block_len()]);
    let len = context.update(&first[..whole], &mut plain).during("decrypt")?;
    plain.truncate(len);
    Ok(plain)
}

/// The library's cipher; an error where it has none on this machine.
pub(crate) fn implementation(cipher: Cipher) -> Result<&'static CipherRef> {
    let found: &'static CipherRef = match cipher {
        Cipher::Aes128Cbc => cipher::Cipher::aes_128_cbc(),
        Cipher::Aes192Cbc => cipher::Cipher::aes_192_cbc(),
        Cipher::Aes256Cbc => cipher::Cipher::aes_256_cbc(),
        Cipher::TripleDesCbc => cipher::Cipher::des_ede3_cbc(),
        Cipher::Aes128Gcm => cipher::Cipher::aes_128_gcm(),
        Cipher::Aes192Gcm => cipher::Cipher::aes_192_gcm(),
        Cipher::Aes256Gcm => cipher::Cipher::aes_256_gcm(),
        Cipher::ChaCha20Poly1305 => cipher::Cipher::chacha20_poly1305(),
        Cipher::Rc2Cbc128 => &legacy()?.rc2,
        Cipher::Rc2Cbc64 => &legacy()?.rc2_64,
        Cipher::Rc2Cbc40 => &legacy()?.rc2_40,
    };
    Ok(found)
}

/// RC2 by its effective key lengths, which the library offers as ciphers of their own.
struct Legacy {
    rc2: cipher::Cipher,
    rc2_64: cipher::Cipher,
    rc2_40: cipher::Cipher,
    _provider: Provider,
    _context: LibCtx,
}

impl Legacy {
    fn load() -> Result<Legacy, ErrorStack> {
        let context = LibCtx::new()?;
        let provider = Provider::load(Some(&context), "legacy")?;
        let fetch = |name| cipher::Cipher::fetch(Some(&context), name, None);
        Ok(Legacy {
            rc2: fetch("RC2-CBC")?,
            rc2_64: fetch("RC2-64-CBC")?,
            rc2_40: fetch("RC2-40-CBC")?,
            _provider: provider,
            _context: context,
        })
    }
}

fn legacy() -> Result<&'static Legacy> {
    static LEGACY: OnceLock<Result<Legacy, ErrorStack>> = OnceLock::new();
    LEGACY.get_or_init(Legacy::load).as_ref().map_err(|error| {
        Error::unsupported(format!(
            "RC2, because OpenSSL's legacy provider (the file legacy.so) cannot be loaded on this machine: {error}"
        ))
    })
}

/// The AlgorithmIdentifier of a content that is encrypted with `cipher` and `iv`.
pub(crate) fn identifier(cipher: Cipher, iv: &[u8]) -> Vec<u8> {
    let iv = der::octet_string(iv);
    let parameters = match rc2_version(cipher) {
        // RC2-CBCParameter (RFC 2268 section 6). As an INTEGER a version from 128 on begins with a zero byte.
        Some(version) => {
            let version = if version < 0x80 { vec![version] } else { vec![0, version] };
            der::sequence(&[&der::element(der::INTEGER, &[&version]), &iv])
        }
        // RFC 8103 section 3: the nonce alone.
        None if cipher == Cipher::ChaCha20Poly1305 => iv,
        None if cipher.is_authenticated() => der::sequence(&[&iv, &der::integer(LONGEST_TAG as u8)]),
        None => iv,
    };
    der::sequence(&[&der::oid(cipher.oid()), &parameters])
}

/// rc2ParameterVersion: the effective key length in the numbers of RFC 2268 section 6.
fn rc2_version(cipher: Cipher) -> Option<u8> {
    match cipher {
        Cipher::Rc2Cbc128 => Some(58),
        Cipher::Rc2Cbc64 => Some(120),
        Cipher::Rc2Cbc40 => Some(160),
        _ => None,
    }
}

/// A contentEncryptionAlgorithm as received.
pub(crate) struct Parameters {
    pub(crate) cipher: Cipher,
    pub(crate) iv: Vec<u8>,
    pub(crate) tag_len: usize,
}

impl Parameters {
    pub(crate) fn parse(algorithm: &Element<'_>) -> Result<Parameters> {
        let mut fields = algorithm.children();
        let kind = fields.required("algorithm")?.content;
        let parameters = fields.required("parameters")?;
        if kind == oid::RC2_CBC {
            return Parameters::of_rc2(&parameters);
        }
        let cipher = Cipher::from_oid(kind)
            .ok_or_else(|| Error::unsupported(format!("content encryption {}", der::dotted(kind))))?;
        let (iv, tag_len) = match cipher {
            Cipher::ChaCha20Poly1305 => (parameters.octets()?.into_owned(), LONGEST_TAG),
            // libas2 writes GCM's nonce as it does CBC's IV, alone and of 16 bytes.
            _ if cipher.is_authenticated() && parameters.tag == der::OCTET_STRING => {
                (parameters.octets()?.into_owned(), LONGEST_TAG)
            }
            _ if cipher.is_authenticated() => {
                // GCMParameters (RFC 5084 section 3.2): the length of the tag is 12 unless it is said.
                let mut fields = parameters.children();
                let nonce = fields.required("nonce")?.octets()?.into_owned();
                (nonce, fields.next()?.map_or(Ok(12), |len| len.small_integer())? as usize)
            }
            _ => (parameters.octets()?.into_owned(), LONGEST_TAG),
        };
        Parameters { cipher, iv, tag_len }.checked()
    }

    fn of_rc2(parameters: &Element<'_>) -> Result<Parameters> {
        if parameters.tag != der::SEQUENCE {
            // Without a version the effective key has 32 bits (RFC 2268 section 6).
            return Err(Error::unsupported("RC2 with an effective key of 32 bits"));
        }
        let mut fields = parameters.children();
        let version = fields.required("rc2ParameterVersion")?.small_integer()?;
        let iv = fields.required("iv")?.octets()?.into_owned();
        let known = [Cipher::Rc2Cbc128, Cipher::Rc2Cbc64, Cipher::Rc2Cbc40];
        let cipher = known.into_iter().find(|cipher| rc2_version(*cipher).map(u64::from) == Some(version));
        let cipher =
            cipher.ok_or_else(|| Error::unsupported(format!("RC2 with parameters of version {version}")))?;
        Parameters { cipher, iv, tag_len: LONGEST_TAG }.checked()
    }

    fn checked(self) -> Result<Parameters> {
        let Parameters { cipher, iv, tag_len } = &self;
        let is_gcm = cipher.is_authenticated() && *cipher != Cipher::ChaCha20Poly1305;
        let longest_iv = if is_gcm { LONGEST_NONCE } else { cipher.iv_len() };
        if !(cipher.iv_len()..=longest_iv).contains(&iv.len())
            || !(SHORTEST_TAG..=LONGEST_TAG).contains(tag_len)
        {
            return Err(Error::unsupported(format!(
                "{} with an IV of {} and a tag of {tag_len} bytes",
                cipher.name(),
                iv.len()
            )));
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_parameters_are_read_back() {
        for cipher in Cipher::ALL {
            let iv = vec![7; cipher.iv_len()];
            let written = identifier(cipher, &iv);
            let read = Parameters::parse(&Element::parse(&written).unwrap()).unwrap();
            assert_eq!((read.cipher, read.iv), (cipher, iv));
        }
        let version = |number: u8| {
            let version = der::element(der::INTEGER, &[&[0, number]]);
            let parameters = der::sequence(&[&version, &der::octet_string(&[7; 8])]);
            let algorithm = der::sequence(&[&der::oid(oid::RC2_CBC), &parameters]);
            Parameters::parse(&Element::parse(&algorithm).unwrap()).map(|read| read.cipher)
        };
        assert_eq!(version(160).unwrap(), Cipher::Rc2Cbc40);
        let fault = version(59).unwrap_err().to_string();
        assert_eq!(fault, "not supported: RC2 with parameters of version 59");
        let nonce = der::sequence(&[&der::oid(Cipher::Aes256Gcm.oid()), &der::octet_string(&[7; 16])]);
        let read = Parameters::parse(&Element::parse(&nonce).unwrap()).unwrap();
        assert_eq!((read.cipher, read.iv, read.tag_len), (Cipher::Aes256Gcm, vec![7; 16], 16));
        let bare = der::sequence(&[&der::oid(oid::RC2_CBC), &der::octet_string(&[7; 8])]);
        let fault = Parameters::parse(&Element::parse(&bare).unwrap()).err().unwrap().to_string();
        assert_eq!(fault, "not supported: RC2 with an effective key of 32 bits");
    }
    #[test]
    fn gcm_is_decrypted_with_a_nonce_of_sixteen_bytes() {
        let (key, nonce, mut tag) = ([1; 32], [2; 16], [0; 16]);
        let aes = openssl::symm::Cipher::aes_256_gcm();
        let content =
            openssl::symm::encrypt_aead(aes, &key, Some(&nonce), &[], b"content", &mut tag).unwrap();
        let mut cipher = ContentCipher::decrypting(Cipher::Aes256Gcm, &key, &nonce).unwrap();
        let mut out = [0; 32];
        assert_eq!(cipher.update(&content, &mut out).unwrap(), 7);
        cipher.set_tag(&tag).unwrap();
        assert_eq!(cipher.finish(&mut [0; 16]).unwrap(), 0);
        assert_eq!(&out[..7], b"content");
    }
}
