//! The page's files, read into memory once at start: a request is a look-up in a map, so nothing a client
//! sends ever becomes a path. Each file has an ETag from its content; `name.br` beside `name` is its brotli form.

use std::{collections::HashMap, fs, io, path::Path};

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};

/// Larger files are skipped with a warning, so that they cannot fill the memory.
const MAX_FILE_BYTES: u64 = 32 << 20;

/// The worker that holds the event streams of all tabs, and all that it may do.
const STREAMS: &str = "/streams.js";
const STREAMS_POLICY: &str = "default-src 'none'; connect-src 'self'";

/// Every file of the site folder by its address (`/pkg/adire.js`).
#[derive(Debug, Default)]
pub struct Site(HashMap<String, SiteFile>);

#[derive(Debug)]
struct SiteFile {
    plain: Bytes,
    brotli: Option<Bytes>,
    content_type: &'static str,
    /// Quoted, from the content of the plain form.
    etag: HeaderValue,
}

impl Site {
    /// Reads a folder with everything below it.
    ///
    /// # Errors
    /// The folder or a file in it cannot be read.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let mut found = HashMap::new();
        collect(folder, "", &mut found)?;
        Self::of(found)
    }

    /// The files that the program carries; `None` if it was built without any.
    ///
    /// # Errors
    /// The program's file is damaged.
    pub fn embedded() -> io::Result<Option<Self>> {
        #[cfg(feature = "embed")]
        return Self::of(embedded::files()?).map(Some);
        #[cfg(not(feature = "embed"))]
        Ok(None)
    }

    /// By address, `name.br` beside `name`.
    fn of(mut found: HashMap<String, Bytes>) -> io::Result<Self> {
        let addresses: Vec<String> =
            found.keys().filter(|address| !address.ends_with(".br")).cloned().collect();
        let mut files = HashMap::new();
        for address in addresses {
            let Some(plain) = found.remove(&address) else { continue };
            let brotli = found.remove(&format!("{address}.br"));
            let digest = hex::encode(&Sha256::digest(&plain)[..12]);
            let etag = HeaderValue::from_str(&format!("\"{digest}\"")).map_err(io::Error::other)?;
            let content_type = content_type(&address);
            files.insert(address, SiteFile { plain, brotli, content_type, etag });
        }
        Ok(Self(files))
    }

    /// The style sheet, which pages carry in themselves.
    pub fn style(&self) -> &str {
        let file = self.0.get("/pkg/adire.css");
        file.and_then(|file| std::str::from_utf8(&file.plain).ok()).unwrap_or_default()
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The answer for an address, or `None` if the file is missing. The names carry no hash, so a browser
    /// asks again each time and mostly gets a 304.
    pub fn answer(&self, address: &str, request: &HeaderMap) -> Option<Response> {
        let file = self.0.get(address)?;
        let mut headers = HeaderMap::new();
        headers.insert(header::ETAG, file.etag.clone());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        if address == STREAMS {
            // A worker's rules are those of its own file. Also with a 304, whose headers replace those of the stored one.
            headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(STREAMS_POLICY));
        }
        if matches_etag(request, &file.etag) {
            return Some((StatusCode::NOT_MODIFIED, headers).into_response());
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.content_type));
        let body = match &file.brotli {
            Some(brotli) if accepts_brotli(request) => {
                headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("br"));
                brotli.clone()
            }
            _ => file.plain.clone(),
        };
        Some((headers, body).into_response())
    }
}

#[cfg(feature = "embed")]
mod embedded {
    use std::{collections::HashMap, io};

    use axum::body::Bytes;

    #[derive(rust_embed::RustEmbed)]
    #[folder = "$ADIRE_EMBED"]
    struct Files;

    /// Large files are there in their brotli form alone; the plain one is made here.
    pub(super) fn files() -> io::Result<HashMap<String, Bytes>> {
        let mut found = HashMap::new();
        for name in Files::iter() {
            let Some(file) = Files::get(&name) else { continue };
            if let Some(plain) = name.strip_suffix(".br") {
                let mut bytes = Vec::new();
                brotli::BrotliDecompress(&mut file.data.as_ref(), &mut bytes)?;
                found.insert(format!("/{plain}"), bytes.into());
            }
            found.insert(format!("/{name}"), file.data.into_owned().into());
        }
        Ok(found)
    }
}

fn collect(folder: &Path, address: &str, found: &mut HashMap<String, Bytes>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // A name that is not Unicode cannot appear in a URL of a page.
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') {
            continue;
        }
        let address = format!("{address}/{name}");
        let kind = fs::metadata(entry.path())?;
        if kind.is_dir() {
            collect(&entry.path(), &address, found)?;
        } else if kind.len() <= MAX_FILE_BYTES {
            found.insert(address, fs::read(entry.path())?.into());
        } else {
            tracing::warn!(file = %entry.path().display(), bytes = kind.len(), "too large for a page file; left out");
        }
    }
    Ok(())
}

/// Whether the client has this content already (`If-None-Match`). A compressing layer may have made the tag weak.
pub(crate) fn matches_etag(request: &HeaderMap, etag: &HeaderValue) -> bool {
    let Ok(etag) = etag.to_str() else { return false };
    request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == "*" || tag == etag)
}

fn accepts_brotli(request: &HeaderMap) -> bool {
    request
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| {
            let (name, quality) = coding.split_once(';').unwrap_or((coding, "q=1"));
            let refused = quality.trim().trim_start_matches("q=").parse::<f32>().is_ok_and(|q| q == 0.0);
            name.trim().eq_ignore_ascii_case("br") && !refused
        })
}

fn content_type(address: &str) -> &'static str {
    match address.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("wasm") => "application/wasm",
        Some("json" | "map") => "application/json",
        Some("webmanifest") => "application/manifest+json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("webp") => "image/webp",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn brotli_is_sent_only_to_those_who_take_it() {
        for (value, takes) in [
            ("gzip, deflate, br, zstd", true),
            ("br;q=0.5", true),
            ("gzip", false),
            ("br;q=0", false),
            ("", false),
        ] {
            assert_eq!(accepts_brotli(&headers(header::ACCEPT_ENCODING, value)), takes, "{value}");
        }
    }

    #[test]
    fn a_known_tag_matches_strong_or_weak() {
        let etag = HeaderValue::from_static("\"ab\"");
        for (value, known) in [("\"ab\"", true), ("\"x\", W/\"ab\"", true), ("*", true), ("\"abc\"", false)] {
            assert_eq!(matches_etag(&headers(header::IF_NONE_MATCH, value), &etag), known, "{value}");
        }
    }

    #[test]
    fn the_worker_may_connect_to_this_server_also_when_it_is_known_already() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["streams.js", "admin.js"] {
            fs::write(folder.path().join(name), "0").unwrap();
        }
        let site = Site::read(folder.path()).unwrap();
        let policy = |address: &str, request: &HeaderMap| {
            let answer = site.answer(address, request).unwrap();
            (answer.status(), answer.headers().get(header::CONTENT_SECURITY_POLICY).cloned())
        };
        let (status, first) = policy(STREAMS, &HeaderMap::new());
        assert_eq!((status, first), (StatusCode::OK, Some(HeaderValue::from_static(STREAMS_POLICY))));
        let (status, again) = policy(STREAMS, &headers(header::IF_NONE_MATCH, "*"));
        assert_eq!(
            (status, again),
            (StatusCode::NOT_MODIFIED, Some(HeaderValue::from_static(STREAMS_POLICY)))
        );
        // Others get the strictest, outside of this.
        assert_eq!(policy("/admin.js", &HeaderMap::new()).1, None);
    }
}
