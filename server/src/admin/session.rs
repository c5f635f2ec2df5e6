//! The admin's session as a request shows it and a response changes it.

use axum::{
    http::{HeaderMap, HeaderValue, header, request::Parts},
    response::Response,
};

use super::auth::{self, AdminAuth, cookies};
use crate::layers::client::Arrival;

/// How a request was authorised; an extension of every request that passes the guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// With a session.
    SignedIn,
    /// With a session started by the printed link; no password is set.
    ByLink,
    /// No password is set, the request is local, and `--open-admin` allows that.
    ThisMachine,
    /// With a token of scope `admin`, for the API alone.
    ByToken,
    /// A page that is reachable without authorisation.
    Open,
}

fn is_https(request: &Parts) -> bool {
    request.extensions.get::<Arrival>().is_some_and(|arrival| arrival.https)
}

/// Adds the cookies of a session that begins. A browser that has been here before stays the same device.
pub(crate) fn set_session_cookies(auth: &AdminAuth, token: &str, request: &Parts, response: &mut Response) {
    let device = device(auth, &request.headers).map_or_else(auth::token, Ok);
    match device {
        Ok(device) => {
            set(response, cookies::signed_in(token, &device, auth.key(), is_https(request)));
        }
        Err(error) => tracing::error!(%error, "no random numbers for a device's id"),
    }
}

/// Clears the session cookies.
pub(crate) fn clear_session_cookies(request: &Parts, response: &mut Response) {
    set(response, cookies::signed_out(is_https(request)));
}

fn set(response: &mut Response, cookies: Vec<HeaderValue>) {
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

/// The token of the session that a request belongs to.
pub(crate) fn token(auth: &AdminAuth, headers: &HeaderMap) -> Option<String> {
    cookies::token(headers, auth.key())
}

/// What an earlier sign-in left in this browser.
pub(crate) fn device(auth: &AdminAuth, headers: &HeaderMap) -> Option<String> {
    cookies::device(headers, auth.key())
}
