//! Character sets by the names that people write, and streams that decode and encode them.
//!
//! The names of the web standard (WHATWG) are known, with one difference: there `ISO-8859-1`, `US-ASCII` and
//! `ISO-8859-9` mean the code pages of Windows, which give bytes to characters that these sets do not have. Here they
//! mean what their standards say.

mod decode;
mod encode;
mod ibm;
mod single_byte;

pub(crate) use decode::{Decoder, Malformed};
pub(crate) use encode::{Encoder, Unmappable};
use encoding_rs::{
    Encoding, REPLACEMENT, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_874, WINDOWS_1252, WINDOWS_1254,
};
use encoding_rs::{WINDOWS_1250, WINDOWS_1251, X_USER_DEFINED};
use single_byte::Page;

/// A character set.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Charset {
    name: &'static str,
    form: Form,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Form {
    Utf8,
    /// Without an order of bytes, a byte order mark tells it.
    Utf16(Option<Order>),
    /// One byte for each character.
    SingleByte(&'static Page),
    Other(&'static Encoding),
}

/// The order of the two bytes of a unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    Big,
    Little,
}

/// Names that the web standard has not, or means otherwise.
const OWN: [(&str, Form, &[&str]); 15] = [
    ("UTF-8", Form::Utf8, &["utf8"]),
    ("UTF-16", Form::Utf16(None), &["utf16"]),
    ("UTF-16BE", Form::Utf16(Some(Order::Big)), &["utf16be"]),
    ("UTF-16LE", Form::Utf16(Some(Order::Little)), &["utf16le"]),
    ("US-ASCII", Form::SingleByte(&single_byte::ASCII), &["ascii", "usascii", "ansix341968", "iso646us"]),
    (
        "ISO-8859-1",
        Form::SingleByte(&single_byte::LATIN1),
        &["iso88591", "iso885911987", "latin1", "l1", "isoir100", "cp819", "ibm819"],
    ),
    (
        "ISO-8859-9",
        Form::SingleByte(&single_byte::LATIN5),
        &["iso88599", "iso885991989", "latin5", "l5", "isoir148"],
    ),
    ("IBM037", Form::SingleByte(&ibm::IBM037), &["ibm037", "cp037"]),
    ("IBM273", Form::SingleByte(&ibm::IBM273), &["ibm273", "cp273"]),
    ("IBM437", Form::SingleByte(&ibm::IBM437), &["ibm437", "cp437"]),
    ("IBM500", Form::SingleByte(&ibm::IBM500), &["ibm500", "cp500"]),
    ("IBM850", Form::SingleByte(&ibm::IBM850), &["ibm850", "cp850"]),
    ("IBM852", Form::SingleByte(&ibm::IBM852), &["ibm852", "cp852"]),
    ("IBM858", Form::SingleByte(&ibm::IBM858), &["ibm858", "ibm00858", "cp858", "cp00858"]),
    ("IBM1140", Form::SingleByte(&ibm::IBM1140), &["ibm1140", "ibm01140", "cp1140", "cp01140"]),
];

/// Names that are suggested for one that is not known.
const OFTEN_USED: [&str; 12] = [
    "UTF-8",
    "UTF-16",
    "UTF-16BE",
    "UTF-16LE",
    "US-ASCII",
    "ISO-8859-1",
    "ISO-8859-2",
    "ISO-8859-15",
    "windows-1252",
    "Shift_JIS",
    "GB18030",
    "IBM037",
];

impl Charset {
    pub(crate) const UTF_8: Self = Self { name: "UTF-8", form: Form::Utf8 };

    /// By its name, upper and lower case alike.
    ///
    /// # Errors
    /// It is not known, or cannot be written; the words follow the field's name.
    pub(crate) fn named(text: &str) -> Result<Self, String> {
        let plain: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
        let plain = plain.to_ascii_lowercase();
        if let Some((name, form, _)) = OWN.iter().find(|(_, _, names)| names.contains(&plain.as_str())) {
            return Ok(Self { name, form: *form });
        }
        let found = Encoding::for_label(text.as_bytes());
        let is_windows = plain.starts_with("windows") || plain.contains("cp125");
        match found {
            // Other names of what stands above mean a page of Windows only in browsers.
            Some(encoding) if encoding == WINDOWS_1252 && !is_windows => Self::named("ISO-8859-1"),
            Some(encoding) if encoding == WINDOWS_1254 && !is_windows => Self::named("ISO-8859-9"),
            Some(encoding) if encoding == WINDOWS_874 && !is_windows => {
                Err(format!("is '{text}'; write 'windows-874', which contains it"))
            }
            Some(encoding) if [REPLACEMENT, X_USER_DEFINED].contains(&encoding) => {
                Err(format!("is '{text}', which cannot be converted"))
            }
            Some(encoding) if encoding == UTF_8 => Ok(Self::UTF_8),
            Some(encoding) if encoding == UTF_16LE => Self::named("UTF-16LE"),
            Some(encoding) if encoding == UTF_16BE => Self::named("UTF-16BE"),
            Some(encoding) => Ok(Self { name: encoding.name(), form: Form::Other(encoding) }),
            None => Err(unknown(text)),
        }
    }

    /// Its usual name.
    pub(crate) const fn name(self) -> &'static str {
        self.name
    }
}

fn unknown(text: &str) -> String {
    let names = OFTEN_USED.iter().chain(OWN.iter().map(|(name, _, _)| name)).copied();
    let more = [WINDOWS_1250, WINDOWS_1251].map(Encoding::name);
    let near = model::did_you_mean(text, names.chain(more));
    if near.is_empty() {
        return format!(
            "is '{text}', which is no known character set; write one such as \"UTF-8\", \"ISO-8859-1\", \"windows-1252\", \
             \"UTF-16LE\" or \"IBM037\""
        );
    }
    format!("is '{text}', which is no known character set{near}")
}

#[cfg(test)]
mod tests;
