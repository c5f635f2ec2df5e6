//! Access control of everything under `/admin`, unknown URLs included.

use axum::{
    extract::{Request, State},
    http::{HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};

use super::{
    auth::Caller,
    pages,
    session::{self, Access},
};
use crate::{
    error::{Problem, ProblemKind},
    host_name,
    layers::{client::Arrival, credentials::Sent, host, visitor::accepts_html},
    state::AppState,
};

/// Reachable without signing in.
const SIGN_IN: &str = "/admin/sign-in";
/// Reachable from anywhere while no password is set; both require the token of the printed link.
const LINK: &str = "/admin/link";
const SET_UP: &str = "/admin/set-up";

/// Requires an admin for everything under `/admin`; responds to other requests with how to sign in.
pub(crate) async fn check(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    if path != "/admin" && !path.starts_with("/admin/") {
        return next.run(request).await;
    }
    if path.starts_with("/admin/api/") && request.extensions().get::<Sent>().is_some_and(Sent::is_admin) {
        request.extensions_mut().insert(Access::ByToken);
        return next.run(request).await;
    }
    // Read first: a request cannot be looked at by two threads, and the answer may come on another one.
    let token = session::token(&state.auth, request.headers());
    let here = state.access.open_admin() && is_this_machine(&request);
    let access = match state.auth.caller(token).await {
        Ok(Caller { is_set: true, is_known: true }) => Access::SignedIn,
        Ok(Caller { is_set: true, is_known: false }) if [SIGN_IN, LINK, SET_UP].contains(&path.as_str()) => {
            Access::Open
        }
        Ok(Caller { is_set: true, is_known: false }) => return sign_in_first(&request),
        Ok(Caller { is_set: false, is_known: true }) => Access::ByLink,
        Ok(Caller { is_set: false, is_known: false }) if here => Access::ThisMachine,
        Ok(Caller { is_set: false, is_known: false }) if [LINK, SET_UP].contains(&path.as_str()) => {
            Access::Open
        }
        Ok(Caller { is_set: false, is_known: false }) if accepts_html(request.headers()) => {
            return pages::no_admin_password(state, request).await;
        }
        Ok(Caller { is_set: false, is_known: false }) => {
            return Problem::new(ProblemKind::NoAdminPassword, NO_ADMIN_PASSWORD).into_response();
        }
        Err(error) => return Problem::internal(error).into_response(),
    };
    request.extensions_mut().insert(access);
    let mut response = next.run(request).await;
    // Pages must not come back out of a cache after signing out; an explicit Cache-Control is kept.
    let headers = response.headers_mut();
    let is_page =
        headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if is_page || !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// Why, and what to do.
const NO_ADMIN_PASSWORD: &str = "No admin password is set. Open the link printed at startup, or run `adire admin set-password` on the server.";

fn sign_in_first(request: &Request) -> Response {
    if !accepts_html(request.headers()) {
        let sentence = "Sign-in required. Sign in at /admin/sign-in and send the session cookie, or send a token of scope admin.";
        return Problem::new(ProblemKind::SignedOut, sentence).into_response();
    }
    // A form whose session ended is lost; there is nothing to go back to.
    let wanted = match *request.method() {
        Method::GET | Method::HEAD => request.uri().path_and_query().map_or("", |path| path.as_str()),
        _ => "",
    };
    Redirect::to(&pages::address_of_sign_in(wanted)).into_response()
}

/// Whether the request comes from this machine and from nowhere before: the peer is a loopback address, no proxy says
/// that it forwards for another client, and the requested host is this machine, too (a page of another site can
/// have its own name lead to 127.0.0.1). A forwarder that adds no header looks like a local program.
pub(crate) fn is_this_machine(request: &Request) -> bool {
    let peer = request.extensions().get::<Arrival>().and_then(|arrival| arrival.peer);
    peer.is_some_and(|peer| peer.is_loopback())
        && !request.headers().keys().any(|name| marks_a_proxy(name.as_str()))
        && host::every(request.headers(), request.uri(), host_name::is_loopback)
}

/// Whether a header of this name (in lower case) says that a request was passed on.
fn marks_a_proxy(name: &str) -> bool {
    const WORDS: [&str; 5] = ["forwarded", "client-ip", "real-ip", "connecting-ip", "original-"];
    const STARTS: [&str; 9] = [
        "cf-",
        "fly-",
        "fastly-",
        "x-envoy-",
        "x-amzn-",
        "x-azure-",
        "x-appengine-",
        "x-vercel-",
        "tailscale-",
    ];
    const NAMES: [&str; 6] =
        ["via", "cdn-loop", "x-cloud-trace-context", "max-forwards", "x-proxyuser-ip", "true-client"];
    WORDS.iter().any(|word| name.contains(word))
        || STARTS.iter().any(|start| name.starts_with(start))
        || NAMES.contains(&name)
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
            (HERE, &[("host", "localhost:4310.evil.example")], false),
            (HERE, &[("host", "[::1].evil.example")], false),
            (HERE, &[("host", "localhost"), ("host", "evil.example")], false),
            ([192, 0, 2, 1], &[("host", "localhost")], false),
        ] {
            assert_eq!(is_this_machine(&request(peer, headers)), expected, "{peer:?} {headers:?}");
        }
        for name in [
            "CF-Connecting-IP",
            "True-Client-IP",
            "X-Client-IP",
            "X-Real-IP",
            "X-Cluster-Client-IP",
            "X-Forwarded",
            "X-Forwarded-Host",
            "X-Forwarded-Proto",
            "X-Forwarded-Server",
            "X-Forwarded-Port",
            "X-Original-Forwarded-For",
            "X-Original-Host",
            "X-ProxyUser-IP",
            "Fly-Client-IP",
            "Fastly-Client-IP",
            "X-Envoy-External-Address",
            "X-Amzn-Trace-Id",
            "Cdn-Loop",
            "CF-Ray",
            "Tailscale-User-Login",
        ] {
            let request = request(HERE, &[("host", "localhost"), (name, "x")]);
            assert!(!is_this_machine(&request), "{name}");
        }
        let unknown = Request::get("/admin").header("host", "localhost").body(Body::empty()).unwrap();
        assert!(!is_this_machine(&unknown), "who cannot say where it comes from comes from elsewhere");
    }
}
