use super::*;

fn read(policy: Policy, kind: Kind, list: &[&str]) -> Vec<&'static str> {
    let list: Vec<String> = list.iter().map(|name| (*name).to_owned()).collect();
    chosen(kind, &list, policy)
}

const USUAL: Policy = Policy { legacy: false, fips: false };
const LEGACY: Policy = Policy { legacy: true, fips: false };
const FIPS: Policy = Policy { legacy: false, fips: true };

#[test]
fn a_list_is_kept_in_its_order_and_auto_stands_for_the_usual_ones() {
    assert_eq!(read(USUAL, Kind::Cipher, &["aes128-ctr", "aes256-ctr"]), ["aes128-ctr", "aes256-ctr"]);
    let all = read(USUAL, Kind::Cipher, &[]);
    assert_eq!(all, read(USUAL, Kind::Cipher, &["auto"]));
    assert!(all.contains(&"chacha20-poly1305@openssh.com") && !all.contains(&"aes128-cbc"), "{all:?}");
    let first = read(USUAL, Kind::Cipher, &["aes128-ctr", "auto"]);
    assert_eq!((first[0], first.len()), ("aes128-ctr", all.len()));
    assert_eq!(read(USUAL, Kind::Compression, &[]), ["none"]);
    assert_eq!(read(USUAL, Kind::Compression, &["zlib@openssh.com", "none"]), ["zlib@openssh.com", "none"]);
}

#[test]
fn old_algorithms_come_last_and_only_where_they_are_allowed() {
    for (kind, name) in [
        (Kind::Cipher, "3des-cbc"),
        (Kind::Mac, "hmac-sha1"),
        (Kind::KeyExchange, "diffie-hellman-group1-sha1"),
        (Kind::HostKey, "ssh-rsa"),
    ] {
        assert!(!read(USUAL, kind, &[]).contains(&name), "{name}");
        assert_eq!(read(LEGACY, kind, &[]).last(), Some(&name));
        assert!(check(kind, name, USUAL).unwrap_err().contains("legacy = true"));
        assert_eq!(check(kind, name, LEGACY), Ok(()));
        assert_eq!(legacy_of(&[(Kind::Cipher, "aes256-ctr"), (kind, name)]), Some(name));
    }
    assert_eq!(legacy_of(&[(Kind::Cipher, "aes256-ctr")]), None);
}

#[test]
fn only_approved_algorithms_are_offered_where_that_is_asked_for() {
    for (kind, refused) in [
        (Kind::Cipher, "chacha20-poly1305@openssh.com"),
        (Kind::KeyExchange, "curve25519-sha256"),
        (Kind::KeyExchange, "diffie-hellman-group-exchange-sha256"),
    ] {
        assert!(check(kind, refused, FIPS).unwrap_err().contains("approved"), "{refused}");
        let offered = read(FIPS, kind, &[]);
        assert!(!offered.is_empty() && !offered.contains(&refused), "{offered:?}");
    }
    for kind in [Kind::Cipher, Kind::Mac, Kind::KeyExchange, Kind::HostKey, Kind::Compression] {
        assert!(read(FIPS, kind, &[]).iter().all(|name| check(kind, name, FIPS).is_ok()), "{kind:?}");
    }
}

/// The names of a list of approved algorithms from 2013, which old definitions carry.
#[test]
fn each_name_of_2013_works_behind_legacy_or_is_refused_with_its_reason() {
    for (kind, name, works) in [
        (Kind::HostKey, "ssh-rsa", true),
        (Kind::KeyExchange, "diffie-hellman-group14-sha1", true),
        (Kind::Cipher, "aes128-cbc", true),
        (Kind::Cipher, "3des-cbc", true),
        (Kind::Cipher, "aes128-ctr", true),
        (Kind::Cipher, "arcfour", false),
        (Kind::Cipher, "arcfour128", false),
        (Kind::Cipher, "blowfish-cbc", false),
        (Kind::Cipher, "3des-ctr", false),
    ] {
        match check(kind, name, LEGACY) {
            Ok(()) => assert!(works && !read(LEGACY, kind, &[name]).is_empty(), "{name}"),
            Err(why) => assert!(!works && why.contains("broken"), "{name}: {why}"),
        }
    }
    let dss = check(Kind::HostKey, "ssh-dss", LEGACY).unwrap_err();
    assert!(dss.contains("1024 bits"), "{dss}");
}

#[test]
fn unknown_names_are_refused_and_the_library_knows_all_that_are_not() {
    let near = check(Kind::Cipher, "aes256-gcm", USUAL).unwrap_err();
    assert!(near.contains("aes256-gcm@openssh.com"), "{near}");
    assert!(check(Kind::Mac, "aes256-ctr", USUAL).is_err());
    let all = |kind: Kind| {
        let usable = kind.known().iter().filter(|known| !matches!(known.1, Missing(_)));
        usable.map(|known| known.0.to_owned()).collect::<Vec<_>>()
    };
    let everything = Algorithms::read(LEGACY, all);
    let preferred = everything.preferred(everything.host_keys(|_| false), Vec::new());
    assert_eq!(preferred.cipher.len(), all(Kind::Cipher).len());
    assert_eq!(preferred.mac.len(), all(Kind::Mac).len());
    assert_eq!(preferred.kex.len(), all(Kind::KeyExchange).len() + 2);
    assert_eq!(preferred.key.len(), all(Kind::HostKey).len());
    assert_eq!(preferred.compression.len(), all(Kind::Compression).len());
}

#[test]
fn host_keys_on_file_are_asked_for_first() {
    let algorithms = Algorithms::read(USUAL, |_| Vec::new());
    let asked = algorithms.host_keys(|algorithm| matches!(algorithm, Algorithm::Rsa { .. }));
    assert_eq!(asked[0], Algorithm::Rsa { hash: Some(HashAlg::Sha512) });
    assert_eq!(asked[2], Algorithm::Ed25519);
    assert!(!asked.contains(&Algorithm::Rsa { hash: None }));
}
