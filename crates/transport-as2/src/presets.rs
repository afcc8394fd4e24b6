//! Partners with known products: what of their definition differs from the defaults, and what is known of the product.
//!
//! A preset is text for a definition, not an option: what is in force stands in the partner's document, where it can be seen and
//! changed. Only what was measured against the product, or seen of it by others, is here.

/// What is known of a product.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Preset {
    /// Its name for the command line.
    pub name: &'static str,
    /// The product.
    pub product: &'static str,
    /// What differs from the defaults.
    pub fields: &'static [PresetField],
    /// What else is known: how it behaves, and which options to leave as they are.
    pub notes: &'static [&'static str],
}

/// A field of a partner's table `as2` that differs from its default.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PresetField {
    /// Its path, such as `send.digest`.
    pub path: &'static str,
    /// Its value as TOML.
    pub value: &'static str,
    /// Why.
    pub why: &'static str,
}

const fn field(path: &'static str, value: &'static str, why: &'static str) -> PresetField {
    PresetField { path, value, why }
}

/// All presets, in the order in which they are listed.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "default",
        product: "a product that is not listed here",
        fields: &[],
        notes: &[
            "The defaults: signed (SHA-256, RSA PKCS #1 v1.5), encrypted (AES-256-CBC), not compressed, Content-Length, a signed \
             synchronous receipt.",
            "`waybill as2 ping` shows whether they fit.",
        ],
    },
    Preset {
        name: "mendelson",
        product: "Mendelson AS2",
        fields: &[],
        notes: &["Signs and digests text as it is, without changing line ends: so does Waybill."],
    },
    Preset {
        name: "amazon",
        product: "Amazon",
        fields: &[],
        notes: &[
            "Signs and digests text as it is, without changing line ends: so does Waybill.",
            "Sends CMS in BER with indefinite lengths (30 80): it is read as it comes.",
        ],
    },
    Preset { name: "sterling", product: "IBM Sterling", fields: &[], notes: &[CANONICAL, CANONICAL_READ] },
    Preset { name: "opentext", product: "OpenText", fields: &[], notes: &[CANONICAL, CANONICAL_READ] },
    Preset {
        name: "pyas2",
        product: "pyas2lib and django-pyas2",
        fields: &[],
        notes: &[
            "Leave send.cipher as it is: it takes the ciphertext of AES-GCM for the payload (tested with 1.4.4).",
            "Its receipts are signed also where unsigned ones were asked for, and have no MIC for messages that are not signed.",
            "Send several files in one message encrypted, or compressed before they are signed: a signature directly over several \
             files it cannot verify (tested with 1.4.4).",
            "Takes whole messages as bytes in memory: agree on a largest file.",
        ],
    },
    Preset {
        name: "libas2",
        product: "libas2 (Node.js)",
        fields: &[field(
            "send.security",
            "\"encrypted\"",
            "it verifies no signature over other bytes than ASCII (tested with 0.8.2); leave this out for files of ASCII text",
        )],
        notes: &[
            "Nothing proves who sent a message that is encrypted and not signed, and its receipts have no MIC for what is not signed.",
            "Leave send.rsa_signature and send.cipher as they are, and give it an RSA certificate: it verifies no RSA-PSS, and \
             reads neither AuthEnvelopedData (AES-GCM) nor ECDH but its own.",
            "Its own AES-GCM is inside EnvelopedData: it is read.",
        ],
    },
    Preset {
        name: "gisb",
        product: "a system of the gas industry (GISB Electronic Delivery Mechanism 1.3; today NAESB)",
        fields: &[
            field("form.post", "true", "messages are posted as HTML forms"),
            field("form.version", "\"1.3\"", "the version of the mechanism"),
            field(
                "form.input_format",
                "\"X12\"",
                "what the files are; notifications of errors say \"error\"",
            ),
            field("mdn.report_type", "\"GISB-Acknowledgement-Receipt\"", "its receipts are no MDNs"),
            field(
                "mdn.ask",
                "\"unsigned\"",
                "its receipts are signed only where that was agreed: \"signed\" then",
            ),
            field("send.packaging", "\"pgp\"", "it reads PGP; write the partner's keys into pgp_keys"),
            field("send.signature_form", "\"opaque\"", "it expects the signature inside what is encrypted"),
        ],
        notes: &[
            "Write D-U-N-S numbers into `id` of both sides: they are the fields `from` and `to`.",
            "Receipts come in the answers. For the login at its server: credential and authentication = \"basic\" of the endpoint; for \
             its login here: credential of the listener.",
            "`transaction_set` of a flow's destination (table `form`) names the transaction. For errors after the acknowledgement: \
             on_failure of the flow, to a destination with error_notification = true (docs/gisb.md).",
        ],
    },
    Preset {
        name: "old",
        product: "an old installation that knows neither SHA-2 nor AES",
        fields: &[
            field(
                "legacy",
                "true",
                "allows MD5, SHA-1, triple DES and short keys with this partner; each use is a warning event",
            ),
            field("send.digest", "\"sha1\"", "it verifies no SHA-2"),
            field("send.cipher", "\"3des\"", "it reads no AES"),
        ],
        notes: &[
            "Take these out again as soon as the partner has changed its product: SHA-1 and triple DES are broken or weak.",
        ],
    },
];

/// What products that rewrite line ends do to text.
const CANONICAL: &str = "Digests text with every line end as CRLF. Where files have other line ends, send them as binary: \
     media_type = \"application/octet-stream\" of the endpoint, or write CRLF into the files.";
/// What Waybill does with theirs.
const CANONICAL_READ: &str = "Where the MIC of its receipt does not match, the error lists the MIC by every rule, and names \
     the one that it used.";

/// The preset of this name.
#[must_use]
pub fn preset(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

impl Preset {
    /// The document of a partner with this product, as TOML. `partner` is its name in the definitions.
    #[must_use]
    pub fn document(&self, partner: &str) -> String {
        let mut text = String::new();
        let mut add = |line: &str| {
            text.push_str(line);
            text.push('\n');
        };
        add(&format!("# A partner with {}.", self.product));
        for note in self.notes {
            add(&format!("# {note}"));
        }
        add(&format!("[partner.{partner}.as2]"));
        add(&format!("id = \"{}\"    # the partner's AS2 name, letter by letter", partner.to_uppercase()));
        add(&format!(
            "certificates = [\"{partner}\"]    # [certificate.{partner}]: `waybill cert import FILE --name {partner}`"
        ));
        for PresetField { path, value, why } in self.fields {
            add(&format!("{path} = {value}    # {why}"));
        }
        if self.fields.is_empty() {
            add("# Nothing else differs from the defaults.");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{PRESETS, Preset, preset};
    use std::collections::BTreeSet;

    #[test]
    fn presets_have_names_of_their_own_and_say_something() {
        let names: BTreeSet<&str> = PRESETS.iter().map(|preset| preset.name).collect();
        assert_eq!(names.len(), PRESETS.len());
        assert!(PRESETS.iter().all(|preset| !preset.product.is_empty() && !preset.notes.is_empty()));
        assert_eq!(preset("amazon").map(|preset| preset.product), Some("Amazon"));
        assert_eq!(preset("no such"), None);
    }

    #[test]
    fn a_document_has_what_differs_and_why() {
        let text = preset("old").map(|preset| Preset::document(preset, "globex")).unwrap_or_default();
        assert!(text.contains("[partner.globex.as2]\nid = \"GLOBEX\""), "{text}");
        assert!(
            text.contains("\nlegacy = true    # ") && text.contains("\nsend.cipher = \"3des\"    # "),
            "{text}"
        );
        let text = preset("default").map(|preset| preset.document("globex")).unwrap_or_default();
        assert!(text.ends_with("# Nothing else differs from the defaults.\n"), "{text}");
    }
}
