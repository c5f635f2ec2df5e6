//! Names of hosts as requests write them.

use std::net::IpAddr;

/// The name in `name:port`, `[::1]:port` without brackets; `None` for what is not written like that.
pub(crate) fn name_of(host: &str) -> Option<&str> {
    let (name, rest) = match host.strip_prefix('[') {
        Some(inner) => inner.split_once(']')?,
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let port = rest.strip_prefix(':').unwrap_or(rest);
    let whole = rest.is_empty() || rest.starts_with(':');
    (!name.is_empty() && whole && port.bytes().all(|byte| byte.is_ascii_digit())).then_some(name)
}

/// Whether a host name always resolves to the machine itself.
pub(crate) fn is_loopback(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_written_as_a_loopback_name_is_one() {
        let is = |host: &str| name_of(host).is_some_and(is_loopback);
        for host in [
            "localhost",
            "localhost:4310",
            "LocalHost.:4310",
            "127.0.0.1:4310",
            "127.9.9.9",
            "[::1]:4310",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "localhost:",
        ] {
            assert!(is(host), "{host}");
        }
        for host in [
            "",
            ":4310",
            "evil.example",
            "localhost.evil.example",
            "localhost:4310.evil.example",
            "localhost:4310:1",
            "localhost:evil",
            "127.0.0.1.evil.example",
            "[::1].evil.example",
            "[::1]evil",
            "[::1]:4310.evil.example",
            "[::1",
            "::1]",
            "evil@localhost",
            "localhost@evil",
            "localhost/",
            "10.0.0.1",
            "0.0.0.0",
            "127.1",
        ] {
            assert!(!is(host), "{host}");
        }
    }
}
