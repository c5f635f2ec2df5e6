//! Requests to a Hub. Redirects are followed here, one by one, so that the token goes to the Hub's own address (scheme,
//! host and port of the endpoint) and nowhere else.

use std::time::Duration;

use ureq::{
    Agent, Body,
    http::{HeaderMap, Response, header},
};
use url::Url;

use crate::{outward::retry_after, trust};

/// Most redirects of one request.
const MAX_REDIRECTS: usize = 10;

/// How long a host may take to accept a connection, and how long a connection may be silent.
const CONNECT: Duration = Duration::from_secs(30);
const SILENCE: Duration = Duration::from_secs(60);

/// Most bytes of an answer that is read into memory.
const MAX_TEXT: u64 = 64 << 20;

/// A Hub, and the right to read from it.
pub(super) struct Client {
    agent: Agent,
    endpoint: Url,
    token: Option<String>,
}

/// Why a request failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// An answer that is neither a success nor a redirect.
    Status {
        status: u16,
        /// Who answered: scheme, host and port.
        origin: String,
        /// Whether that is the Hub itself.
        is_hub: bool,
        /// The Hub's own name of the reason, such as `GatedRepo`.
        code: Option<String>,
        /// How long to wait before the next try.
        retry_after: Option<Duration>,
    },
    /// A redirect that is not followed; one clause.
    Redirect(String),
    /// No answer, or one that broke off; one clause.
    Broken(String),
}

impl Client {
    /// # Errors
    /// A clause: the endpoint is not an http(s) address, or the token cannot be one.
    pub(super) fn new(endpoint: &str, token: Option<String>) -> Result<Self, String> {
        let endpoint = address(endpoint)?;
        token.as_deref().map_or(Ok(()), check_token)?;
        let agent = Agent::config_builder()
            .tls_config(trust::roots())
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            .user_agent(concat!("adire/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        Ok(Self { agent, endpoint, token })
    }

    /// An address below the endpoint; each segment is escaped.
    pub(super) fn url<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.endpoint.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// Scheme, host and port of the Hub.
    pub(super) fn origin(&self) -> String {
        self.endpoint.origin().ascii_serialization()
    }

    /// Whether there is a token.
    pub(super) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// The text of a small answer.
    pub(super) fn text(&self, url: Url) -> Result<String, Failure> {
        let mut response = self.follow("GET", url, None)?;
        response.body_mut().with_config().limit(MAX_TEXT).read_to_string().map_err(broken)
    }

    /// What is known of a file without fetching it: the headers of the answer, or of the redirect to another host that
    /// names the file's hash.
    pub(super) fn head(&self, url: Url) -> Result<HeaderMap, Failure> {
        Ok(self.follow("HEAD", url, None)?.into_parts().0.headers)
    }

    /// A file from byte `start` on, where the server can do that.
    pub(super) fn get(&self, url: Url, start: u64) -> Result<Response<Body>, Failure> {
        self.follow("GET", url, (start > 0).then_some(start))
    }

    fn follow(&self, method: &str, mut url: Url, start: Option<u64>) -> Result<Response<Body>, Failure> {
        // Once the way has left the Hub the token stays behind, also where it leads back.
        let mut is_hub = true;
        for _ in 0..=MAX_REDIRECTS {
            is_hub = is_hub && url.origin() == self.endpoint.origin();
            let response = self.send(method, &url, start, is_hub)?;
            let (status, headers) = (response.status().as_u16(), response.headers());
            if response.status().is_success() {
                return Ok(response);
            }
            if !matches!(status, 301 | 302 | 303 | 307 | 308) {
                return Err(Failure::Status {
                    status,
                    origin: url.origin().ascii_serialization(),
                    is_hub,
                    code: text(headers, "x-error-code").map(str::to_owned),
                    retry_after: retry_after(headers),
                });
            }
            let next = next_hop(&url, text(headers, "location").unwrap_or_default())?;
            if method == "HEAD" && next.origin() != url.origin() && headers.contains_key("x-linked-etag") {
                return Ok(response);
            }
            url = next;
        }
        let message = format!("{} redirects more than {MAX_REDIRECTS} times", self.origin());
        Err(Failure::Redirect(message))
    }

    fn send(
        &self,
        method: &str,
        url: &Url,
        start: Option<u64>,
        is_hub: bool,
    ) -> Result<Response<Body>, Failure> {
        let mut request = match method {
            "HEAD" => self.agent.head(url.as_str()),
            _ => self.agent.get(url.as_str()),
        };
        if let Some(token) = self.token.as_ref().filter(|_| is_hub) {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(start) = start {
            request = request.header(header::RANGE, format!("bytes={start}-"));
        }
        request.call().map_err(broken)
    }
}

/// The value of a header, where it is text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn broken(error: ureq::Error) -> Failure {
    Failure::Broken(error.to_string())
}

/// The address of a Hub.
///
/// # Errors
/// A clause: it is not an http(s) address.
pub(super) fn address(endpoint: &str) -> Result<Url, String> {
    let parsed = Url::parse(endpoint.trim()).ok().filter(|url| is_web(url) && url.has_host());
    parsed.ok_or_else(|| {
        format!(
            "HF_ENDPOINT must be an address such as https://huggingface.co; got “{}”",
            endpoint.escape_debug()
        )
    })
}

/// Whether a header can hold the token.
///
/// # Errors
/// A clause: it cannot.
pub(super) fn check_token(token: &str) -> Result<(), String> {
    if token.chars().all(|c| c.is_ascii_graphic()) {
        return Ok(());
    }
    Err("HF_TOKEN has characters that are not allowed in a token; copy it again".to_owned())
}

fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}

/// Where a redirect from `from` leads.
fn next_hop(from: &Url, location: &str) -> Result<Url, Failure> {
    let origin = from.origin().ascii_serialization();
    let Some(mut next) = from.join(location).ok().filter(is_web) else {
        let message =
            format!("{origin} redirects to “{}”, which is not a web address", location.escape_debug());
        return Err(Failure::Redirect(message));
    };
    if from.scheme() == "https" && next.scheme() == "http" {
        let to = next.origin().ascii_serialization();
        let message = format!("{origin} redirects to {to}, which is not encrypted; redirect refused");
        return Err(Failure::Redirect(message));
    }
    // An address that was made elsewhere must not bring a name and a password along.
    let _ = next.set_username("");
    let _ = next.set_password(None);
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_joined_and_never_lead_from_https_to_http() {
        let from = Url::parse("https://hub.example/a/b").unwrap();
        for (location, expected) in [
            ("/c", "https://hub.example/c"),
            ("c?x=1", "https://hub.example/a/c?x=1"),
            ("//cdn.example/c", "https://cdn.example/c"),
            ("https://me:secret@cdn.example/c", "https://cdn.example/c"),
        ] {
            assert_eq!(next_hop(&from, location).unwrap().as_str(), expected);
        }
        for location in ["http://hub.example/a/b", "file:///etc/passwd", "http://", "ftp://hub.example/"] {
            assert!(matches!(next_hop(&from, location), Err(Failure::Redirect(_))), "{location}");
        }
        let plain = Url::parse("http://hub.example/a").unwrap();
        assert!(next_hop(&plain, "https://hub.example/a").is_ok());
    }

    #[test]
    fn an_address_below_the_endpoint_is_escaped() {
        let client = Client::new("https://mirror.example/hf/", None).unwrap();
        let url = client.url(["org", "name", "resolve", "refs/pr/1", "a b", "c#?.json"]);
        assert_eq!(
            url.as_str(),
            "https://mirror.example/hf/org/name/resolve/refs%2Fpr%2F1/a%20b/c%23%3F.json"
        );
        for wrong in ["", "huggingface.co", "file:///x", "mailto:a@b"] {
            assert!(Client::new(wrong, None).is_err(), "{wrong}");
        }
        assert!(Client::new("https://hub.example", Some("hf_a\nb".to_owned())).is_err());
    }
}
