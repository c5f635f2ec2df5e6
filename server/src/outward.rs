//! Requests that leave this server. An address that somebody typed or another server named must not reach what only this
//! machine or its network can reach: names are resolved here, once, and private addresses are refused unless their host was
//! allowed at start. Redirects are not followed.

use std::{net::IpAddr, time::Duration};

use ureq::{
    Agent,
    config::{Config, ConfigBuilder},
    http::{HeaderMap, Uri},
    typestate::AgentScope,
    unversioned::{
        resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver},
        transport::{DefaultConnector, NextTimeout},
    },
};

use crate::trust;

/// How long a host may take to accept a connection, and a whole request without a large body.
const CONNECT: Duration = Duration::from_secs(10);
const WHOLE: Duration = Duration::from_secs(30);
/// How long a large body may take to be sent.
const UPLOAD: Duration = Duration::from_secs(3600);

/// An agent for short requests. `allowed`: hosts that may have private addresses.
pub(crate) fn agent(allowed: &[String]) -> Agent {
    within(allowed, WHOLE)
}

/// An agent whose requests may take that long.
pub(crate) fn within(allowed: &[String], whole: Duration) -> Agent {
    of(allowed, Agent::config_builder().timeout_global(Some(whole)))
}

/// An agent for requests with a large body. `silence`: how long an answer may take once it was sent, and its parts.
pub(crate) fn uploader(allowed: &[String], silence: Duration) -> Agent {
    let config = Agent::config_builder().timeout_send_body(Some(UPLOAD));
    of(allowed, config.timeout_recv_response(Some(silence)).timeout_recv_body(Some(silence)))
}

/// How long an answer asks to wait before the next try: `Retry-After` in seconds, a day at most.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get("retry-after")?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(86_400)))
}

fn of(allowed: &[String], config: ConfigBuilder<AgentScope>) -> Agent {
    let config = config
        .tls_config(trust::roots())
        .max_redirects(0)
        .http_status_as_error(false)
        // A proxy of the environment would resolve names itself.
        .proxy(None)
        .timeout_connect(Some(CONNECT))
        .user_agent(concat!("adire/", env!("CARGO_PKG_VERSION")))
        .build();
    let allowed = allowed.iter().map(|host| host.to_ascii_lowercase()).collect();
    let resolver = PublicOnly { inner: DefaultResolver::default(), allowed };
    Agent::with_parts(config, DefaultConnector::default(), resolver)
}

/// Resolves names to public addresses.
struct PublicOnly {
    inner: DefaultResolver,
    /// In lower case.
    allowed: Vec<String>,
}

impl std::fmt::Debug for PublicOnly {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PublicOnly").field("allowed", &self.allowed).finish_non_exhaustive()
    }
}

impl Resolver for PublicOnly {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.inner.resolve(uri, config, timeout)?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_ascii_lowercase();
        if self.allowed.contains(&host) || found.iter().all(|address| is_public(address.ip())) {
            return Ok(found);
        }
        let shown: String = host.chars().take(80).collect();
        Err(ureq::Error::Other(
            format!(
                "{shown} has a private address; start the server with --internal-host {shown} to allow it"
            )
            .into(),
        ))
    }
}

/// Whether an address is one of the public internet.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let special = v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || v4.is_documentation()
                || v4.is_multicast();
            // This network, carrier-grade NAT, protocol assignments, benchmarks, reserved.
            !(special
                || a == 0
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && c == 0)
                || (a == 198 && (18..20).contains(&b))
                || a >= 240)
        }
        IpAddr::V6(v6) => {
            let [first, second, ..] = v6.segments();
            // Global unicast, without documentation, Teredo and 6to4, which hold IPv4 addresses.
            (0x2000..0x4000).contains(&first)
                && !(first == 0x2001 && (second == 0xdb8 || second < 0x200))
                && first != 0x2002
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_may_ask_to_wait_a_day_at_most() {
        let asked = |value: &str| {
            retry_after(&HeaderMap::from_iter([("retry-after".parse().unwrap(), value.parse().unwrap())]))
        };
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        assert_eq!(asked("999999999"), Some(Duration::from_secs(86_400)));
        for value in ["-1", "soon", "Wed, 21 Oct 2026 07:28:00 GMT"] {
            assert_eq!(asked(value), None, "{value}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn only_the_public_internet_is_public() {
        for (address, public) in [
            ("93.184.216.34", true),
            ("2606:2800:220:1::1", true),
            ("127.0.0.1", false),
            ("10.1.2.3", false),
            ("172.16.0.1", false),
            ("192.168.1.1", false),
            ("169.254.169.254", false),
            ("100.64.0.1", false),
            ("0.0.0.0", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("198.18.0.1", false),
            ("::1", false),
            ("::", false),
            ("::ffff:127.0.0.1", false),
            ("fe80::1", false),
            ("fd00::1", false),
            ("2001:db8::1", false),
            ("2002:7f00:1::", false),
            ("64:ff9b::a00:1", false),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), public, "{address}");
        }
    }

    #[test]
    fn a_private_host_is_refused_unless_it_is_allowed() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["127.0.0.1", "localhost"] {
            let refused = agent(&[]).get(format!("http://{host}:{port}/")).call().unwrap_err().to_string();
            assert!(refused.contains(&format!("--internal-host {host}")), "{refused}");
        }
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "nothing was connected to");
        listener.set_nonblocking(false).unwrap();
        let answering = std::thread::spawn(move || {
            use std::io::{Read, Write};
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 2048]);
            stream
                .write_all(b"HTTP/1.1 302 Found\r\nlocation: http://10.0.0.1/\r\ncontent-length: 0\r\n\r\n")
                .unwrap();
        });
        let answer =
            agent(&["LOCALHOST".to_owned()]).get(format!("http://localhost:{port}/")).call().unwrap();
        assert_eq!(answer.status().as_u16(), 302, "redirects are not followed");
        answering.join().unwrap();
    }
}
