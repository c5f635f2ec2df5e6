//! What the server believes of those who speak to it: which proxies it trusts, and the key of visitors' cookies.

use std::{net::IpAddr, path::Path};

use anyhow::Context;
use cookie::Key;
use ipnet::IpNet;

use crate::operator::cookies;

/// What the command line says about it.
#[derive(Clone, Debug, Default)]
pub struct AccessSettings {
    /// Proxies whose word about where a request comes from is taken.
    pub trusted_proxies: Vec<IpNet>,
}

/// Read once at start; the same for every request.
pub struct Access {
    settings: AccessSettings,
    /// Signs visitors' cookies. Not the key of the admin's: what one key signed must never pass for the other.
    visitor_key: Key,
}

impl Access {
    /// Reads the key from a data folder, and makes it where it is absent.
    ///
    /// # Errors
    /// The key cannot be read or written.
    pub fn open(data: &Path, settings: AccessSettings) -> anyhow::Result<Self> {
        let visitor_key = cookies::key(&data.join("visitor.key")).context("the key of visitors' cookies")?;
        Ok(Self { settings, visitor_key })
    }

    /// Whether this is the address of a proxy whose word counts.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.settings.trusted_proxies.iter().any(|network| network.contains(&address))
    }

    pub(crate) fn visitor_key(&self) -> &Key {
        &self.visitor_key
    }
}

/// Reads `10.0.0.0/8`, `2001:db8::/32` or a single address.
pub(crate) fn parse_network(text: &str) -> Result<IpNet, String> {
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.map(|network| network.trunc()).map_err(|_| {
        "Expected an address or a network, such as 10.0.0.2, 172.16.0.0/12 or fd00::/8.".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_trusted_by_network() {
        let data = tempfile::tempdir().unwrap();
        let trusted_proxies =
            ["10.1.2.3/8", "fd00::/8", "192.0.2.1"].map(|text| parse_network(text).unwrap()).to_vec();
        let access = Access::open(data.path(), AccessSettings { trusted_proxies }).unwrap();
        for (address, expected) in [
            ("10.200.0.1", true),
            ("::ffff:10.0.0.1", true),
            ("fd12::1", true),
            ("192.0.2.1", true),
            ("192.0.2.2", false),
            ("11.0.0.1", false),
            ("::1", false),
        ] {
            assert_eq!(access.trusts(address.parse().unwrap()), expected, "{address}");
        }
        for wrong in ["", "10.0.0.0/33", "proxy.example", "10.0.0", "*"] {
            assert!(parse_network(wrong).unwrap_err().starts_with("Expected an address"), "{wrong}");
        }
    }
}
