//! Uploads over Git LFS: whole or in parts, to the addresses that the Hub names.

use std::{
    collections::HashMap,
    io::{Read, Seek, SeekFrom},
    sync::atomic::{AtomicBool, Ordering},
};

use adire_protocol::size;
use serde::Deserialize;
use serde_json::{Value, json};
use ureq::{SendBody, http::header};
use url::Url;

use super::{
    Hub, PushError, PushFile,
    file::{Stoppable, unreadable},
    requests::{LFS, answer},
};

/// An object that LFS is to have.
#[derive(Deserialize)]
struct LfsObject {
    oid: String,
    #[serde(default)]
    actions: Option<LfsActions>,
    #[serde(default)]
    error: Option<LfsError>,
}

#[derive(Deserialize)]
struct LfsError {
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct LfsActions {
    upload: Option<LfsAction>,
    verify: Option<LfsAction>,
}

#[derive(Deserialize)]
struct LfsAction {
    href: String,
    #[serde(default)]
    header: HashMap<String, Value>,
}

#[derive(Deserialize)]
struct LfsAnswer {
    #[serde(default)]
    objects: Vec<LfsObject>,
}

impl Hub {
    /// Uploads what the Hub does not have yet.
    pub(super) fn upload(
        &self,
        repository: &str,
        files: &[&PushFile],
        stop: &AtomicBool,
        report: &mut dyn FnMut(&str),
    ) -> Result<(), PushError> {
        if files.is_empty() {
            return Ok(());
        }
        let objects: Vec<Value> = files
            .iter()
            .map(|file| json!({ "oid": file.content.sha256(), "size": file.content.size() }))
            .collect();
        let body = json!({
            "operation": "upload", "transfers": ["basic", "multipart"], "objects": objects,
            "hash_algo": "sha256", "ref": { "name": "refs/heads/main" },
        });
        let response =
            self.post(&format!("{repository}.git/info/lfs/objects/batch"), LFS, body.to_string())?;
        if !response.status().is_success() {
            return Err(self.refusal(&response, repository));
        }
        let answer: LfsAnswer = answer(response)?;
        for object in answer.objects {
            let Some(file) = files.iter().find(|file| file.content.sha256() == object.oid) else { continue };
            if let Some(LfsError { message }) = object.error {
                let message: String = message.chars().take(200).collect();
                return Err(PushError::lasting(format!(
                    "The Hub refuses {}: {}",
                    file.path,
                    self.safe(&message)
                )));
            }
            // Without actions it is there already.
            let Some(LfsActions { upload: Some(upload), verify }) = object.actions else { continue };
            if stop.load(Ordering::Relaxed) {
                return Err(PushError::lasting("Cancelled."));
            }
            report(&format!("Uploading {} ({}).", file.path, size(file.content.size())));
            if upload.header.contains_key("chunk_size") {
                self.put_parts(file, &object.oid, &upload, stop)?;
            } else {
                let address = self.foreign(&upload.href)?;
                self.put(file, &address, &upload.header, (0, file.content.size()), stop)?;
            }
            if let Some(verify) = verify {
                self.verify(&verify, &object.oid, file)?;
            }
        }
        Ok(())
    }

    /// An address that the Hub named: a web address, and not less secure than the Hub's own.
    fn foreign(&self, href: &str) -> Result<Url, PushError> {
        let url = Url::parse(href).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.ok_or_else(|| {
            PushError::lasting("The Hub names an upload address that is not a web address.")
        })?;
        if self.endpoint.scheme() == "https" && url.scheme() == "http" {
            return Err(PushError::lasting(
                "The Hub names an upload address that is not encrypted; nothing was sent to it.",
            ));
        }
        Ok(url)
    }

    fn put(
        &self,
        file: &PushFile,
        url: &Url,
        headers: &HashMap<String, Value>,
        (start, length): (u64, u64),
        stop: &AtomicBool,
    ) -> Result<Option<String>, PushError> {
        let mut opened = file.content.open().map_err(|error| unreadable(file, &error))?;
        opened.seek(SeekFrom::Start(start)).map_err(|error| unreadable(file, &error))?;
        let mut reader = Stoppable { reader: opened.take(length), stop };
        let mut request = self.agent.put(url.as_str()).header(header::CONTENT_LENGTH, length);
        for (name, value) in headers {
            if let Some(value) = value.as_str()
                && !name.eq_ignore_ascii_case("content-length")
                && !name.eq_ignore_ascii_case("host")
            {
                request = request.header(name, value);
            }
        }
        let response = request.send(SendBody::from_reader(&mut reader));
        if stop.load(Ordering::Relaxed) {
            return Err(PushError::lasting("Cancelled."));
        }
        let response = response.map_err(|error| self.broken(&error))?;
        if !response.status().is_success() {
            return Err(self.refusal_of(url, &response, &file.path));
        }
        Ok(response.headers().get(header::ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned))
    }

    /// Parts whose addresses the Hub names by number, and the message that they are complete.
    fn put_parts(
        &self,
        file: &PushFile,
        oid: &str,
        upload: &LfsAction,
        stop: &AtomicBool,
    ) -> Result<(), PushError> {
        let chunk = upload.header.get("chunk_size");
        let chunk = chunk.and_then(|size| size.as_u64().or_else(|| size.as_str()?.parse().ok())).unwrap_or(0);
        let mut parts: Vec<(u64, &str)> = upload
            .header
            .iter()
            .filter_map(|(name, value)| Some((name.parse().ok()?, value.as_str()?)))
            .collect();
        parts.sort_unstable();
        let size = file.content.size();
        if chunk == 0 || parts.len() as u64 != size.div_ceil(chunk) {
            return Err(PushError::passing("The Hub's answer about an upload in parts is not complete."));
        }
        let mut done = Vec::with_capacity(parts.len());
        for (index, (number, href)) in parts.into_iter().enumerate() {
            let (start, url) = (index as u64 * chunk, self.foreign(href)?);
            let etag = self.put(file, &url, &HashMap::new(), (start, chunk.min(size - start)), stop)?;
            done.push(json!({ "partNumber": number, "etag": etag.unwrap_or_default() }));
        }
        let url = self.foreign(&upload.href)?;
        let body = json!({ "oid": oid, "parts": done }).to_string();
        self.post_to(&url, body, file)
    }

    fn verify(&self, verify: &LfsAction, oid: &str, file: &PushFile) -> Result<(), PushError> {
        let url = self.foreign(&verify.href)?;
        let body = json!({ "oid": oid, "size": file.content.size() }).to_string();
        self.post_to(&url, body, file)
    }

    /// Tells an address that the Hub named something of a file.
    fn post_to(&self, url: &Url, body: String, file: &PushFile) -> Result<(), PushError> {
        let response = self.send_to(url, LFS, body)?;
        if response.status().is_success() { Ok(()) } else { Err(self.refusal_of(url, &response, &file.path)) }
    }
}
