//! Startup progress, shown until the server is ready: loading or downloading the model.

use std::sync::{Arc, Mutex, PoisonError};

use crate::hub::Transfer;

/// Startup progress; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Starting(Arc<Mutex<Option<Download>>>);

/// A download of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Download {
    /// `org/name`.
    pub(crate) model: String,
    pub(crate) at: Transfer,
}

impl Starting {
    /// `None`: it loads the model.
    pub(crate) fn set(&self, download: Option<Download>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = download;
    }

    fn download(&self) -> Option<Download> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A sentence.
    pub(crate) fn sentence(&self) -> String {
        let Some(Download { model, at: Transfer { number, files, have, size } }) = self.download() else {
            return "The model is loading.".to_owned();
        };
        let (have, size) = (megabytes(have), size.map(|size| format!(" of {}", megabytes(size))));
        let size = size.unwrap_or_default();
        format!("{model} is being downloaded: file {number} of {files}, {have}{size} MB.")
    }

    /// The page that is shown meanwhile.
    pub(crate) fn page(&self) -> String {
        let bar = self.download().map(|download| {
            let Transfer { number, files, have, size } = download.at;
            // Files count the same; the large ones come one after the other.
            let part =
                size.filter(|size| *size > 0).map(|size| have as f64 / size as f64).unwrap_or_default();
            let done = (number.saturating_sub(1) as f64 + part.min(1.0)) / files.max(1) as f64;
            format!("<progress aria-label=\"Download\" value=\"{done:.4}\"></progress>\n")
        });
        // The name has letters, digits, -, _ and . only.
        let body = format!(
            "{}<p>{} This page refreshes automatically.</p>",
            bar.unwrap_or_default(),
            self.sentence()
        );
        include_str!("startup.html").replace("<!-- what -->", &body)
    }
}

fn megabytes(bytes: u64) -> u64 {
    bytes.div_ceil(1_000_000)
}
