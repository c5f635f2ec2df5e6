//! The prompt box and its image in a frame on other sites' pages: `/embed.js` puts the frame there, `/embed` is what is in it.
//! Only pages of the origins that `--cors` names may show it.

use axum::{
    extract::{Query, State},
    http::{HeaderName, HeaderValue, header},
    response::{Html, IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::{error::Problem, state::AppState};

/// Colours and sizes of the studio.
const TOKENS: &str = include_str!("../../../style/tokens.css");
const STYLE: &str = include_str!("page.css");

/// What the frame is for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Options {
    /// `adire@production`; the base model without.
    version: String,
    /// What stands in the box at first.
    prompt: String,
}

/// The script that other sites' pages load.
pub(crate) async fn script() -> Response {
    of_script(include_str!("embed.js"), "cross-origin")
}

/// The script of the page in the frame.
pub(crate) async fn page_script() -> Response {
    of_script(include_str!("page.js"), "same-origin")
}

fn of_script(script: &'static str, policy: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static(policy)),
    ];
    (headers, script).into_response()
}

/// The page in the frame.
pub(crate) async fn page(
    State(state): State<AppState>,
    Query(options): Query<Options>,
) -> Result<Response, Problem> {
    let Options { version, prompt } = options;
    let (version, trigger) = match version.as_str() {
        "" => (String::new(), String::new()),
        name => {
            // The name stays as it was given: an alias means another version tomorrow.
            let found = state.studio.linkable_version(name).await?;
            (name.to_owned(), found.trigger)
        }
    };
    let prompt: String = prompt.chars().take(4000).collect();
    let style = format!("{TOKENS}{STYLE}");
    let html = format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Generate an image</title>
<style>{style}</style>
<script type="module" src="/embed/page.js"></script>
</head>
<body>
<main>
<form data-version="{version}" data-trigger="{trigger}">
<label for="prompt">Prompt</label>
<textarea id="prompt" name="prompt" rows="2" maxlength="4000">{prompt}</textarea>
<div class="row"><p role="status"></p><button type="submit">Generate</button></div>
</form>
<figure hidden><img alt=""><figcaption><a target="_blank" rel="noopener" hidden>Open in the studio</a></figcaption></figure>
<noscript><p>This box needs JavaScript.</p></noscript>
</main>
</body>
</html>
"#,
        version = escaped(&version),
        trigger = escaped(&trigger),
        prompt = escaped(&prompt),
    );
    let mut response = Html(html).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::try_from(policy(state.access.cors(), &style)).map_err(Problem::internal)?,
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// What the page may load, and whose pages may show it.
fn policy(origins: &[String], style: &str) -> String {
    let style = STANDARD.encode(Sha256::digest(style.as_bytes()));
    let ancestors = if origins.is_empty() { String::new() } else { format!(" {}", origins.join(" ")) };
    format!(
        "default-src 'none'; script-src 'self'; style-src 'sha256-{style}'; img-src 'self' data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'self'{ancestors}"
    )
}

fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut escaped, character| {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_origins_may_show_it() {
        assert!(policy(&[], "").ends_with("frame-ancestors 'self'"));
        let origins = ["https://chat.example".to_owned()];
        assert!(policy(&origins, "").ends_with("frame-ancestors 'self' https://chat.example"));
    }

    #[test]
    fn what_is_in_the_address_stays_text() {
        assert_eq!(escaped(r#""><script>'&"#), "&quot;&gt;&lt;script&gt;&#39;&amp;");
    }
}
