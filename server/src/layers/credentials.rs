//! Tokens of programs: as `Authorization: Bearer`, as the password of `Authorization: Basic` (A1111's clients), or by the
//! cookie of `/login` (Gradio's). Whoever sends one is that token's visitor; its network's limits do not count.

use adire_studio::Client;
use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use cookie::{Cookie, CookieJar, Key, SameSite, time::Duration};

use crate::{
    admin::auth::tokens::{Scope, Token, Tokens},
    dialect::Dialect,
    error::{Problem, ProblemKind},
    state::AppState,
};

/// The cookie of `/login`; it holds the token's id, signed.
const NAME: &str = "adire_token";
/// Before the id: the same key signs visitors' cookies, and neither may pass for the other.
const IS_TOKEN: &str = "token.";

/// The token that a request came with; in its extensions.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) token: Token,
    /// In a header of this very request, not in a cookie that a browser adds by itself.
    in_header: bool,
}

impl Sent {
    /// Whether it opens the admin's API.
    pub(crate) fn is_admin(&self) -> bool {
        self.in_header && self.token.scope == Scope::Admin
    }
}

/// What a request brings along.
#[derive(Debug, PartialEq, Eq)]
enum Given {
    Nothing,
    Bearer(String),
    Basic(String),
    /// The id of a token.
    Cookie(String),
}

impl Given {
    /// Whether it is a token of Hugging Face's Hub, none of this server's.
    fn is_of_the_hub(&self) -> bool {
        matches!(self, Self::Bearer(secret) if secret.starts_with("hf_"))
    }
}

/// Finds the token out. Unknown ones are refused where programs call; elsewhere the header may be for a proxy.
pub(crate) async fn identify(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let dialect = Dialect::of(path);
    let given = given(request.headers(), state.access.visitor_key());
    let strict = match given {
        Given::Nothing => return next.run(request).await,
        // The form that it comes from says who wants to sign in.
        _ if path == "/login" => return next.run(request).await,
        Given::Bearer(_) => dialect.is_some() || path.starts_with("/api/v1/"),
        Given::Basic(_) => dialect.is_some(),
        Given::Cookie(_) => false,
    };
    let in_header = !matches!(given, Given::Cookie(_));
    // At once: it looks at a file's time, and reads the file, of a few kilobytes, when that has changed.
    let (token, exist) = match find(state.auth.tokens(), &given) {
        Ok(found) => found,
        Err(error) => return Problem::internal(error).into_response(),
    };
    match token {
        Some(token) => {
            let client = Client { visitor: Some(token.visitor()), network: None };
            request.extensions_mut().insert(client);
            request.extensions_mut().insert(Sent { token, in_header });
        }
        // The client of Hugging Face adds the token of the Hub that is stored on its machine.
        None if dialect == Some(Dialect::HuggingFace) && given.is_of_the_hub() => {}
        // Clients that insist on a key send any where there are none.
        None if strict && exist => {
            let sentence = "Unknown token. Create one with `adire admin tokens add NAME`, or send none to use the limits of visitors.";
            return Problem::new(ProblemKind::UnknownToken, sentence).into_response();
        }
        None => {}
    }
    next.run(request).await
}

/// The token that was sent, and whether there are any.
fn find(tokens: &Tokens, given: &Given) -> std::io::Result<(Option<Token>, bool)> {
    let found = match given {
        Given::Bearer(secret) | Given::Basic(secret) => tokens.find(secret)?,
        Given::Cookie(id) => tokens.by_id(id)?,
        Given::Nothing => None,
    };
    Ok((found, tokens.exist()?))
}

/// What the headers hold. Empty credentials are none: clients send them where nothing was entered.
fn given(headers: &HeaderMap, key: &Key) -> Given {
    let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (scheme, rest) = sent.split_once(' ').unwrap_or((sent, ""));
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") && !rest.is_empty() {
        return Given::Bearer(rest.to_owned());
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let pair = STANDARD.decode(rest).ok().and_then(|pair| String::from_utf8(pair).ok());
        let password = pair.as_deref().and_then(|pair| pair.split_once(':')).map(|(_, password)| password);
        // Scripts join what nobody set.
        match password {
            None | Some("" | "undefined" | "null" | "None") => {}
            Some(password) => return Given::Basic(password.to_owned()),
        }
    }
    let id = crate::cookies::signed(headers, NAME, key)
        .find_map(|value| value.strip_prefix(IS_TOKEN).map(str::to_owned));
    id.map_or(Given::Nothing, Given::Cookie)
}

/// The cookie that stands for a token, for thirty days or until the token is revoked.
pub(crate) fn cookie(token: &Token, key: &Key, https: bool) -> Option<HeaderValue> {
    let cookie = Cookie::build((NAME, format!("{IS_TOKEN}{}", token.id)))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .max_age(Duration::days(30))
        .secure(https);
    let mut jar = CookieJar::new();
    jar.signed_mut(key).add(cookie);
    jar.get(NAME).and_then(|cookie| HeaderValue::from_str(&cookie.to_string()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_as_clients_send_them() {
        let key = Key::from(&[7; 64]);
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        for (header, expected) in [
            ("Bearer adire_1".to_owned(), Given::Bearer("adire_1".to_owned())),
            ("bearer  adire_1 ".to_owned(), Given::Bearer("adire_1".to_owned())),
            (basic("user:adire_1"), Given::Basic("adire_1".to_owned())),
            (basic("user:a:b"), Given::Basic("a:b".to_owned())),
            (basic("undefined:undefined"), Given::Nothing),
            (basic(":"), Given::Nothing),
            (basic("user"), Given::Nothing),
            ("Basic ".to_owned(), Given::Nothing),
            ("Basic ?".to_owned(), Given::Nothing),
            ("Bearer".to_owned(), Given::Nothing),
            (String::new(), Given::Nothing),
        ] {
            let value = HeaderValue::from_str(&header).unwrap();
            let headers = HeaderMap::from_iter([(axum::http::header::AUTHORIZATION, value)]);
            assert_eq!(given(&headers, &key), expected, "{header}");
        }
        let token = Token { id: "0123".to_owned(), scope: Scope::Admin };
        let set = cookie(&token, &key, false).unwrap();
        let pair = set.to_str().unwrap().split(';').next().unwrap();
        let headers =
            |pair: &str| HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_str(pair).unwrap())]);
        assert_eq!(given(&headers(pair), &key), Given::Cookie("0123".to_owned()));
        assert_eq!(given(&headers(pair), &Key::from(&[8; 64])), Given::Nothing);
        assert_eq!(given(&headers("adire_token=token.0123"), &key), Given::Nothing);
    }
}
