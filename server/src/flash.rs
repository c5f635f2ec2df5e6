//! Sentences for the page that a redirect leads to: a cookie that the page uses up. An address could carry them too, but
//! then any link could put words into the studio's mouth.

use axum::{
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use cookie::{Cookie, SameSite, time::Duration};
use url::form_urlencoded;

use crate::cookies;

const NAME: &str = "adire_flash";
/// A redirect is followed at once.
const LIFETIME: Duration = Duration::minutes(1);
/// Browsers drop cookies above 4 KiB.
const MAX_CHARS: usize = 1000;

/// Hands sentences to the next page; nothing without any.
pub(crate) fn set(response: &mut Response, sentences: &[String]) {
    if !sentences.is_empty() {
        let text: String = sentences.join(" ").chars().take(MAX_CHARS).collect();
        let value: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
        add(response, value, LIFETIME);
    }
}

/// The sentences in a request's cookie.
pub(crate) fn read(headers: &HeaderMap) -> Option<String> {
    let ours = cookies::named(headers, NAME).next()?;
    let text = form_urlencoded::parse(format!("={}", ours.value()).as_bytes()).next()?.1.into_owned();
    Some(text.chars().take(MAX_CHARS).collect())
}

/// Takes the cookie back, once its sentences are shown.
pub(crate) fn clear(response: &mut Response) {
    add(response, String::new(), Duration::ZERO);
}

fn add(response: &mut Response, value: String, lifetime: Duration) {
    let cookie =
        Cookie::build((NAME, value)).path("/").http_only(true).same_site(SameSite::Lax).max_age(lifetime);
    if let Ok(cookie) = HeaderValue::from_str(&cookie.to_string()) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;

    use super::*;

    #[test]
    fn sentences_survive_the_cookie() {
        let sentences = ["Converted from “Display P3”; 5% = +x.".to_owned(), "é".to_owned()];
        let mut response = ().into_response();
        set(&mut response, &[]);
        assert!(response.headers().is_empty());
        set(&mut response, &sentences);
        let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
        let sent = cookie.split(';').next().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::from_str(&format!("a=b; {sent}")).unwrap());
        assert_eq!(read(&headers), Some(sentences.join(" ")));
        assert_eq!(read(&HeaderMap::new()), None);
    }
}
