//! Who asks, in the two ways in which the studio can tell: by the network that a request comes from, and by the random
//! id that a browser keeps. Every limit counts by these; callers of the studio must have verified both.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use sha2::{Digest, Sha256};

/// A random id that a browser keeps. The server has checked that it gave the id out itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Visitor(pub String);

/// What one household or machine has to itself: an IPv4 address, or a /64 of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network(IpAddr);

impl Network {
    /// The network of an address. An IPv4 address in IPv6 form is the IPv4 address.
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            v4 => v4,
        })
    }

    /// Its first address.
    pub fn address(self) -> IpAddr {
        self.0
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => write!(f, "{address}"),
            IpAddr::V6(address) => write!(f, "{address}/64"),
        }
    }
}

/// Who asks. Programs keep no id, so a network alone is somebody, too; who calls from within the process has neither.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Client {
    /// The browser, where it keeps an id.
    pub visitor: Option<Visitor>,
    /// Where the request comes from, where that is known.
    pub network: Option<Network>,
}

impl Client {
    /// The browser's id.
    pub fn visitor_id(&self) -> Option<&str> {
        self.visitor.as_ref().map(|visitor| visitor.0.as_str())
    }
}

impl Visitor {
    /// What rows keep of it: who reads the database cannot be that visitor.
    pub(crate) fn digest(&self) -> String {
        digest("visitor", &self.0)
    }
}

/// Half of a sha256, as hex digits. `of` keeps digests of different things apart.
pub(crate) fn digest(of: &str, text: &str) -> String {
    let hash = Sha256::new().chain_update(of).chain_update([0]).chain_update(text).finalize();
    hex::encode(&hash[..16])
}

/// On whose behalf something is changed.
#[derive(Clone, Copy, Debug)]
pub enum By<'a> {
    /// The admin, or this process itself: everything may be changed.
    Admin,
    /// Somebody, who may change what is theirs.
    Client(&'a Client),
}

/// Who asks for a change, as a task of its own can keep it.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    admin: bool,
    pub(crate) who: Who,
}

impl From<By<'_>> for Asker {
    fn from(by: By<'_>) -> Self {
        match by {
            By::Admin => Self { admin: true, who: Who::default() },
            By::Client(client) => Self { admin: false, who: client.into() },
        }
    }
}

impl Asker {
    pub(crate) fn is_admin(&self) -> bool {
        self.admin
    }

    /// Whether a generation of that visitor (a digest) may be cancelled or deleted. A generation created without a
    /// visitor's cookie can be managed by anyone with its id, since nothing else identifies its owner.
    pub(crate) fn may(&self, visitor: Option<&str>) -> bool {
        self.admin || visitor.is_none_or(|visitor| self.who.visitor.as_deref() == Some(visitor))
    }
}

/// A client as limits and rows know it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Who {
    /// Digest of the visitor's id.
    pub(crate) visitor: Option<String>,
    /// The network, as it is written.
    pub(crate) network: Option<String>,
}

impl From<&Client> for Who {
    fn from(client: &Client) -> Self {
        Self {
            visitor: client.visitor.as_ref().map(Visitor::digest),
            network: client.network.map(|network| network.to_string()),
        }
    }
}

impl Who {
    /// Whether `other` counts as the same one: the same visitor, or the same network where neither has a visitor. Calls
    /// from within the process are nobody's.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (&self.visitor, &other.visitor) {
            (Some(this), Some(that)) => this == that,
            (None, None) => self.network.is_some() && self.network == other.network,
            _ => false,
        }
    }

    /// Whether both come from the same network.
    pub(crate) fn is_near(&self, other: &Self) -> bool {
        self.network.is_some() && self.network == other.network
    }

    /// Under which name uploads are kept; `None` for calls from within the process.
    pub(crate) fn owner(&self) -> Option<String> {
        self.visitor.clone().or_else(|| self.network_digest().map(|digest| format!("~{digest}")))
    }

    /// What rows keep of the network.
    pub(crate) fn network_digest(&self) -> Option<String> {
        self.network.as_deref().map(|network| digest("network", network))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_an_ipv4_address_or_a_64() {
        for (address, network) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::", "2001:db8:1:2::/64"),
            ("::1", "::/64"),
        ] {
            assert_eq!(Network::of(address.parse().unwrap()).to_string(), network, "{address}");
        }
    }
}
