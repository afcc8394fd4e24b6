//! What a package says of itself, for people: what is in it, and how it is checked with OpenSSL and GnuPG alone.

use super::{
    CANONICAL, CONTENT, EvidencePackage, RECEIPT_BYTES, RECEIPT_FILE, RECEIPT_PGP_SIGNATURE,
    RECEIPT_SIGNATURE, covered_files, path_of,
};
use model::PayloadRecord;
use model::evidence::{Covered, MessageFacts, MessageWay, PGP_SIGNATURE, PGP_SIGNER, SIGNATURE};
use std::fmt::Write as _;

/// The words of a package.
pub(super) struct Readme<'a> {
    pub(super) package: &'a EvidencePackage,
    pub(super) facts: &'a MessageFacts,
    pub(super) content: Option<&'a PayloadRecord>,
    /// Where the signature of the receipt is, if the receipt is there in two parts too: what was signed, and the signature.
    pub(super) split: Option<&'static str>,
}

/// What `openssl dgst` calls the digests of MICs.
const DIGESTS: [(&str, &str); 6] = [
    ("sha256", "-sha256"),
    ("sha384", "-sha384"),
    ("sha512", "-sha512"),
    ("sha224", "-sha224"),
    ("sha1", "-sha1"),
    ("md5", "-md5"),
];

/// What GnuPG says of a signature that holds.
const GOOD: &str = "It must say \"Good signature\". That it does not know whose key this is (\"not certified with a trusted signature\")\n\
                    leaves it to you to compare the fingerprint that it shows.\n";

/// The commands that verify an OpenPGP signature by these keys, which are put into a directory of their own.
fn by_gnupg(keys: &[String], home: &str, signature: &str, content: &str) -> String {
    format!(
        "    mkdir -p -m 700 {home}\n    \
         gpg --homedir ./{home} --import {}\n    \
         gpg --homedir ./{home} --verify {signature} {content}\n",
        keys.join(" ")
    )
}

impl Readme<'_> {
    /// The whole text, with line ends that every editor shows.
    pub(super) fn text(&self) -> String {
        let sections =
            [self.message(), self.whole(), self.signature(), self.mic(), self.receipt(), self.audit()];
        sections.into_iter().flatten().collect::<Vec<_>>().join("\n").replace('\n', "\r\n")
    }

    fn message(&self) -> Option<String> {
        let facts = self.facts;
        let mut text = String::from("EVIDENCE OF ONE AS2 MESSAGE\n\n");
        let way = match facts.way {
            MessageWay::Received => "received from",
            MessageWay::Sent => "sent to",
        };
        let view = &self.package.evidence.view;
        let mut line = |name: &str, value: &str| {
            // Writing to a text cannot fail.
            let _ = writeln!(text, "{name:<14} {value}");
        };
        line("Message-ID", &facts.message_id);
        line("AS2-From", &facts.as2_from);
        line("AS2-To", &facts.as2_to);
        line("This message", &format!("was {way} partner {}", facts.partner));
        for (name, value) in [("Subject", &facts.subject), ("Date", &facts.date), ("MIC", &facts.mic)] {
            if let Some(value) = value {
                line(name, value);
            }
        }
        line("Recorded", &view.recorded_at.to_rfc3339());
        for transfer in &self.package.evidence.transfers {
            line("File", &transfer.file_name.to_text());
        }
        line("Evidence", &view.id.to_string());
        let (tools, compare) = match self.has_pgp() {
            true => (
                "OpenSSL 3 and GnuPG",
                "compare the keys and certificates with those that you\n\
                 know to be the partners' (gpg --show-keys --with-subkey-fingerprint FILE; openssl x509 -in FILE -noout\n\
                 -subject -dates -fingerprint -sha256).",
            ),
            false => (
                "OpenSSL 3",
                "compare the certificates with those that you know to\n\
                 be the partners' (openssl x509 -in certificates/signer.pem -noout -subject -dates -fingerprint -sha256).",
            ),
        };
        let _ = write!(
            text,
            "\nevidence.json says the same for programs, with the SHA-256 of each file here. With Waybill, all of the\n\
             following is checked by\n\n    waybill as2 verify FILE.zip\n\n\
             and with {tools} as follows. What remains for you: {compare}\n"
        );
        if self.content.is_none() {
            text.push_str(&self.without_content());
        }
        Some(text)
    }

    /// Whether OpenPGP has signed the message or the receipt.
    fn has_pgp(&self) -> bool {
        self.package.has(PGP_SIGNATURE) || self.split == Some(RECEIPT_PGP_SIGNATURE)
    }

    fn without_content(&self) -> String {
        match &self.package.evidence.content {
            Some(content) => format!(
                "\nTHE CONTENT IS NOT HERE. It was removed on {}, as evidence.content = false of the partner or the\n\
                 flow's retention says. It had {} bytes and this SHA-256: {}.\n\
                 If you have the file, put it here as {CONTENT}.\n",
                content.removed_at.map(|at| at.to_rfc3339()).unwrap_or_default(),
                content.payload.length,
                content.payload.content.sha256().map(|hash| hash.to_string()).unwrap_or_default()
            ),
            None => "\nTHE CONTENT IS NOT HERE: the message had several parts, or another layer inside its signature,\n\
                     and evidence.content = false of the partner keeps no copy of that.\n"
                .to_owned(),
        }
    }

    /// How the bytes are put together that everything else is about.
    fn whole(&self) -> Option<String> {
        let files = covered_files(self.facts.covered, self.facts.canonical);
        if files.is_empty() {
            return None;
        }
        if self.content.is_none() && self.facts.canonical {
            return Some(self.whole_without_canonical());
        }
        Some(format!(
            "1. THE BYTES THAT WERE SIGNED\n\n\
             The header section of the message's content and the content itself, one behind the other:\n\n    \
             cat {} > signed.bin\n",
            files.join(" ")
        ))
    }

    /// The same where the content was removed, and what was signed is a form of it that nothing here has.
    fn whole_without_canonical(&self) -> String {
        let files = covered_files(self.facts.covered, false);
        format!(
            "1. THE BYTES THAT WERE SIGNED\n\n\
             The partner read every bare line feed as CRLF when it signed. With the file as {CONTENT} they are\n\n    \
             cat {} | perl -pe 's/(?<!\\r)\\n/\\r\\n/' > signed.bin\n\n\
             which is what {CANONICAL} would be.\n",
            files.join(" ")
        )
    }

    fn signature(&self) -> Option<String> {
        if self.package.has(PGP_SIGNATURE) && self.facts.covered != Covered::NotKept {
            let checked =
                by_gnupg(&[path_of(PGP_SIGNER)], "gnupg-sender", &path_of(PGP_SIGNATURE), "signed.bin");
            return Some(format!("2. THE SIGNATURE: who sent which bytes\n\n{checked}\n{GOOD}"));
        }
        if !self.package.has(SIGNATURE) || self.facts.covered == Covered::NotKept {
            return Some("2. THE SIGNATURE\n\nNothing here can be checked: the message was not signed, or what was signed is not kept.\n".to_owned());
        }
        Some(
            "2. THE SIGNATURE: who sent which bytes\n\n    \
             openssl cms -verify -binary -inform DER -in message/signature.p7s -content signed.bin \\\n        \
             -certfile certificates/signer.pem -nointern -noverify -out verified.bin\n\n\
             It must say \"CMS Verification successful\". Of an old certificate -noverify leaves the dates to you.\n"
                .to_owned(),
        )
    }

    fn mic(&self) -> Option<String> {
        let (mic, name) = self.facts.mic.as_ref()?.split_once(',')?;
        let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        let option = DIGESTS.iter().find(|(known, _)| plain.eq_ignore_ascii_case(known))?.1;
        if covered_files(self.facts.covered, self.facts.canonical).is_empty() {
            return None;
        }
        Some(format!(
            "3. THE MIC: the digest that a receipt names\n\n    \
             openssl dgst {option} -binary signed.bin | openssl base64 -A\n\n\
             It must print {mic}\n"
        ))
    }

    fn receipt(&self) -> Option<String> {
        if !self.package.has_receipt() {
            return Some("4. THE RECEIPT\n\nThere is none: none was asked for.\n".to_owned());
        }
        let signers: Vec<String> = self.package.receipt_signers().collect();
        let by = match self.facts.way {
            MessageWay::Received => "we confirmed the message",
            MessageWay::Sent => "the partner confirmed the message",
        };
        let keys: Vec<String> = self.package.receipt_keys().collect();
        let checked = if self.split == Some(RECEIPT_PGP_SIGNATURE) && keys.is_empty() {
            "It is signed by OpenPGP, and no key that may verify it is here.\n".to_owned()
        } else if self.split == Some(RECEIPT_PGP_SIGNATURE) {
            format!(
                "{}\n{GOOD}{RECEIPT_BYTES} and {RECEIPT_PGP_SIGNATURE} are the two parts of {RECEIPT_FILE}.\n",
                by_gnupg(&keys, "gnupg-receiver", RECEIPT_PGP_SIGNATURE, RECEIPT_BYTES)
            )
        } else if signers.is_empty() {
            "It is not signed.\n".to_owned()
        } else {
            let one = |signer: &String| match self.split.is_some() {
                true => format!(
                    "    openssl cms -verify -binary -inform DER -in {RECEIPT_SIGNATURE} -content {RECEIPT_BYTES} \\\n        \
                     -certfile {signer} -nointern -noverify -out verified-receipt.bin\n"
                ),
                false => format!(
                    "    openssl cms -verify -in {RECEIPT_FILE} -inform SMIME -certfile {signer} -nointern -noverify\n"
                ),
            };
            let each: Vec<String> = signers.iter().map(one).collect();
            format!(
                "One of these must say \"CMS Verification successful\":\n\n{}\n\
                 A receipt that is not signed, though it might have been, is read with an editor.\n{}",
                each.concat(),
                if self.split.is_some() {
                    format!(
                        "{RECEIPT_BYTES} and {RECEIPT_SIGNATURE} are the two parts of {RECEIPT_FILE}, decoded.\n"
                    )
                } else {
                    String::new()
                }
            )
        };
        Some(format!(
            "4. THE RECEIPT: {by}\n\n{checked}\
             Its Original-Message-ID must be the Message-ID above, its Disposition must end in \"processed\" (a warning\n\
             may follow), and its Received-content-MIC, if it has one, must be the MIC above.\n"
        ))
    }

    fn audit(&self) -> Option<String> {
        let mut text = String::from(
            "5. THE AUDIT TRAIL: when, and that nothing of this was changed since\n\n\
             audit/events.jsonl has the gateway's events of this message, one a line. audit/seals.jsonl has the seals over\n\
             them: \"digest\" is the SHA-256 of \"header\", and \"signature\" is over the digest by the key whose id\n\
             the header names. audit/seal-N.members lists what seal N covers: 16 bytes of an event's id and 32 of the\n\
             SHA-256 of its line, each; the SHA-256 of that file is \"members\" in the header. Of line L of the events, and line S\n\
             of the seals (jq takes the escapes out of the header, which is a text in JSON: \\\" there is \"):\n\n    \
             sed -n Lp audit/events.jsonl | tr -d '\\n' | openssl dgst -sha256\n    \
             xxd -p -c 48 audit/seal-N.members | grep HASH\n    \
             openssl dgst -sha256 audit/seal-N.members\n    \
             sed -n Sp audit/seals.jsonl | jq -j .header | openssl dgst -sha256 -binary > digest.bin\n    \
             sed -n Sp audit/seals.jsonl | jq -j .signature | xxd -r -p > signature.bin\n    \
             openssl pkeyutl -verify -pubin -rawin -inkey audit/seal-key-ID.pem -in digest.bin -sigfile signature.bin\n\n\
             The last must say \"Signature Verified Successfully\", with a key that you know to be the gateway's: the one here\n\
             came with the package. An event that no seal covers proves nothing.\n\
             The event that has this evidence's id has \"evidence_digest\": \"digest\" of evidence.json.\n",
        );
        if !self.package.is_sealed() {
            text.push_str("\nNo seal covers these events yet, or their month was removed at the end of its retention.\n");
        }
        let missing = self.package.missing_keys();
        if !missing.is_empty() {
            let _ = writeln!(text, "\nThe public keys of these ids are not here: {}.", missing.join(", "));
        }
        Some(text)
    }
}
