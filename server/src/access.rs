//! What the server believes of those who speak to it: which proxies it trusts, which names are its
//! own, and the key of visitors' cookies.

use std::{net::IpAddr, path::Path};

use anyhow::Context;
use cookie::Key;
use ipnet::IpNet;
use sha2::{Digest, Sha256};

use crate::{
    admin::auth::cookies,
    dialect::Dialect,
    host_name::{is_loopback, name_of},
};

/// What the command line says about it.
#[derive(Clone, Debug, Default)]
pub struct AccessSettings {
    /// Proxies whose word about where a request comes from is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// Names that the server is reached by.
    pub hosts: Vec<String>,
    /// The server listens on a loopback address, so it has the names of this machine and no others than `hosts`.
    pub on_loopback: bool,
    /// Without a password, every local user is the admin.
    pub open_admin: bool,
    /// `/metrics` answers to this machine without a token.
    pub open_metrics: bool,
    /// What programs read `/metrics` with.
    pub metrics_token: Option<String>,
    /// Origins whose pages may call the APIs, such as `https://chat.example`.
    pub cors: Vec<String>,
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

    /// Whether the request's host must be one of the server's names.
    pub(crate) fn checks_hosts(&self) -> bool {
        self.settings.on_loopback || !self.settings.hosts.is_empty()
    }

    /// Whether this is one of its names. Those of the machine itself always are: no other site can have them.
    pub(crate) fn answers_to(&self, name: &str) -> bool {
        let named = |host: &String| host.eq_ignore_ascii_case(name.strip_suffix('.').unwrap_or(name));
        // An IP address cannot be rebound by DNS; on loopback only a proxy's visitors come with one.
        let address = !self.settings.on_loopback && name.parse::<IpAddr>().is_ok();
        address || is_loopback(name) || self.settings.hosts.iter().any(named)
    }

    /// Whether this machine's users are admins while no password is set.
    pub(crate) fn open_admin(&self) -> bool {
        self.settings.open_admin
    }

    /// Whether this machine's programs may read `/metrics`.
    pub(crate) fn open_metrics(&self) -> bool {
        self.settings.open_metrics
    }

    /// Whether this is the token of `/metrics`. Digests are compared, so the time taken says nothing about the token.
    pub(crate) fn is_metrics_token(&self, token: &str) -> bool {
        let digest = |text: &str| Sha256::digest(text.as_bytes());
        self.settings.metrics_token.as_deref().is_some_and(|known| digest(known) == digest(token))
    }

    /// Origins whose pages may call the APIs.
    pub(crate) fn cors(&self) -> &[String] {
        &self.settings.cors
    }

    /// Whether a page of that origin may call what is at that path: the APIs of programs, and nothing that a visitor's or
    /// an admin's cookie opens.
    pub(crate) fn lets_in(&self, origin: &str, path: &str) -> bool {
        (path.starts_with("/api/v1/") || Dialect::of(path).is_some())
            && self.settings.cors.iter().any(|known| known == origin)
    }

    pub(crate) fn visitor_key(&self) -> &Key {
        &self.visitor_key
    }
}

/// Reads `10.0.0.0/8`, `2001:db8::/32` or a single address.
pub(crate) fn parse_network(text: &str) -> Result<IpNet, String> {
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.map(|network| network.trunc()).map_err(|_| {
        "Expected an IP address or network, such as 10.0.0.2, 172.16.0.0/12 or fd00::/8.".to_owned()
    })
}

/// Reads the origin of pages, as browsers send it.
pub(crate) fn parse_origin(text: &str) -> Result<String, String> {
    let origin = url::Url::parse(text.trim()).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let origin = origin.filter(|url| url.path() == "/" && url.query().is_none() && url.fragment().is_none());
    origin.map(|url| url.origin().ascii_serialization()).ok_or_else(|| {
        "Expected scheme and host, such as https://chat.example or http://localhost:8000.".to_owned()
    })
}

/// Reads a name that the server is reached by.
pub(crate) fn parse_host(text: &str) -> Result<String, String> {
    let text = text.trim();
    let plain =
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':'));
    match name_of(text).or_else(|| text.parse::<IpAddr>().is_ok().then_some(text)) {
        Some(name) if plain || text.starts_with('[') => {
            Ok(name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase())
        }
        _ => Err("Expected a host name, such as studio.example.".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_trusted_by_network() {
        let data = tempfile::tempdir().unwrap();
        let trusted_proxies =
            ["10.1.2.3/8", "fd00::/8", "192.0.2.1"].map(|text| parse_network(text).unwrap()).to_vec();
        let access =
            Access::open(data.path(), AccessSettings { trusted_proxies, ..AccessSettings::default() })
                .unwrap();
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
            assert!(parse_network(wrong).unwrap_err().starts_with("Expected an IP address"), "{wrong}");
        }
    }

    #[test]
    fn origins_are_read_as_browsers_send_them() {
        for (text, origin) in [
            ("https://Chat.Example", "https://chat.example"),
            ("http://localhost:8000/", "http://localhost:8000"),
            ("https://chat.example:443", "https://chat.example"),
        ] {
            assert_eq!(parse_origin(text).as_deref(), Ok(origin));
        }
        for wrong in ["", "*", "chat.example", "https://chat.example/page", "ftp://chat.example", "null"] {
            assert!(parse_origin(wrong).is_err(), "{wrong}");
        }
        let data = tempfile::tempdir().unwrap();
        let cors = vec!["https://chat.example".to_owned()];
        let access = Access::open(data.path(), AccessSettings { cors, ..AccessSettings::default() }).unwrap();
        for (origin, path, expected) in [
            ("https://chat.example", "/v1/images/generations", true),
            ("https://chat.example", "/sdapi/v1/txt2img", true),
            ("https://chat.example", "/api/v1/generations", true),
            ("https://chat.example", "/admin/api/queue", false),
            ("https://chat.example", "/api/fn/generate", false),
            ("https://chat.example", "/", false),
            ("https://evil.example", "/v1/images/generations", false),
            ("http://chat.example", "/v1/images/generations", false),
        ] {
            assert_eq!(access.lets_in(origin, path), expected, "{origin} {path}");
        }
    }

    #[test]
    fn a_server_answers_to_its_names() {
        let data = tempfile::tempdir().unwrap();
        let open = |settings| Access::open(data.path(), settings).unwrap();
        let hosts = vec![parse_host("Studio.Example:8443").unwrap()];
        let access = open(AccessSettings { hosts, ..AccessSettings::default() });
        assert!(access.checks_hosts());
        for (name, expected) in [
            ("studio.example", true),
            ("STUDIO.EXAMPLE.", true),
            ("localhost", true),
            ("192.168.1.5", true),
            ("a.studio.example", false),
            ("evil.example", false),
        ] {
            assert_eq!(access.answers_to(name), expected, "{name}");
        }
        assert!(!open(AccessSettings::default()).checks_hosts());
        assert!(open(AccessSettings { on_loopback: true, ..AccessSettings::default() }).checks_hosts());
        for wrong in ["", "https://studio.example", "studio.example/", "a b", "*", ":80"] {
            assert!(parse_host(wrong).is_err(), "{wrong}");
        }
    }
}
