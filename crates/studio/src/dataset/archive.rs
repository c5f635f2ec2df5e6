//! Zip files among what is brought: unpacked with limits, so that a small file cannot fill the disk.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek},
    path::Path,
};

use zip::ZipArchive;

use super::{
    Files, Remark,
    library::Incoming,
    read::{LARGEST, MOST, is_hidden},
};
use crate::{StudioError, blobs::Blobs, folder::reason};

/// Most entries of one archive: pictures, their captions, and folders.
const MOST_ENTRIES: usize = 3 * MOST;
/// Most bytes that come out of one archive.
const MOST_BYTES: u64 = 8 << 30;
/// Most bytes that come out for each byte of the archive. Pictures are packed already; texts shrink to a tenth.
const MOST_RATIO: u64 = 50;
/// This much may come out of any archive, however small it is.
const ALWAYS: u64 = 16 << 20;

/// Unpacks the archive at `path` among `files`, under the names that it has for them. What is unpacked is put into
/// `kept`, and deleted with it.
///
/// # Errors
/// It is no zip file or a damaged one, it holds too much, or the disk is full.
pub(super) fn expand(
    path: &Path,
    shown: &str,
    blobs: &Blobs,
    files: &mut Files,
    kept: &mut Vec<Incoming>,
    remarks: &mut Vec<Remark>,
) -> Result<(), StudioError> {
    let refuse = |what: String| StudioError::Picture(format!("{shown} {what}"));
    let file = File::open(path).map_err(|error| refuse(format!("cannot be read: {}.", reason(&error))))?;
    let packed = file.metadata().map(|metadata| metadata.len()).unwrap_or_default();
    let room = packed.saturating_mul(MOST_RATIO).clamp(ALWAYS, MOST_BYTES);
    let mut archive = ZipArchive::new(BufReader::new(file))
        .map_err(|error| refuse(format!("is no zip file that can be read ({error}). Pack it again.")))?;
    if archive.len() > MOST_ENTRIES {
        return Err(refuse(format!(
            "has {} entries; at most {MOST_ENTRIES} are taken. Divide it.",
            archive.len()
        )));
    }
    let mut left = room;
    for index in 0..archive.len() {
        unpack(&mut archive, index, shown, blobs, &mut left, files, kept, remarks)?;
        if left == 0 {
            return Err(refuse(format!(
                "unpacks to more than {room} bytes, far more than pictures do. Nothing of it was taken."
            )));
        }
    }
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "one entry of the loop above, with all that the loop has")]
fn unpack(
    archive: &mut ZipArchive<impl Read + Seek>,
    index: usize,
    shown: &str,
    blobs: &Blobs,
    left: &mut u64,
    files: &mut Files,
    kept: &mut Vec<Incoming>,
    remarks: &mut Vec<Remark>,
) -> Result<(), StudioError> {
    let in_archive =
        archive.name_for_index(index).and_then(Result::ok).map(|name| clean(&name)).unwrap_or_default();
    let mut entry = match archive.by_index(index) {
        Ok(entry) => entry,
        Err(error) => {
            let message = format!("Left out: it cannot be unpacked from {shown} ({error}).");
            remarks.push(Remark { name: in_archive, message });
            return Ok(());
        }
    };
    if !entry.is_file() || in_archive.is_empty() || in_archive.split('/').any(is_hidden) {
        return Ok(());
    }
    let (incoming, mut file) = Incoming::create(blobs, &in_archive)?;
    // One byte more than allowed shows that there is too much, whatever the archive says of itself.
    let allowed = (LARGEST + 1).min(*left);
    let copied = io::copy(&mut (&mut entry).take(allowed), &mut file);
    match copied {
        Ok(bytes) => *left -= bytes,
        Err(error) if error.kind() == io::ErrorKind::StorageFull => {
            return Err(StudioError::Storage("The disk is full. Free some space and try again.".to_owned()));
        }
        Err(error) => {
            let message = format!("Left out: it is damaged in {shown} ({error}).");
            remarks.push(Remark { name: in_archive, message });
            return Ok(());
        }
    }
    files.insert(in_archive, incoming.path().to_owned());
    kept.push(incoming);
    Ok(())
}

/// A name with plain slashes, without parts that mean something to a file system. It only ever is a name; no file is
/// called so.
pub(super) fn clean(name: &str) -> String {
    let parts = name.split(['/', '\\']).filter(|part| !matches!(*part, "" | "." | ".."));
    let name: String = parts.collect::<Vec<_>>().join("/");
    // Long enough for any name that people give; the end tells the kind of file.
    let long = name.chars().count().saturating_sub(400);
    name.chars().skip(long).filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere() {
        assert_eq!(clean("../../etc/passwd"), "etc/passwd");
        assert_eq!(clean("C:\\cloth\\.\\a.png"), "C:/cloth/a.png");
        assert_eq!(clean("/"), "");
        assert_eq!(clean(&"ä".repeat(500)).chars().count(), 400);
    }
}
