//! Which folders of this machine a server reads: only those that were named at its start, and what lies in them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use adire_protocol::DatasetRecord;

use crate::{
    StudioError,
    dataset::Reach,
    shared::Shared,
    tasks::{blocking, detached},
};

/// How much longer than its time a reading may take to notice that it is over.
const GRACE: Duration = Duration::from_secs(2);

/// Adds the images of a folder to a dataset, if that folder may be read.
pub(crate) async fn import(
    shared: Arc<Shared>,
    id: String,
    folder: PathBuf,
) -> Result<DatasetRecord, StudioError> {
    let (from, time) = (shared.import_from.clone(), shared.import_time);
    let folder = blocking(move || permitted(&from, &folder)).await?;
    let reach = Reach { inside: true, until: Some(Instant::now() + time) };
    let reading = detached(async move { shared.datasets.import(&id, &folder, reach).await });
    // A file system that does not answer holds a thread, but nobody who waits; whatever it gives later is too late.
    tokio::time::timeout(time.saturating_add(GRACE), reading).await.unwrap_or_else(|_| Err(Reach::over()))
}

/// The folder's real path, if it is inside an allowed folder. Nothing is revealed about other paths, not even
/// whether they exist.
fn permitted(from: &[PathBuf], folder: &Path) -> Result<PathBuf, StudioError> {
    let place = folder.canonicalize().ok().filter(|place| {
        from.iter().any(|root| root.canonicalize().is_ok_and(|root| place.starts_with(root)))
    });
    if let Some(place) = place.filter(|_| folder.is_absolute()) {
        return Ok(place);
    }
    let message = if from.is_empty() {
        "Folder import is disabled on this server. Start it with --import-from DIR, or run `adire datasets import` while it is stopped."
            .to_owned()
    } else {
        let shown: Vec<_> = from.iter().map(|root| root.display().to_string()).collect();
        format!(
            "“{}” is not a folder inside {}, the folders allowed by --import-from. Enter an absolute path.",
            folder.display(),
            shown.join(" or ")
        )
    };
    Err(StudioError::invalid("folder", message))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_what_lies_in_a_named_folder_is_read() {
        let around = tempfile::tempdir().unwrap();
        let at = |name: &str| around.path().join(name);
        fs::create_dir_all(at("in/set")).unwrap();
        fs::create_dir_all(at("in-2")).unwrap();
        fs::create_dir_all(at("out")).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(at("out"), at("in/link")).unwrap();
        let from = [at("nowhere"), at("in")];
        assert_eq!(permitted(&from, &at("in/set")).unwrap(), at("in/set").canonicalize().unwrap());
        assert!(permitted(&from, &at("in")).is_ok());
        let mut messages = Vec::new();
        for folder in ["out", "in-2", "in/../out", "in/link", "in/missing", "missing"] {
            let error = permitted(&from, &at(folder)).unwrap_err().to_string();
            messages.push(error.replace(&at(folder).display().to_string(), "X"));
        }
        messages.dedup();
        assert_eq!(messages.len(), 1, "nothing tells what exists from what does not: {messages:?}");
        assert!(permitted(&from, Path::new("in/set")).is_err() && permitted(&from, Path::new("")).is_err());
        assert!(permitted(&[], &at("in")).unwrap_err().to_string().contains("--import-from"));
    }
}
