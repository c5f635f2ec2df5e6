//! Each browser gets a random id in a signed cookie; its history belongs to that id. No account, no name.

use std::sync::Arc;

use adire_studio::{Client, Visitor};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, header},
    middleware::Next,
    response::Response,
};
use cookie::{Cookie, CookieJar, Key, SameSite, time::Duration};
use uuid::Uuid;

use super::client::Arrival;
use crate::{access::Access, cookies};

const NAME: &str = "adire_visitor";
/// Over https no other host, port or path can set it.
const HOST_NAME: &str = "__Host-adire_visitor";
const YEAR: Duration = Duration::days(365);

/// Puts the [`Client`] into the request's extensions. A browser without the cookie gets one; a page load renews
/// it. Programs that send none have no visitor.
pub(crate) async fn remember(
    State(access): State<Arc<Access>>,
    mut request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let arrival = request.extensions().get::<Arrival>();
    let (https, network) = arrival.map_or((false, None), |arrival| (arrival.https, arrival.network()));
    let known = known(headers, access.visitor_key(), https);
    let page = request.method() == Method::GET && accepts_html(headers);
    let from_page = headers.get("sec-fetch-site").is_some_and(|site| site == "same-origin")
        || request.uri().path().starts_with("/api/fn/");
    let give = page || (known.is_none() && from_page);
    let visitor = known.or_else(|| give.then(Uuid::new_v4));
    request.extensions_mut().insert(Client { visitor: visitor.map(|id| Visitor(id.to_string())), network });
    let mut response = next.run(request).await;
    if let Some(id) = visitor.filter(|_| give && !is_kept(&response))
        && let Some(cookie) = cookie(id, access.visitor_key(), https)
    {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// Whether a browser asks for a page.
pub(crate) fn accepts_html(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.contains("text/html"))
}

fn name(https: bool) -> &'static str {
    if https { HOST_NAME } else { NAME }
}

fn cookie(id: Uuid, key: &Key, https: bool) -> Option<HeaderValue> {
    let cookie = Cookie::build((name(https), id.to_string()))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .max_age(YEAR)
        .secure(https);
    let mut jar = CookieJar::new();
    jar.signed_mut(key).add(cookie);
    jar.get(name(https)).and_then(|cookie| HeaderValue::from_str(&cookie.to_string()).ok())
}

/// The id in the cookie, where we gave it out: signed, and spelt as we spell it. Of several cookies of the name (a
/// neighbour may have planted some) the first such one counts.
fn known(headers: &HeaderMap, key: &Key, https: bool) -> Option<Uuid> {
    cookies::signed(headers, name(https), key).find_map(|value| {
        let id = Uuid::parse_str(&value).ok()?;
        (id.get_version_num() == 4 && id.to_string() == value).then_some(id)
    })
}

/// Whether the answer is kept, by caches between us and the browser or by the browser itself; a cookie in it would go
/// to others, or come back when another one is in use.
fn is_kept(response: &Response) -> bool {
    let control = response.headers().get(header::CACHE_CONTROL).and_then(|value| value.to_str().ok());
    control.is_some_and(|control| control.contains("public") || control.contains("immutable"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0b9f1a52-7d0e-4b0a-9d2c-1f2e3d4c5b6a";

    fn signed(value: &str, key: &Key) -> String {
        let mut jar = CookieJar::new();
        jar.signed_mut(key).add((NAME, value.to_owned()));
        jar.get(NAME).unwrap().value().to_owned()
    }

    #[test]
    fn only_what_we_gave_out_counts_as_a_visitor() {
        let (key, other) = (Key::from(&[7; 64]), Key::from(&[8; 64]));
        let good = signed(ID, &key);
        let mut tampered = good.clone();
        tampered.replace_range(good.len() - 1.., "b");
        for (cookie, expected) in [
            (format!("a=b; {NAME}={good}"), Some(ID)),
            (format!("{NAME}={ID}; {NAME}={tampered}; {NAME}={good}"), Some(ID)),
            (format!("{NAME}={ID}"), None),
            (format!("{NAME}={tampered}"), None),
            (format!("{NAME}={}", signed(ID, &other)), None),
            // What our key never signs, it does not open either.
            (format!("{NAME}={}", signed(&format!("{{{ID}}}"), &key)), None),
            (format!("{NAME}={}", signed(&ID.to_uppercase(), &key)), None),
            (format!("{NAME}={}", signed("00000000-0000-0000-0000-000000000000", &key)), None),
            (format!("{NAME}={}", signed(&format!("urn:uuid:{ID}"), &key)), None),
            (format!("{NAME}=../../etc/passwd"), None),
            (format!("{NAME}=ééééééééééééééééééééééééééééééé"), None),
            (format!("other{NAME}={good}"), None),
            (format!("{HOST_NAME}={good}"), None),
            (String::new(), None),
        ] {
            let headers =
                HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_bytes(cookie.as_bytes()).unwrap())]);
            let found = known(&headers, &key, false).map(|id| id.to_string());
            assert_eq!(found.as_deref(), expected, "{cookie}");
        }
    }

    #[test]
    fn over_https_only_a_cookie_that_no_neighbour_can_set_counts() {
        let key = Key::from(&[7; 64]);
        let id = Uuid::parse_str(ID).unwrap();
        let given = cookie(id, &key, true).unwrap();
        let given = given.to_str().unwrap();
        assert!(given.starts_with("__Host-adire_visitor=") && given.contains("; Secure"), "{given}");
        assert!(given.contains("Path=/;") && !given.contains("Domain"), "{given}");
        let pair = given.split(';').next().unwrap();
        let headers =
            |cookie: &str| HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_str(cookie).unwrap())]);
        assert_eq!(known(&headers(pair), &key, true), Some(id));
        assert_eq!(known(&headers(pair.trim_start_matches("__Host-")), &key, true), None);
    }
}
