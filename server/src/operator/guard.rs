//! The door of everything under `/admin`, addresses that lead nowhere included.

use std::{io, net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};

use super::{Operators, cookies};
use crate::{
    admin,
    error::{Problem, ProblemKind},
    layers::{client::Arrival, visitor::accepts_html},
    state::AppState,
};

/// How someone came in; in the extensions of every request that the door lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// With a session.
    SignedIn,
    /// There is no operator yet, and the request comes from this machine.
    ThisMachine,
    /// To a page that must be reached without either.
    Open,
}

/// What can be reached by who is not signed in.
const SIGN_IN: &str = "/admin/sign-in";
/// What can be reached from anywhere while there is no operator; it asks for the token of the printed link.
const SET_UP: &str = "/admin/set-up";

/// Lets operators through, and says to others what to do.
pub(crate) async fn check(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    if path != "/admin" && !path.starts_with("/admin/") {
        return next.run(request).await;
    }
    // Read first: a request cannot be looked at by two threads, and the answer may come on another one.
    let (token, here) = (token(&state.operators, request.headers()), is_this_machine(&request));
    let entry = match who(&state.operators, token, here).await {
        Ok(Who::Operator) => Entry::SignedIn,
        Ok(Who::ThisMachine) => Entry::ThisMachine,
        Ok(Who::Nobody) if [SIGN_IN, SET_UP].contains(&path.as_str()) => Entry::Open,
        Ok(Who::Nobody) => return sign_in_first(&request),
        Ok(Who::Elsewhere) if path == SET_UP => Entry::Open,
        Ok(Who::Elsewhere) if accepts_html(request.headers()) => {
            return admin::no_operator(state, request).await;
        }
        Ok(Who::Elsewhere) => return Problem::new(ProblemKind::NoOperator, NO_OPERATOR).into_response(),
        Err(error) => return Problem::internal(error).into_response(),
    };
    request.extensions_mut().insert(entry);
    let mut response = next.run(request).await;
    // Pages must not come back out of a cache after signing out; what said something else about itself keeps it.
    let headers = response.headers_mut();
    let is_page =
        headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if is_page || !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// Why, and what to do.
const NO_OPERATOR: &str = "No operator's password is set, so the admin pages answer only on the machine that Adire \
                           runs on. Set one there with `adire admin set-password`, or open the link that the server \
                           printed when it started.";

enum Who {
    /// There is an operator, and it is this one.
    Operator,
    /// There is an operator, and this is not known to be it.
    Nobody,
    /// There is no operator, and the request comes from this machine.
    ThisMachine,
    /// There is no operator, and the request comes from elsewhere.
    Elsewhere,
}

async fn who(operators: &Arc<Operators>, token: Option<String>, this_machine: bool) -> io::Result<Who> {
    let here = operators.clone();
    let (is_set, is_known) = super::blocking(move || {
        let is_known = token.map_or(Ok(false), |token| here.knows(&token))?;
        Ok::<_, io::Error>((here.is_set()?, is_known))
    })
    .await?;
    Ok(match (is_set, is_known) {
        (true, true) => Who::Operator,
        (true, false) => Who::Nobody,
        (false, _) if this_machine => Who::ThisMachine,
        (false, _) => Who::Elsewhere,
    })
}

fn sign_in_first(request: &Request) -> Response {
    if !accepts_html(request.headers()) {
        let sentence =
            "This address is for the operator; sign in at /admin/sign-in and send the cookie that it gives.";
        return Problem::new(ProblemKind::SignedOut, sentence).into_response();
    }
    // A form whose session ended is lost; there is nothing to go back to.
    let wanted = match *request.method() {
        Method::GET | Method::HEAD => request.uri().path_and_query().map_or("", |path| path.as_str()),
        _ => "",
    };
    Redirect::to(&admin::address_of_sign_in(wanted)).into_response()
}

/// Whether the request comes from this machine and from nowhere before: the peer is a loopback address, no proxy says
/// that it speaks for someone else, and the host that was asked for is this machine, too (a page of another site can
/// have its own name lead to 127.0.0.1).
fn is_this_machine(request: &Request) -> bool {
    let headers = request.headers();
    let forwarded =
        ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"];
    request
        .extensions()
        .get::<Arrival>()
        .and_then(|arrival| arrival.peer)
        .is_some_and(|peer| peer.is_loopback())
        && !forwarded.iter().any(|name| headers.contains_key(*name))
        && host(request).is_some_and(is_loopback_name)
}

fn host(request: &Request) -> Option<&str> {
    let named = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    // HTTP/2 has it in the address.
    named.or_else(|| request.uri().authority().map(|authority| authority.as_str()))
}

fn is_loopback_name(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        return rest
            .split_once(']')
            .and_then(|(address, _)| address.parse::<IpAddr>().ok())
            .is_some_and(|ip| ip.is_loopback());
    }
    let name = host.split(':').next().unwrap_or_default();
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn is_https(request: &Parts) -> bool {
    request.extensions.get::<Arrival>().is_some_and(|arrival| arrival.https)
}

/// Adds the cookies of a session that begins.
pub(crate) fn give(operators: &Operators, token: &str, request: &Parts, response: &mut Response) {
    set(response, cookies::signed_in(token, &operators.key, is_https(request)));
}

/// Takes them back.
pub(crate) fn take_back(request: &Parts, response: &mut Response) {
    set(response, cookies::signed_out(is_https(request)));
}

fn set(response: &mut Response, cookies: Vec<HeaderValue>) {
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

/// The token of the session that a request belongs to.
pub(crate) fn token(operators: &Operators, headers: &HeaderMap) -> Option<String> {
    cookies::token(headers, &operators.key)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn request(peer: [u8; 4], headers: &[(&str, &str)]) -> Request {
        let mut request = Request::get("/admin");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(Arrival { peer: Some(peer.into()), ..Arrival::default() });
        request
    }

    #[test]
    fn this_machine_is_known_by_its_peer_and_by_the_host_it_asks_for() {
        const HERE: [u8; 4] = [127, 0, 0, 1];
        for (peer, headers, expected) in [
            (HERE, &[("host", "localhost:3000")][..], true),
            (HERE, &[("host", "127.0.0.1:3000")], true),
            (HERE, &[("host", "[::1]:3000")], true),
            (HERE, &[], false),
            (HERE, &[("host", "evil.example:3000")], false),
            (HERE, &[("host", "localhost.evil.example")], false),
            (HERE, &[("host", "localhost"), ("x-forwarded-for", "192.0.2.1")], false),
            (HERE, &[("host", "localhost"), ("forwarded", "for=192.0.2.1")], false),
            (HERE, &[("host", "localhost"), ("via", "1.1 proxy")], false),
            ([192, 0, 2, 1], &[("host", "localhost")], false),
        ] {
            assert_eq!(is_this_machine(&request(peer, headers)), expected, "{peer:?} {headers:?}");
        }
        let unknown = Request::get("/admin").header("host", "localhost").body(Body::empty()).unwrap();
        assert!(!is_this_machine(&unknown), "who cannot say where it comes from comes from elsewhere");
    }
}
