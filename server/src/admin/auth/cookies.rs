//! The admin's cookies: one opens the admin pages, one only shows their link on the studio page.

use std::{io, path::Path};

use axum::http::{HeaderMap, HeaderValue};
use cookie::{Cookie, CookieJar, Key, SameSite};

use super::{private, sessions::IDLE};
use crate::cookies::signed;

const SESSION: &str = "adire_operator";
/// Says that this browser signed in once. It opens nothing; its attempts are counted apart from its neighbours'.
const DEVICE: &str = "adire_device";
/// Before the device's id: the same key signs sessions, and neither may pass for the other.
const IS_DEVICE: &str = "device.";
const DEVICE_KEPT: cookie::time::Duration = cookie::time::Duration::days(365);
/// Everything under which the admin's cookie is sent.
const PATH: &str = "/admin";
/// Sent with every page, so that the studio shows its link to the admin pages (`shows_admin` in `app`). It opens
/// nothing.
const SHOWN: &str = "adire_admin_link";

/// The key in a file; made where it is absent.
pub(crate) fn key(file: &Path) -> io::Result<Key> {
    if let Some(content) = private::read(file)? {
        return Key::try_from(content.as_slice()).map_err(|error| {
            io::Error::other(format!("{} is damaged: {error}. Delete it to create a new one; existing sessions and visitors are then forgotten", file.display()))
        });
    }
    let mut bytes = [0; 64];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    private::write(file, &bytes)?;
    Ok(Key::from(&bytes))
}

/// The token in a request's cookie, if our own key signed it.
pub(crate) fn token(headers: &HeaderMap, key: &Key) -> Option<String> {
    signed(headers, SESSION, key).find(|value| !value.starts_with(IS_DEVICE))
}

/// The device's id in a request's cookie, if our own key signed it.
pub(crate) fn device(headers: &HeaderMap, key: &Key) -> Option<String> {
    signed(headers, DEVICE, key).find_map(|value| Some(value.strip_prefix(IS_DEVICE)?.to_owned()))
}

/// What a browser gets that signed in. Strict: no page of ours needs the cookie on the way from another site; who
/// follows a link from there to an admin page only has to enter the password.
pub(crate) fn signed_in(token: &str, device: &str, key: &Key, secure: bool) -> Vec<HeaderValue> {
    let mut jar = CookieJar::new();
    jar.signed_mut(key).add(base(SESSION, token, secure));
    let mut device = base(DEVICE, &format!("{IS_DEVICE}{device}"), secure);
    device.set_max_age(DEVICE_KEPT);
    jar.signed_mut(key).add(device);
    let signed = [jar.get(SESSION).cloned(), jar.get(DEVICE).cloned()];
    // Lax: the link is shown to who comes from elsewhere, too.
    let mut shown = base(SHOWN, "1", secure);
    shown.set_path("/");
    shown.set_same_site(SameSite::Lax);
    headers(signed.into_iter().flatten().chain([shown]))
}

/// What a browser gets that signed out.
pub(crate) fn signed_out(secure: bool) -> Vec<HeaderValue> {
    let mut gone = [base(SESSION, "", secure), base(SHOWN, "", secure)];
    gone[1].set_path("/");
    for cookie in &mut gone {
        cookie.make_removal();
    }
    headers(gone.into_iter())
}

fn base<'c>(name: &'c str, value: &'c str, secure: bool) -> Cookie<'static> {
    let mut cookie = Cookie::build((name.to_owned(), value.to_owned()))
        .path(PATH)
        .http_only(true)
        .same_site(SameSite::Strict)
        .max_age(cookie::time::Duration::seconds(IDLE.as_secs() as i64))
        .build();
    if secure {
        cookie.set_secure(true);
    }
    cookie
}

fn headers(cookies: impl Iterator<Item = Cookie<'static>>) -> Vec<HeaderValue> {
    cookies.filter_map(|cookie| HeaderValue::from_str(&cookie.to_string()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use axum::http::header;

    use super::*;

    fn request(cookie: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_str(cookie).unwrap())])
    }

    #[test]
    fn only_what_was_signed_here_is_read() {
        let (key, other) = (Key::from(&[7; 64]), Key::from(&[8; 64]));
        let given = signed_in("abc", "me", &key, false);
        let pair = given[0].to_str().unwrap().split(';').next().unwrap().to_owned();
        assert_eq!(token(&request(&format!("x=y; {pair}")), &key).as_deref(), Some("abc"));
        assert_eq!(token(&request(&pair), &other), None);
        assert_eq!(token(&request("adire_operator=abc"), &key), None);
        let device_pair = given[1].to_str().unwrap().split(';').next().unwrap().to_owned();
        assert_eq!(device(&request(&device_pair), &key).as_deref(), Some("me"));
        assert_eq!(device(&request(&device_pair), &other), None);
        let swapped = |pair: &str, name: &str| format!("{name}={}", pair.split_once('=').unwrap().1);
        assert_eq!(token(&request(&swapped(&device_pair, SESSION)), &key), None);
        assert_eq!(device(&request(&swapped(&pair, DEVICE)), &key), None);
        let mut tampered = pair.clone();
        tampered.replace_range(pair.len() - 1.., "d");
        assert_eq!(token(&request(&tampered), &key), None);
    }

    #[test]
    fn the_cookies_say_where_they_may_go() {
        let key = Key::from(&[7; 64]);
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        let [session, device, shown] = &signed_in("abc", "me", &key, true)[..] else {
            panic!("three cookies")
        };
        for part in ["HttpOnly", "SameSite=Strict", "Secure", "Path=/admin", "Max-Age=2592000"] {
            assert!(text(session).contains(part), "{part}: {session:?}");
        }
        for part in ["HttpOnly", "SameSite=Strict", "Secure", "Path=/admin", "Max-Age=31536000"] {
            assert!(text(device).contains(part), "{part}: {device:?}");
        }
        assert!(!text(&signed_in("abc", "me", &key, false)[0]).contains("Secure"));
        assert!(text(shown).contains("Path=/;") && !text(shown).contains("abc"), "{shown:?}");
        for gone in signed_out(false) {
            assert!(text(&gone).contains("Max-Age=0"), "{gone:?}");
        }
    }

    #[test]
    fn the_key_stays_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cookie.key");
        assert_eq!(key(&file).unwrap(), key(&file).unwrap());
        std::fs::write(&file, "short").unwrap();
        assert!(key(&file).unwrap_err().to_string().contains("damaged"));
    }
}
