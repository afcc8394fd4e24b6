//! What was tried with which product. The tests of both directions do what stands here, so each row of the table in
//! docs/as2.md is shown by the run; what other tests show is listed beside them, by their names.

use crate::exchanges::EXCHANGES;
use std::fmt::Write;
use std::fs;
use suites::repository;

/// A partner that is a real product, and the script that starts it.
#[derive(PartialEq, Debug)]
pub struct Product {
    pub name: &'static str,
    pub version: &'static str,
    pub script: &'static str,
}

pub const PYAS2LIB: Product = Product { name: "pyas2lib", version: "1.4.4", script: "as2_peer" };
pub const LIBAS2: Product = Product { name: "libas2", version: "0.8.2", script: "as2_node" };
pub const ASX: Product = Product { name: "asx-rs", version: "0.16.2", script: "asx" };

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Direction {
    ToIt,
    FromIt,
}

/// One message to or from a product, in the words of our options.
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    pub product: &'static Product,
    pub direction: Direction,
    /// `signed_encrypted`, `signed`, `encrypted` or `none`.
    pub security: &'static str,
    pub digest: &'static str,
    /// `pkcs1` or `pss`; `ecdsa` where the signer's key is an EC key.
    pub signature: &'static str,
    pub cipher: &'static str,
    /// How the content key is encrypted: `pkcs1`, `oaep-…`, or `ecdh` where the receiver's key is an EC key.
    pub key: &'static str,
    /// `no`, `before_signing` or `after_signing`.
    pub compressed: &'static str,
    /// The receipt that is asked for: `signed`, `unsigned` or `none`.
    pub mdn: &'static str,
    /// Whether the payload is of any bytes, or ASCII alone.
    pub binary: bool,
    pub outcome: Outcome,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Outcome {
    Works,
    /// It works; this is to be known.
    Remark(&'static str),
    /// It cannot: why, and what is said then.
    Fails {
        why: &'static str,
        said: &'static str,
    },
}

impl Exchange {
    pub fn is_signed(&self) -> bool {
        self.security.starts_with("signed")
    }

    pub fn is_encrypted(&self) -> bool {
        self.security.ends_with("encrypted")
    }

    pub fn is_compressed(&self) -> bool {
        self.compressed != "no"
    }

    pub fn fails(&self) -> Option<&'static str> {
        match self.outcome {
            Outcome::Fails { said, .. } => Some(said),
            _ => None,
        }
    }

    /// Whether it is on record as weak when it is received.
    pub fn is_weak(&self) -> bool {
        (self.is_signed() && self.has_weak_digest()) || (self.is_encrypted() && self.cipher == "3des")
    }

    fn has_weak_digest(&self) -> bool {
        matches!(self.digest, "md5" | "sha1")
    }

    /// The partner's agreement, for what we send.
    pub fn agreement(&self) -> String {
        let Self { security, mdn, digest, cipher, signature, compressed, .. } = self;
        let key = if self.key == "ecdh" { "pkcs1" } else { self.key };
        let signature = if *signature == "ecdsa" { "pkcs1" } else { signature };
        format!(
            "send.security = \"{security}\"\nmdn.ask = \"{mdn}\"\nsend.digest = \"{digest}\"\nsend.cipher = \"{cipher}\"\n\
             send.rsa_signature = \"{signature}\"\nsend.key_transport = \"{key}\"\nsend.compress = \"{compressed}\"\n\
             legacy = {}",
            self.has_weak_digest() || *cipher == "3des"
        )
    }

    /// The options of the partner's `send`, for what we receive.
    pub fn options(&self) -> Vec<String> {
        let mdn = if self.mdn == "none" { "none".to_owned() } else { format!("sync-{}", self.mdn) };
        let mut options: Vec<String> = vec!["--mdn".into(), mdn, "--digest".into(), self.digest.into()];
        let mut add = |when: bool, words: &[&str]| {
            if when {
                options.extend(words.iter().map(|&word| word.into()));
            }
        };
        add(!self.is_signed(), &["--no-sign"]);
        add(!self.is_encrypted(), &["--no-encrypt"]);
        add(self.is_encrypted(), &["--cipher", self.cipher]);
        add(self.is_compressed(), &["--compress"]); // before signing: pyas2lib has no other
        // libas2 has one of each, and no options for them.
        add(self.signature != "pkcs1", &["--signature", self.signature]);
        add(self.product == &PYAS2LIB && self.key != "pkcs1", &["--key-transport", self.key]);
        options
    }

    fn feature(&self) -> String {
        let mut parts = Vec::new();
        if !self.binary {
            parts.push("ASCII text".to_owned());
        }
        if self.is_compressed() && self.compressed != "after_signing" {
            parts.push("compressed".to_owned());
        }
        if self.is_signed() {
            let scheme = match self.signature {
                "ecdsa" => "ECDSA",
                "pss" => "RSA-PSS",
                _ => "RSA PKCS #1 v1.5",
            };
            parts.push(format!("signed ({scheme}, {})", said(self.digest)));
        }
        if self.compressed == "after_signing" {
            parts.push("compressed".to_owned());
        }
        if self.is_encrypted() {
            let key = match self.key {
                "ecdh" => "ECDH".to_owned(),
                "pkcs1" => "RSA PKCS #1 v1.5".to_owned(),
                oaep => format!("RSA-OAEP with {}", said(oaep.trim_start_matches("oaep-"))),
            };
            parts.push(format!("encrypted ({}, {key})", said(self.cipher)));
        }
        if !self.is_signed() && !self.is_encrypted() {
            parts.push("neither signed nor encrypted".to_owned());
        }
        let receipt =
            if self.mdn == "none" { "no receipt".to_owned() } else { format!("{} receipt", self.mdn) };
        format!("{}; {receipt}", parts.join(", "))
    }
}

/// A word of our options as people write it.
fn said(word: &str) -> String {
    match word {
        "3des" => "triple DES".to_owned(),
        cipher if cipher.starts_with("aes") => cipher.to_uppercase().replace("AES", "AES-"),
        digest => digest.to_uppercase().replace("SHA", "SHA-"),
    }
}

/// The exchanges of a product in a direction.
pub fn of(product: &'static Product, direction: Direction) -> impl Iterator<Item = &'static Exchange> {
    EXCHANGES.iter().filter(move |one| one.product == product && one.direction == direction)
}

/// What a test of another shape shows.
struct Shown {
    product: &'static str,
    direction: &'static str,
    feature: &'static str,
    /// The file below tests/, and the function in it.
    test: (&'static str, &'static str),
}

const SHOWN: &[Shown] = &[
    Shown {
        product: "OpenSSL 3.0 `cms`",
        direction: "to it",
        feature: "signed by every digest, encrypted by AES-CBC, AES-GCM and triple DES (`as2 pack`)",
        test: ("interop/oracle.rs", "openssl_reads_what_pack_wrote"),
    },
    Shown {
        product: "OpenSSL 3.0 `cms`",
        direction: "from it",
        feature: "signed and encrypted, in definite and streamed lengths, RSA PKCS #1 v1.5 and RSA-OAEP (`as2 unpack`)",
        test: ("interop/oracle.rs", "unpack_reads_what_openssl_wrote"),
    },
    Shown {
        product: "OpenSSL 3.0 `cms`",
        direction: "to it",
        feature: "encrypted for several recipients, each of which reads it",
        test: ("interop/oracle.rs", "every_recipient_reads_what_pack_encrypted_for_several"),
    },
    Shown {
        product: "OpenSSL 3.0 `cms` and `smime`",
        direction: "to it",
        feature: "receipts downloaded from Waybill, verified with the signer's certificate alone",
        test: (
            "interop/receipts.rs",
            "openssl_verifies_an_mdn_that_was_downloaded_an_accepting_and_a_refusing_one",
        ),
    },
    Shown {
        product: "pyas2lib 1.4.4",
        direction: "from it",
        feature: "over HTTPS",
        test: ("interop/https.rs", "a_partner_on_pyas2lib_sends_over_https"),
    },
    Shown {
        product: "pyas2lib 1.4.4",
        direction: "to it",
        feature: "a receipt that comes later, after the answer, before it, or twice",
        test: (
            "interop/async_receipts.rs",
            "receipts_prove_deliveries_whether_they_come_before_or_after_the_answer_or_in_it",
        ),
    },
    Shown {
        product: "pyas2lib 1.4.4",
        direction: "from it",
        feature: "receipts that are sent later, signed and unsigned",
        test: ("interop/async_receipts/sent.rs", "pyas2lib_gets_its_receipts_later_signed_and_unsigned"),
    },
    Shown {
        product: "OpenSSL 3.0 `cms`",
        direction: "from it",
        feature: "several files in one message, signed, signed opaquely and encrypted",
        test: (
            "interop/attachments.rs",
            "the_files_of_a_message_come_in_together_with_one_mic_however_it_is_protected",
        ),
    },
    Shown {
        product: "OpenSSL 3.0 `cms`",
        direction: "to it",
        feature: "several files in one signed message",
        test: ("interop/attachments.rs", "openssl_verifies_the_signature_over_several_files"),
    },
    Shown {
        product: "pyas2lib 1.4.4",
        direction: "to it",
        feature: "several files in one message: unprotected, encrypted, or compressed and signed (a signature over several files that are \
                  not compressed it cannot verify)",
        test: (
            "interop/attachments.rs",
            "a_message_is_passed_on_with_its_files_and_the_same_bytes_in_each_attempt",
        ),
    },
    Shown {
        product: "asx-rs 0.16.2",
        direction: "to it",
        feature: "a receipt that was asked for later (it comes in the answer all the same)",
        test: ("interop/asx.rs", "asx_rs_answers_at_once_where_a_later_receipt_was_asked_for"),
    },
    Shown {
        product: "asx-rs 0.16.2",
        direction: "to it",
        feature: "a message once more (a warning, with the same MIC)",
        test: ("interop/asx.rs", "asx_rs_answers_a_repeated_message_by_a_warning_with_the_same_mic"),
    },
    Shown {
        product: "asx-rs 0.16.2",
        direction: "from it",
        feature: "signed and encrypted, with a receipt that is sent later",
        test: ("interop/asx.rs", "asx_rs_gets_its_receipts_later"),
    },
    Shown {
        product: "GnuPG 2.2",
        direction: "to it",
        feature: "PGP/MIME: signed, encrypted, both one after the other or in one object",
        test: ("../crates/pgp-mime/tests/gpg.rs", "gnupg_reads_what_is_written_and_the_room_reads_it_back"),
    },
    Shown {
        product: "GnuPG 2.2",
        direction: "from it",
        feature: "messages by PGP/MIME, with receipts signed by OpenPGP that it verifies",
        test: ("interop/pgp.rs", "a_message_that_gnupg_packaged_is_taken_and_its_receipt_verifies_there"),
    },
    Shown {
        product: "GnuPG 2.2",
        direction: "from it",
        feature: "an HTML form with an OpenPGP object, as in appendix B of \"HTTP Transport for Secure EDI\"",
        test: ("interop/pgp.rs", "a_form_of_appendix_b_with_an_object_of_gnupg_is_taken_and_acknowledged"),
    },
    Shown {
        product: "forms (our test peer, Python)",
        direction: "to it",
        feature: "HTML forms, with their acknowledgements",
        test: ("interop/forms.rs", "a_form_goes_out_with_its_fields_and_its_receipt_proves_it"),
    },
    Shown {
        product: "forms (our test peer, Python)",
        direction: "from it",
        feature: "HTML forms over HTTP/1.0, acknowledged at once",
        test: (
            "interop/forms/receiving.rs",
            "a_form_is_received_acknowledged_at_once_and_its_fields_are_metadata",
        ),
    },
    Shown {
        product: "replies (our test peer, Python)",
        direction: "to it",
        feature: "a payload in the answer, beside its receipt",
        test: ("interop/replies.rs", "a_payload_beside_the_receipt_goes_through_the_flow_that_takes_answers"),
    },
    Shown {
        product: "replies (our test peer, Python)",
        direction: "from it",
        feature: "a payload in our answer, beside our receipt, and the receipt for it, which comes later",
        test: (
            "interop/replies.rs",
            "a_file_goes_into_the_answer_that_waits_for_it_and_its_receipt_comes_later",
        ),
    },
    Shown {
        product: "CEM (our test peer, Python)",
        direction: "to it",
        feature: "a new certificate of ours, and the partner's answer",
        test: ("interop/cem.rs", "our_new_certificate_is_announced_and_the_answer_shown"),
    },
    Shown {
        product: "CEM (our test peer, Python)",
        direction: "from it",
        feature: "a proposed certificate, and our answer",
        test: ("interop/cem.rs", "a_proposal_waits_for_a_person_and_for_the_definitions"),
    },
    Shown {
        product: "AS2 restart (our test peer, Python)",
        direction: "to it",
        feature: "messages that are cut go on, however they are protected",
        test: (
            "interop/restart_sending/protections.rs",
            "every_way_of_protecting_a_message_goes_on_with_the_same_bytes",
        ),
    },
    Shown {
        product: "AS2 restart (our test peer, Python)",
        direction: "from it",
        feature: "messages that are cut at any byte go on",
        test: (
            "interop/restart_receiving.rs",
            "a_message_that_is_cut_at_random_offsets_goes_on_and_arrives_once",
        ),
    },
    Shown {
        product: "Squid and microsocks",
        direction: "through it",
        feature: "messages through an HTTP proxy (CONNECT) and a SOCKS5 proxy, with passwords",
        test: ("e2e/proxies.rs", "sftp_and_as2_go_through_http_and_socks5_proxies_with_passwords"),
    },
    Shown {
        product: "Apache 2.4",
        direction: "through it",
        feature: "messages to a partner behind it, logged in by digest",
        test: (
            "interop/login.rs",
            "a_digest_is_given_when_the_server_asks_for_it_and_with_every_message_after_that",
        ),
    },
    Shown {
        product: "Apache 2.4",
        direction: "through it",
        feature: "messages under gzip, decoded on the way (mod_deflate)",
        test: ("interop/login.rs", "a_message_under_a_content_coding_is_decoded_by_apache"),
    },
    Shown {
        product: "nginx 1.22",
        direction: "through it",
        feature: "messages to a partner behind it, logged in by basic",
        test: (
            "interop/login.rs",
            "user_name_and_password_are_sent_when_the_server_asks_or_by_option_at_once",
        ),
    },
    Shown {
        product: "nginx 1.22 and HAProxy 2.6",
        direction: "through it",
        feature: "messages to a listener of Waybill behind them, over HTTP and HTTPS",
        test: ("interop/proxies.rs", "messages_come_in_through_nginx_and_haproxy"),
    },
    Shown {
        product: "nginx 1.22 and HAProxy 2.6",
        direction: "through it",
        feature: "messages to a partner behind them",
        test: ("interop/proxies.rs", "messages_go_out_through_the_proxies_of_a_partner"),
    },
];

/// What cannot be, and why.
const NOT_READ: &[(Shown, &str)] = &[(
    Shown {
        product: "asx-rs 0.16.2",
        direction: "to it",
        feature: "any message as Waybill sends it, its CMS in binary",
        test: ("interop/asx.rs", "asx_rs_itself_reads_no_cms_in_binary"),
    },
    "asx-rs reads CMS in base64 alone, and takes this for a message that is not encrypted; in all other rows its test peer puts the \
     CMS into base64 before",
)];

const HEADING: &str = "## What it was tried with";

/// The section of docs/as2.md.
fn section() -> String {
    let mut text = format!(
        "{HEADING}\n\n\
         The test run writes this section. Each row is a message that a test sends to or receives from the product itself; payloads are\n\
         compared byte for byte, and each side verifies the other's receipt. Rows that say `fails` are tested too: there the delivery\n\
         fails with an error that says why.\n\n\
         | product | direction | what | result |\n|---|---|---|---|\n"
    );
    for one in EXCHANGES {
        let direction = match one.direction {
            Direction::ToIt => "to it",
            Direction::FromIt => "from it",
        };
        let result = match one.outcome {
            Outcome::Works => "works".to_owned(),
            Outcome::Remark(remark) => format!("works; {remark}"),
            Outcome::Fails { why, .. } => format!("fails: {why}"),
        };
        let Product { name, version, .. } = one.product;
        writeln!(text, "| {name} {version} | {direction} | {} | {result} |", one.feature()).unwrap();
    }
    for one in SHOWN {
        writeln!(text, "| {} | {} | {} | works |", one.product, one.direction, one.feature).unwrap();
    }
    for (one, why) in NOT_READ {
        writeln!(text, "| {} | {} | {} | fails: {why} |", one.product, one.direction, one.feature).unwrap();
    }
    text
}

#[test]
fn the_table_in_the_documentation_is_what_the_tests_try() {
    let page = fs::read_to_string(repository().join("docs/as2.md")).unwrap();
    let found = page.find(HEADING).map(|at| {
        let rest = &page[at..];
        let end = rest[HEADING.len()..].find("\n## ").map_or(rest.len(), |next| HEADING.len() + next + 1);
        rest[..end].trim_end()
    });
    let right = section();
    if found != Some(right.trim_end()) {
        let file = repository().join("target/interop-table.md");
        fs::write(&file, right).unwrap();
        panic!(
            "docs/as2.md: its section \"{HEADING}\" is not what the tests try. Put the text of {} in its place",
            file.display()
        );
    }
}

#[test]
fn each_row_stands_once_and_its_test_exists() {
    let section = section();
    let mut rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| ")).collect();
    let count = rows.len();
    rows.sort_unstable();
    rows.dedup();
    assert_eq!(rows.len(), count, "a row stands twice");
    for Shown { test: (file, name), .. } in SHOWN.iter().chain(NOT_READ.iter().map(|(one, _)| one)) {
        let source = fs::read_to_string(repository().join("tests").join(file)).unwrap();
        assert!(source.contains(&format!("#[test]\nfn {name}() {{")), "{file}: no test {name}");
    }
}
