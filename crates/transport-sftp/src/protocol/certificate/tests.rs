use super::*;

#[test]
fn what_is_no_certificate_is_refused() {
    for text in ["", "ssh-ed25519 AAAA", "-----BEGIN CERTIFICATE-----"] {
        assert!(read(text).unwrap_err().contains("-cert.pub"), "{text}");
    }
}

#[test]
fn moments_are_told_as_times_and_what_is_no_time_as_a_number() {
    assert_eq!(moment(0), "1970-01-01T00:00:00Z");
    assert_eq!(moment(u64::MAX), format!("second {} of Unix time", u64::MAX));
}
