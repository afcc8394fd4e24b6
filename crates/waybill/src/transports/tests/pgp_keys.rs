//! What identities and partners say of their OpenPGP keys.

use super::Desk;
use pgp::composed::{ArmorOptions, KeyType, SecretKeyParamsBuilder};
use pgp::types::KeyVersion;
use rand::rngs::OsRng;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// Puts a key that signs and its public half into the desk's directory.
fn put(desk: &Desk, name: &str, version: KeyVersion) {
    let key_type = match version {
        KeyVersion::V6 => KeyType::Ed25519,
        _ => KeyType::Ed25519Legacy,
    };
    let mut params = SecretKeyParamsBuilder::default();
    params.version(version).key_type(key_type).can_certify(true).can_sign(true);
    params.primary_user_id(format!("{name}@acme.example"));
    let key = params.build().unwrap().generate(OsRng).unwrap();
    let (private, public) = (desk.path(&format!("{name}.private")), desk.path(&format!("{name}.public")));
    fs::write(&private, key.to_armored_string(ArmorOptions::default()).unwrap()).unwrap();
    fs::set_permissions(&private, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(public, key.to_public_key().to_armored_string(ArmorOptions::default()).unwrap()).unwrap();
}

/// An identity with a key of ours, and a partner with the public half of one.
fn sides(name: &str, uses: &str) -> String {
    format!(
        "[key.p]\nprivate_key = \"${{file:PEM/{name}.private}}\"\n[certificate.q]\npem = \"${{file:PEM/{name}.public}}\"\n\
         [identity.i.as2]\nid = \"I\"\nkeys = [\"ours\"]\npgp_keys = [{{ name = \"p\"{uses} }}]\n\
         [partner.o.as2]\nid = \"O\"\npgp_keys = [\"q\"]\nsend = {{ packaging = \"pgp\", security = \"signed\" }}\n"
    )
}

#[tokio::test]
async fn keys_of_version_6_do_not_sign_behind_the_content() {
    let desk = Desk::new();
    put(&desk, "four", KeyVersion::V4);
    put(&desk, "six", KeyVersion::V6);
    let (valid, lines) = desk.check(&sides("four", ""));
    assert!(valid && lines.is_empty(), "{lines:#?}");
    let (valid, lines) = desk.check(&format!("{}fallback = \"once\"\n", sides("four", "")));
    assert!(
        !valid && lines[0].contains("error: partner.o.as2.fallback: no message by PGP/MIME"),
        "{lines:#?}"
    );
    let (valid, lines) = desk.check(&sides("six", ""));
    assert!(!valid && lines.len() == 2, "{lines:#?}");
    assert!(
        lines[0].contains("identity.i.as2.pgp_keys[1]: its signatures (OpenPGP version 6)"),
        "{lines:#?}"
    );
    assert!(lines[1].contains("warning: partner.o.as2.pgp_keys: signatures by it"), "{lines:#?}");
    let (valid, lines) = desk.check(&sides("six", ", uses = [\"decrypt\"]"));
    assert!(valid && lines.len() == 1, "{lines:#?}");
}
