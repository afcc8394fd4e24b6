//! Shorthands for kinds that many fields have.

use model::PublicMaterial;
use model::definition::{Balance, Order, SettleWhen};
use model::schema::{Kind, TEXTS};

pub(crate) const TEXT: Kind = Kind::Text;
pub(crate) const SECRET: Kind = Kind::Secret;
pub(crate) const CERTIFICATE: Kind = Kind::Public(PublicMaterial::Certificate);
pub(crate) const BOOL: Kind = Kind::Bool;
pub(crate) const DURATION: Kind = Kind::Duration;
pub(crate) const SIZE: Kind = Kind::Size;
pub(crate) const LIST: Kind = TEXTS;

model::choice_of! {
    /// Which of several addresses is tried first.
    pub(crate) BALANCE = Balance;
    /// In which order offers of one poll are taken.
    pub(crate) ORDER = Order;
    /// When the source is settled.
    pub(crate) SETTLE = SettleWhen;
}
