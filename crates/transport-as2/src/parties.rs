//! Who sends to whom: the two names of a received message, found among the definitions.

use crate::disposition::{Disposition, DispositionError};
use crate::legacy;
use crate::material::{own_key, partner_certificates};
use crate::outgoing::OwnKey;
use crate::request::RequestHead;
use model::Result;
use model::definition::{Definitions, Identity, Partner};
use openssl::x509::X509;
use std::sync::Arc;
use transport::Services;

/// Both sides of a message that is for us.
pub(crate) struct Parties {
    pub(crate) identity: Arc<Identity>,
    pub(crate) own: OwnKey,
    pub(crate) partner: Arc<Partner>,
    pub(crate) certificates: Vec<X509>,
    /// What of our key is too weak for today, as the agreement allows.
    pub(crate) legacy: Option<String>,
}

/// A message that is not for us, or from nobody we know.
pub(crate) struct UnknownParty {
    pub(crate) disposition: Disposition,
    pub(crate) reason: String,
}

impl Parties {
    /// Finds both by their names. The inner error is a fault of our own definitions.
    ///
    /// # Errors
    /// What a stranger is told.
    pub(crate) fn of(
        services: &Services,
        definitions: &Definitions,
        head: &RequestHead,
    ) -> Result<Result<Self>, UnknownParty> {
        if head.from == head.to {
            return Err(UnknownParty {
                disposition: Disposition::Failure("sender-equals-receiver".into()),
                reason: "AS2-From and AS2-To are the same.".into(),
            });
        }
        let unknown = |who: &str, name: &str| UnknownParty {
            disposition: Disposition::Error(DispositionError::UnknownTradingPartner),
            reason: format!("The {who} {name:?} is not known here."),
        };
        let identity = definitions
            .identities
            .values()
            .find(|identity| identity.as2_id.as_str() == head.to)
            .ok_or_else(|| unknown("receiver", &head.to))?;
        let partner = definitions
            .partners
            .values()
            .find(|partner| partner.as2_id.as_str() == head.from)
            .ok_or_else(|| unknown("sender", &head.from))?;
        let parties = || {
            let material = services.directory.partner(&partner.name)?;
            let own = own_key(&services.directory.identity(&identity.name)?)?;
            Ok(Self {
                legacy: legacy::of_own_key(&own, identity, partner)?,
                own,
                certificates: partner_certificates(&material)?,
                identity: Arc::clone(identity),
                partner: Arc::clone(partner),
            })
        };
        Ok(parties())
    }
}
