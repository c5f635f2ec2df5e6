//! Requests to the Hub, and what its answers mean.

use ureq::{
    Body,
    http::{Response, header},
};
use url::Url;

use super::{Hub, PushError};
use crate::outward::retry_after;

/// Most bytes of an answer.
const MAX_ANSWER: u64 = 16 << 20;
/// The kind of LFS messages.
pub(super) const LFS: &str = "application/vnd.git-lfs+json";

impl Hub {
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.endpoint.as_str().trim_end_matches('/'))
    }

    fn is_ours(&self, url: &Url) -> bool {
        url.origin() == self.endpoint.origin()
    }

    pub(super) fn get(&self, path: &str) -> Result<Response<Body>, PushError> {
        let request = self.agent.get(self.url(path));
        request
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .call()
            .map_err(|error| self.broken(&error))
    }

    pub(super) fn post(&self, path: &str, kind: &str, body: String) -> Result<Response<Body>, PushError> {
        let url = Url::parse(&self.url(path))
            .map_err(|_| PushError::lasting("The repository's name is not one of the Hub."))?;
        self.send_to(&url, kind, body)
    }

    /// Posts; the token goes along to the Hub itself.
    pub(super) fn send_to(&self, url: &Url, kind: &str, body: String) -> Result<Response<Body>, PushError> {
        let mut request =
            self.agent.post(url.as_str()).header(header::ACCEPT, accepted(kind)).content_type(kind);
        if self.is_ours(url) {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", self.token));
        }
        request.send(body).map_err(|error| self.broken(&error))
    }

    pub(super) fn broken(&self, error: &ureq::Error) -> PushError {
        let message = format!("The Hub cannot be reached: {error}.");
        PushError {
            transient: !matches!(error, ureq::Error::Other(_)),
            ..PushError::passing(self.safe(&message))
        }
    }

    /// What a status means.
    pub(super) fn refusal(&self, response: &Response<Body>, what: &str) -> PushError {
        let text = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let note: String = text("x-error-message").unwrap_or_default().chars().take(200).collect();
        let note = if note.is_empty() { String::new() } else { format!(" It says: {}", self.safe(&note)) };
        let status = response.status().as_u16();
        let wait = retry_after(response.headers());
        let (transient, sentence) = match status {
            300..=399 => (false, "The Hub redirects, which is not followed. Check HF_ENDPOINT.".to_owned()),
            401 => (false, "The Hub does not accept HF_TOKEN. Use a token with write access.".to_owned()),
            403 => (false, format!("HF_TOKEN may not write to {what}. Use a token with write access there.")),
            404 => (false, format!("The Hub does not know {what}. Check the owner's name.")),
            408 | 409 | 412 => (true, format!("{what} was changed or is in use at the same time.")),
            413 => (false, format!("{what} is too large for the Hub.")),
            429 => (true, "The Hub takes no more requests for now.".to_owned()),
            500.. => (true, format!("The Hub has an internal error ({status}).")),
            _ => (false, format!("The Hub refuses {what} ({status}).")),
        };
        PushError { message: sentence + &note, transient, wait }
    }

    /// The same of an address that the Hub named. One of another host is good for a while only, and the next try gets a new one.
    pub(super) fn refusal_of(&self, url: &Url, response: &Response<Body>, what: &str) -> PushError {
        let status = response.status().as_u16();
        if !self.is_ours(url) && matches!(status, 400 | 401 | 403 | 404 | 410) {
            return PushError::passing(format!(
                "The Hub's store refuses {what} ({status}). Its address may have expired."
            ));
        }
        self.refusal(response, what)
    }

    /// A text in which the token cannot be.
    pub(super) fn safe(&self, text: &str) -> String {
        text.replace(&self.token, "…")
    }
}

fn accepted(kind: &str) -> &str {
    if kind == LFS { LFS } else { "application/json" }
}

/// Reads an answer's JSON. Nonsense may be a proxy's, so another try is made.
pub(super) fn answer<T: serde::de::DeserializeOwned>(mut response: Response<Body>) -> Result<T, PushError> {
    let text = response.body_mut().with_config().limit(MAX_ANSWER).read_to_string();
    let text = text.map_err(|_| PushError::passing("The Hub's answer broke off."))?;
    serde_json::from_str(&text).map_err(|_| {
        PushError::passing("The Hub's answer cannot be read. Check HF_ENDPOINT if this persists.")
    })
}
