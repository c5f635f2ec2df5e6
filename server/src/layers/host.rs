//! Names that this server answers to. A page of another site can have its own name lead to 127.0.0.1 (DNS rebinding):
//! its requests then come from this machine's browser and from the page's own origin, and only the name gives them
//! away.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{
    access::Access,
    error::{Problem, ProblemKind},
    host_name::name_of,
};

/// Refuses requests for names that are not this server's.
pub(crate) async fn check(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    if !access.checks_hosts() || every(request.headers(), request.uri(), |name| access.answers_to(name)) {
        return next.run(request).await;
    }
    let asked = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let shown: String = asked.and_then(name_of).unwrap_or("?").chars().take(80).collect();
    let sentence = format!(
        "Unknown host name “{shown}”. If it is this server's name, start it with --host {shown}; on the server itself, use localhost."
    );
    Problem::new(ProblemKind::Misdirected, sentence).into_response()
}

/// Whether the request names a host, and every host it names (also in its URL)
/// passes.
pub(crate) fn every(headers: &HeaderMap, uri: &Uri, passes: impl Fn(&str) -> bool) -> bool {
    let named = headers.get_all(header::HOST).iter().map(|value| value.to_str().unwrap_or_default());
    let mut names = named.chain(uri.authority().map(|authority| authority.as_str())).peekable();
    names.peek().is_some() && names.all(|host| name_of(host).is_some_and(&passes))
}
