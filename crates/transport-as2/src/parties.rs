//! Who sends to whom: the two names of a received message, found among the definitions.

use crate::agreement::{Identity, Partner, identity_named, partner_named};
use crate::disposition::{Disposition, DispositionError};
use crate::legacy;
use crate::material::{own_key, partner_certificates};
use crate::outgoing::OwnKey;
use crate::request::RequestHead;
use model::Result;
use model::definition::Definitions;
use openssl::x509::X509;
use std::sync::Arc;

/// Both sides of a message that is for us.
pub(crate) struct Parties {
    pub(crate) identity: Identity,
    /// The key that signs.
    pub(crate) own: OwnKey,
    /// Further keys that decrypt.
    pub(crate) other_keys: Vec<OwnKey>,
    pub(crate) partner: Arc<Partner>,
    pub(crate) certificates: Vec<X509>,
    /// What of our key is too weak for today, as the agreement allows.
    pub(crate) legacy: Option<String>,
}

/// A message that is not for us, or whose sender is unknown.
pub(crate) struct UnknownParty {
    pub(crate) disposition: Disposition,
    pub(crate) reason: String,
}

impl Parties {
    /// Finds both by their names. The inner error is a fault of our own definitions.
    ///
    /// # Errors
    /// The answer to an unknown sender.
    pub(crate) fn of(definitions: &Definitions, head: &RequestHead) -> Result<Result<Self>, UnknownParty> {
        if head.from == head.to {
            return Err(UnknownParty {
                disposition: Disposition::Failure("sender-equals-receiver".into()),
                reason: "AS2-From and AS2-To are the same.".into(),
            });
        }
        let unknown = |who: &str, name: &str| UnknownParty {
            disposition: Disposition::Error(DispositionError::UnknownTradingPartner),
            reason: format!("The {who} {name:?} is unknown to this system."),
        };
        let identity = identity_named(definitions, &head.to).ok_or_else(|| unknown("receiver", &head.to))?;
        let partner = partner_named(definitions, &head.from).ok_or_else(|| unknown("sender", &head.from))?;
        let parties = || {
            let own = own_key(definitions, &identity, identity.key())?;
            let others = identity.keys.iter().skip(1).map(|name| own_key(definitions, &identity, name));
            let other_keys = others.collect::<Result<_>>()?;
            Ok(Self {
                legacy: legacy::of_own_key(&own, &identity, &partner)?,
                own,
                other_keys,
                certificates: partner_certificates(definitions, &partner)?,
                identity,
                partner: Arc::new(partner),
            })
        };
        Ok(parties())
    }
}
