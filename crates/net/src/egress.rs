//! Egress rules: the addresses that Waybill may connect to. A person who may edit an endpoint must not be able to
//! reach the cloud's metadata service, or machines that answer only to link-local addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Rules for target addresses. They are applied to every address after name resolution.
#[derive(Clone, Debug)]
pub struct EgressRules {
    /// Whether loopback addresses may be used. Default: yes.
    pub allow_loopback: bool,
    /// Networks that may be used although a rule forbids them.
    pub allow: Vec<Network>,
}

impl Default for EgressRules {
    fn default() -> Self {
        Self { allow_loopback: true, allow: Vec::new() }
    }
}

/// Metadata services that are not link-local: AWS over IPv6, Azure's host, Alibaba, Oracle.
const METADATA: &[IpAddr] = &[
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

/// Names of metadata services, for hosts whose address a proxy finds.
const METADATA_NAMES: &[&str] =
    &["metadata.google.internal", "metadata.goog", "metadata", "instance-data", "instance-data.ec2.internal"];

impl EgressRules {
    /// Why a proxy must not be asked for a name; `None` if it may.
    #[must_use]
    pub fn forbids_name(&self, host: &str) -> Option<&'static str> {
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        if METADATA_NAMES.contains(&name.as_str()) {
            return Some("it is a cloud metadata service");
        }
        // RFC 6761, section 6.3. The proxy may run on this machine.
        let loopback = name == "localhost" || name.ends_with(".localhost");
        (loopback && !self.allow_loopback)
            .then_some("it is a name for loopback addresses, which are not allowed")
    }

    /// Why an address must not be used; `None` if it may.
    #[must_use]
    pub fn forbids(&self, address: IpAddr) -> Option<&'static str> {
        if self.allow.iter().any(|network| network.contains(address)) {
            return None;
        }
        // An IPv6 address with an embedded IPv4 address is checked as that IPv4 address.
        match embedded(address) {
            Some(inner) => self.judge(IpAddr::V4(inner)),
            None => self.judge(address),
        }
    }

    fn judge(&self, address: IpAddr) -> Option<&'static str> {
        if METADATA.contains(&address) || address == IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)) {
            return Some("it is a cloud metadata service");
        }
        let (unspecified, link_local, broadcast) = match address {
            IpAddr::V4(v4) => (v4.octets()[0] == 0, v4.is_link_local(), v4.is_broadcast()),
            IpAddr::V6(v6) => (v6.is_unspecified(), v6.is_unicast_link_local(), false),
        };
        if unspecified {
            Some("it is the unspecified address")
        } else if link_local {
            Some("it is link-local")
        } else if broadcast || address.is_multicast() {
            Some("it is a multicast or broadcast address")
        } else if address.is_loopback() && !self.allow_loopback {
            Some("it is a loopback address, which is not allowed")
        } else {
            None
        }
    }
}

/// The IPv4 address inside an IPv6 one: mapped and compatible (RFC 4291), NAT64 (RFC 6052), 6to4 (RFC 3056).
fn embedded(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = address else { return None };
    if v6.is_loopback() || v6.is_unspecified() {
        return None;
    }
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let v4 = |high: u16, low: u16| {
        let [w, x] = high.to_be_bytes();
        let [y, z] = low.to_be_bytes();
        Some(Ipv4Addr::new(w, x, y, z))
    };
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0xffff | 0] | [0x64, 0xff9b, 0, 0, 0, 0] => v4(g, h),
        [0x2002, high, low, ..] => v4(high, low),
        _ => None,
    }
}

/// A network in prefix notation, such as `169.254.7.0/24` or `fe80::/10`; a bare address stands for itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether the network contains an address. IPv4 addresses in mapped form are treated as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let shift = |width: u8| u32::from(width.saturating_sub(self.prefix));
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(mine), IpAddr::V4(other)) => {
                (mine.to_bits() ^ other.to_bits()).checked_shr(shift(32)).unwrap_or(0) == 0
            }
            (IpAddr::V6(mine), IpAddr::V6(other)) => {
                (mine.to_bits() ^ other.to_bits()).checked_shr(shift(128)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("network {text:?}: write an address and a prefix, such as 10.0.0.0/8");
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.trim().parse().map_err(|_| wrong())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => width,
            Some(prefix) => prefix.trim().parse().ok().filter(|p| *p <= width).ok_or_else(wrong)?,
        };
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::{EgressRules, Network};

    #[test]
    fn forbidden_addresses_are_known_in_every_spelling() {
        let rules = EgressRules::default();
        for address in [
            "169.254.169.254",
            "169.254.0.1",
            "fe80::1",
            "febf::1",
            "fd00:ec2::254",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "168.63.129.16",
            "100.100.100.200",
            "::ffff:0.0.0.0",
        ] {
            assert!(rules.forbids(address.parse().unwrap()).is_some(), "{address} is allowed");
        }
        for address in ["127.0.0.1", "::1", "10.0.0.1", "192.168.1.1", "8.8.8.8", "2001:db8::1", "fd00::1"] {
            assert_eq!(rules.forbids(address.parse().unwrap()), None, "{address} is forbidden");
        }
    }

    #[test]
    fn loopback_and_exceptions_are_settings() {
        let allow = vec!["169.254.7.0/24".parse().unwrap(), "fe80::/10".parse().unwrap()];
        let rules = EgressRules { allow_loopback: false, allow };
        for address in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "169.254.8.1"] {
            assert!(rules.forbids(address.parse().unwrap()).is_some(), "{address} is allowed");
        }
        for address in ["169.254.7.9", "::ffff:169.254.7.9", "fe80::5"] {
            assert_eq!(rules.forbids(address.parse().unwrap()), None, "{address} is forbidden");
        }
    }

    #[test]
    fn networks_are_read_and_checked() {
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("203.0.113.9".parse().unwrap()));
        let one: Network = "10.1.2.3".parse().unwrap();
        assert_eq!(one.to_string(), "10.1.2.3/32");
        assert!(!one.contains("10.1.2.2".parse().unwrap()));
        for text in ["10.0.0.0/33", "ten", "::/129", "10.0.0.0/", "/8"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
