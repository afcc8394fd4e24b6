//! The components of a key (the primary key and its subkeys), as the key's own signatures describe them.
//!
//! Only what the primary key itself has signed counts: certifications by others say nothing here.

use std::time::{Duration, SystemTime};

use pgp::composed::{SignedPublicKey, SignedPublicSubKey};
use pgp::packet::{Signature, SignatureType};
use pgp::ser::Serialize as _;
use pgp::types::{Fingerprint, KeyDetails, KeyId, PublicParams, Tag};
use smime::Weakness;

/// The time in which a key is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// When it was made.
    pub from: SystemTime,
    /// When it expires; none where it does not, or where that is beyond what a time can say.
    pub until: Option<SystemTime>,
}

impl Validity {
    /// Whether the key is valid at a time.
    #[must_use]
    pub fn holds(&self, at: SystemTime) -> bool {
        self.from <= at && !self.is_over(at)
    }

    pub(crate) fn is_over(&self, at: SystemTime) -> bool {
        self.until.is_some_and(|until| until <= at)
    }

    /// The time in which both are valid.
    fn within(self, other: Validity) -> Validity {
        let until = match (self.until, other.until) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        Validity { from: self.from.max(other.from), until }
    }
}

/// One of the keys in a key.
#[derive(Debug, Clone)]
pub(crate) struct Component {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) key_id: KeyId,
    pub(crate) validity: Validity,
    pub(crate) signs: bool,
    pub(crate) encrypts: bool,
    pub(crate) weakness: Option<Weakness>,
}

/// What a key says of itself.
#[derive(Debug, Clone)]
pub(crate) struct Description {
    /// Of the primary key.
    pub(crate) validity: Validity,
    /// Its primary user, as it says; empty where it has none.
    pub(crate) user: String,
    pub(crate) is_revoked: bool,
    /// Those that are bound to the key and not revoked.
    pub(crate) components: Vec<Component>,
}

impl Description {
    pub(crate) fn of(key: &SignedPublicKey) -> Description {
        let primary = &key.primary_key;
        let is_revoked = key.details.revocation_signatures.iter().any(|signature| {
            signature.typ() == Some(SignatureType::KeyRevocation) && signature.verify_key(primary).is_ok()
        });
        let of_users = key.details.users.iter().flat_map(|user| {
            let own = |signature: &&Signature| {
                signature.typ() != Some(SignatureType::CertRevocation)
                    && signature.verify_certification(primary, Tag::UserId, &user.id).is_ok()
            };
            user.signatures.iter().filter(own)
        });
        let direct =
            key.details.direct_signatures.iter().filter(|signature| signature.verify_key(primary).is_ok());
        // A direct signature may say nothing of them.
        let says = |signature: &Signature| {
            let flags = signature.key_flags();
            flags.certify() || flags.sign() || flags.encrypt_comms() || flags.encrypt_storage()
        };
        let newest = of_users.chain(direct).max_by_key(|signature| (says(signature), signature.created()));
        let validity = validity(primary, newest);
        let mut components = Vec::new();
        if let Some(signature) = newest.filter(|_| !is_revoked) {
            components.push(component(primary, signature, validity));
            let subkeys = key.public_subkeys.iter().filter_map(|subkey| bound(key, subkey, validity));
            components.extend(subkeys);
        }
        Description { validity, user: user(key), is_revoked, components }
    }

    /// The component that signs at a time: the newest subkey for that, else the primary key.
    pub(crate) fn signing(&self, at: SystemTime) -> Option<&Component> {
        self.best(at, |component| component.signs)
    }

    /// The component that messages are encrypted for at a time, likewise.
    pub(crate) fn encrypting(&self, at: SystemTime) -> Option<&Component> {
        self.best(at, |component| component.encrypts)
    }

    /// The time in which the key serves all its purposes: a subkey often expires before the primary key.
    pub(crate) fn service(&self) -> Validity {
        let ends = [self.validity.until, self.end(|one| one.signs), self.end(|one| one.encrypts)];
        Validity { from: self.validity.from, until: ends.into_iter().flatten().min() }
    }

    /// When the last component for a purpose expires; none where one does not.
    fn end(&self, fits: impl Fn(&Component) -> bool) -> Option<SystemTime> {
        let fitting = self.components.iter().filter(|component| fits(component));
        let ends: Option<Vec<SystemTime>> = fitting.map(|component| component.validity.until).collect();
        ends?.into_iter().max()
    }

    fn best(&self, at: SystemTime, fits: impl Fn(&Component) -> bool) -> Option<&Component> {
        let (primary, subkeys) = self.components.split_first()?;
        let usable = |component: &&Component| fits(component) && component.validity.holds(at);
        let newest = subkeys.iter().filter(usable).max_by_key(|component| component.validity.from);
        newest.or_else(|| Some(primary).filter(usable))
    }
}

/// A subkey that the primary key has bound to itself (RFC 9580 section 5.2.1.8), and that agrees to it where it signs.
fn bound(key: &SignedPublicKey, subkey: &SignedPublicSubKey, whole: Validity) -> Option<Component> {
    let primary = &key.primary_key;
    let own = |signature: &&Signature| signature.verify_subkey_binding(primary, &subkey.key).is_ok();
    let is = |signature: &Signature, typ| signature.typ() == Some(typ);
    if subkey.signatures.iter().filter(own).any(|one| is(one, SignatureType::SubkeyRevocation)) {
        return None;
    }
    let binding = subkey
        .signatures
        .iter()
        .filter(own)
        .filter(|one| is(one, SignatureType::SubkeyBinding))
        .max_by_key(|signature| signature.created())?;
    let mut component = component(&subkey.key, binding, validity(&subkey.key, Some(binding)).within(whole));
    component.signs &= binding
        .embedded_signature()
        .is_some_and(|back| back.verify_primary_key_binding(&subkey.key, primary).is_ok());
    Some(component)
}

fn component(key: &impl KeyDetails, signature: &Signature, validity: Validity) -> Component {
    let flags = signature.key_flags();
    let algorithm = key.algorithm();
    // A key of old that says nothing may do what its algorithm can.
    let silent = !(flags.certify() || flags.sign() || flags.encrypt_comms() || flags.encrypt_storage());
    let authenticates = flags.authentication();
    Component {
        fingerprint: key.fingerprint(),
        key_id: key.legacy_key_id(),
        validity,
        signs: algorithm.can_sign() && (flags.sign() || silent && !authenticates),
        encrypts: algorithm.can_encrypt()
            && (flags.encrypt_comms() || flags.encrypt_storage() || silent && !authenticates),
        weakness: weakness(key),
    }
}

fn validity(key: &impl KeyDetails, signature: Option<&Signature>) -> Validity {
    let from = SystemTime::from(key.created_at());
    let lasts = signature.and_then(Signature::key_expiration_time).map(|lasts| u64::from(lasts.as_secs()));
    let until =
        lasts.filter(|lasts| *lasts > 0).and_then(|lasts| from.checked_add(Duration::from_secs(lasts)));
    Validity { from, until }
}

/// RSA and DSA keys under 2,048 bits.
fn weakness(key: &impl KeyDetails) -> Option<Weakness> {
    if !matches!(key.public_params(), PublicParams::RSA(_) | PublicParams::DSA(_)) {
        return None;
    }
    // The first number is the modulus, which begins with its bits (section 3.2).
    let written = key.public_params().to_bytes().ok()?;
    let bits = u32::from(u16::from_be_bytes([*written.first()?, *written.get(1)?]));
    (bits < 2048).then_some(Weakness::Key { bits })
}

/// The primary user, or the first one.
fn user(key: &SignedPublicKey) -> String {
    let users = &key.details.users;
    let is_primary = |signatures: &[Signature]| signatures.iter().any(Signature::is_primary);
    let user = users.iter().find(|user| is_primary(&user.signatures)).or(users.first());
    user.map(|user| String::from_utf8_lossy(&user.id.clone().into_bytes()).into_owned()).unwrap_or_default()
}
