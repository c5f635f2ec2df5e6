//! Where a request comes from. Without trusted proxies that is the other end of its connection, and no header is
//! believed. Behind one, the list in X-Forwarded-For or Forwarded is read from the right (the nearest proxy wrote
//! that end), past every proxy that is trusted, up to the first address that is not. X-Real-IP is not read: a proxy
//! that does not set it passes on what a client wrote.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use adire_studio::Network;
use axum::{
    extract::{ConnectInfo, FromRequestParts, Request, State},
    http::{HeaderMap, Uri, header, request::Parts},
    middleware::Next,
    response::Response,
};

use crate::access::Access;

const FOR: &str = "x-forwarded-for";
const PROTO: &str = "x-forwarded-proto";
const HOST: &str = "x-forwarded-host";

/// What is known of a request's way here; in the extensions of every request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// The other end of the connection.
    pub(crate) peer: Option<IpAddr>,
    /// Who asks, behind the proxies that are trusted.
    pub(crate) address: Option<IpAddr>,
    /// The browser speaks https, to us or to a trusted proxy.
    pub(crate) https: bool,
    /// The requested host, port included.
    pub(crate) host: Option<String>,
}

impl Arrival {
    /// What limits count by.
    pub(crate) fn network(&self) -> Option<Network> {
        self.address.map(Network::of)
    }

    fn of(access: &Access, peer: Option<IpAddr>, headers: &HeaderMap, uri: &Uri) -> Self {
        let peer = peer.map(|peer| peer.to_canonical());
        let scheme = uri.scheme_str() == Some("https");
        // HTTP/2 has it in the address.
        let named =
            text(headers, header::HOST.as_str()).or_else(|| uri.authority().map(|host| host.as_str()));
        let Some(proxy) = peer.filter(|peer| access.trusts(*peer)) else {
            return Self { peer, address: peer, https: scheme, host: named.map(str::to_owned) };
        };
        // Proxies that add to a list put what they saw themselves at its end.
        let host = text(headers, HOST).and_then(|hosts| hosts.rsplit(',').next()).map(str::trim).or(named);
        let proto = text(headers, PROTO).and_then(|all| all.split(',').next()).map(str::trim);
        let https = match proto {
            Some(proto) => proto.eq_ignore_ascii_case("https"),
            None => element(headers, "proto").is_some_and(|proto| proto.eq_ignore_ascii_case("https")),
        };
        let address = Some(behind(access, proxy, headers));
        Self { peer, address, https: scheme || https, host: host.map(str::to_owned) }
    }
}

impl<S: Sync> FromRequestParts<S> for Arrival {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}

/// Finds out once, for every layer and handler.
pub(crate) async fn identify(
    State(access): State<Arc<Access>>,
    mut request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    let arrival = Arrival::of(&access, peer, request.headers(), request.uri());
    request.extensions_mut().insert(arrival);
    next.run(request).await
}

/// The address that speaks through `proxy`, which is trusted.
fn behind(access: &Access, proxy: IpAddr, headers: &HeaderMap) -> IpAddr {
    let walk = |hops: &mut dyn Iterator<Item = Option<IpAddr>>| {
        let mut found = proxy;
        while access.trusts(found) {
            match hops.next() {
                Some(Some(hop)) => found = hop.to_canonical(),
                // `unknown`, a name, or the end of the list: the last proxy answers for what is behind it.
                Some(None) | None => break,
            }
        }
        found
    };
    let listed =
        headers.contains_key(FOR).then(|| walk(&mut from_right(headers, FOR).map(|hop| address(hop.trim()))));
    let elements = headers.contains_key(header::FORWARDED).then(|| {
        let hops = from_right(headers, header::FORWARDED.as_str());
        walk(&mut hops.map(|hop| address(parameter(hop, "for")?)))
    });
    match (listed, elements) {
        (Some(listed), Some(elements)) if listed == elements => listed,
        // One of them is the client's own. It is unclear which, so neither is trusted.
        (Some(_), Some(_)) => proxy,
        (Some(found), None) | (None, Some(found)) => found,
        (None, None) => proxy,
    }
}

/// The elements of a list that may be spread over several headers, last one first. Quotes are not looked at: what
/// stands left of the first address that is not trusted is anybody's, and may hold quotes that never end.
fn from_right<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = &'h str> {
    let lines: Vec<_> = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?")).collect();
    lines.into_iter().rev().flat_map(|line| line.rsplit(','))
}

/// A parameter of the last element of Forwarded.
fn element<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    from_right(headers, header::FORWARDED.as_str()).next().and_then(|element| parameter(element, name))
}

/// `for` in `for="[2001:db8::1]:4711";proto=https`, without quotes.
fn parameter<'e>(element: &'e str, name: &str) -> Option<&'e str> {
    let pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
    let mut found = pairs.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    found.next().map(|value| value.trim_matches('"'))
}

/// An address, with or without a port, as proxies write it.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches('"');
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;
    use crate::access::{AccessSettings, parse_network};

    fn arrival(peer: &str, given: &[(&'static str, &'static str)]) -> Arrival {
        let data = tempfile::tempdir().unwrap();
        let trusted_proxies = ["127.0.0.1", "10.0.0.0/8", "fd00::/8"].map(|it| parse_network(it).unwrap());
        let trusted_proxies = trusted_proxies.to_vec();
        let settings = AccessSettings { trusted_proxies, ..AccessSettings::default() };
        let access = Access::open(data.path(), settings).unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        Arrival::of(&access, peer.parse().ok(), &headers, &Uri::from_static("/"))
    }

    #[test]
    fn only_trusted_proxies_are_believed_and_only_what_they_wrote() {
        const REAL: &str = "203.0.113.9";
        for (peer, headers, expected) in [
            // Nobody speaks for an untrusted peer.
            ("192.0.2.1", &[(FOR, REAL)][..], "192.0.2.1"),
            ("192.0.2.1", &[("forwarded", "for=203.0.113.9")], "192.0.2.1"),
            ("::ffff:192.0.2.1", &[(FOR, REAL)], "192.0.2.1"),
            // One proxy, several, and lists over several lines.
            ("10.0.0.1", &[(FOR, REAL)], REAL),
            ("10.0.0.1", &[(FOR, "203.0.113.9, 10.0.0.2,fd00::2")], REAL),
            ("10.0.0.1", &[(FOR, "203.0.113.9"), (FOR, "10.0.0.2")], REAL),
            ("::ffff:10.0.0.1", &[(FOR, "::ffff:203.0.113.9")], REAL),
            ("10.0.0.1", &[(FOR, "203.0.113.9:5678")], REAL),
            ("10.0.0.1", &[(FOR, "[2001:db8::9]:5678")], "2001:db8::9"),
            ("10.0.0.1", &[(FOR, "2001:db8::9")], "2001:db8::9"),
            // What a client wrote stands left of what the proxy saw.
            ("10.0.0.1", &[(FOR, "198.51.100.1, 203.0.113.9")], REAL),
            ("10.0.0.1", &[(FOR, "127.0.0.1, 10.0.0.3, 203.0.113.9, 10.0.0.2")], REAL),
            // Anything but an address ends the chain.
            ("10.0.0.1", &[(FOR, "203.0.113.9, unknown")], "10.0.0.1"),
            ("10.0.0.1", &[(FOR, "203.0.113.9, proxy.example, 10.0.0.2")], "10.0.0.2"),
            ("10.0.0.1", &[(FOR, "")], "10.0.0.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &[(FOR, "10.9.9.9")], "10.9.9.9"),
            // Forwarded.
            ("10.0.0.1", &[("forwarded", "for=203.0.113.9;proto=https;by=10.0.0.1")], REAL),
            ("10.0.0.1", &[("forwarded", "For=\"[2001:db8::9]:47011\"")], "2001:db8::9"),
            ("10.0.0.1", &[("forwarded", "for=1.2.3.4, for=203.0.113.9, for=10.0.0.2")], REAL),
            ("10.0.0.1", &[("forwarded", "for=\"x, for=203.0.113.9")], REAL),
            ("10.0.0.1", &[("forwarded", "for=_hidden")], "10.0.0.1"),
            // Two stories: neither is believed.
            ("10.0.0.1", &[(FOR, REAL), ("forwarded", "for=198.51.100.1")], "10.0.0.1"),
            ("10.0.0.1", &[(FOR, REAL), ("forwarded", "for=203.0.113.9")], REAL),
            ("10.0.0.1", &[("x-real-ip", REAL)], "10.0.0.1"),
        ] {
            let found = arrival(peer, headers).address;
            assert_eq!(found, expected.parse().ok(), "{peer} {headers:?}");
        }
    }

    #[test]
    fn protocol_and_host_are_the_proxys_to_say() {
        for (peer, headers, https, host) in [
            ("192.0.2.1", &[("host", "a"), (PROTO, "https"), (HOST, "b")][..], false, "a"),
            ("10.0.0.1", &[("host", "a"), (PROTO, "https"), (HOST, "b")], true, "b"),
            ("10.0.0.1", &[("host", "a"), (PROTO, "HTTPS, http")], true, "a"),
            ("10.0.0.1", &[("host", "a"), (PROTO, "http"), (HOST, "evil, b")], false, "b"),
            ("10.0.0.1", &[("host", "a"), ("forwarded", "for=1.2.3.4;proto=https")], true, "a"),
        ] {
            let found = arrival(peer, headers);
            assert_eq!((found.https, found.host.as_deref()), (https, Some(host)), "{peer} {headers:?}");
        }
    }
}
