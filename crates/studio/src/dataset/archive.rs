//! Unpacks uploaded zip files within limits, so that a small file cannot fill the disk.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use zip::ZipArchive;

use super::{
    ImportWarning,
    files::{Files, MAX_IMAGE_BYTES, MAX_IMAGES, insert},
    names::clean,
    uploaded_file::UploadedFile,
    walk::{is_hidden, tell_hidden},
};
use crate::{
    StudioError,
    blobs::Blobs,
    folder::{self, reason},
};

/// Most entries of one archive: images, their captions, and folders.
const MAX_ENTRIES: usize = 3 * MAX_IMAGES;
/// Most bytes that come out of one archive.
const MAX_UNPACKED_BYTES: u64 = 8 << 30;
/// Most bytes that come out for each byte of the archive. Images are packed already; texts shrink to a tenth.
const MAX_RATIO: u64 = 50;
/// This much may come out of any archive, however small it is.
const ALWAYS: u64 = 16 << 20;
/// Maximum size of an archive's central directory, in bytes.
const DIRECTORY: u64 = 32 << 20;

/// Unpacks the archive at `path` among `files`, under the names that it has for them. What is unpacked is put into
/// `kept`, and deleted with it.
///
/// # Errors
/// The file is not a zip file or is damaged, it holds too much, or the disk is full.
pub(super) fn expand(
    path: &Path,
    shown: &str,
    blobs: &Blobs,
    files: &mut Files,
    kept: &mut Vec<UploadedFile>,
    warnings: &mut Vec<ImportWarning>,
) -> Result<(), StudioError> {
    let refuse = |what: String| StudioError::Image(format!("{shown} {what}"));
    let file = File::open(path).map_err(|error| refuse(format!("cannot be read: {}.", reason(&error))))?;
    let packed = file.metadata().map(|metadata| metadata.len()).unwrap_or_default();
    let room = packed.saturating_mul(MAX_RATIO).clamp(ALWAYS, MAX_UNPACKED_BYTES);
    let mut archive = open(file, packed, DIRECTORY).map_err(refuse)?;
    let twice = File::open(path).ok().and_then(|file| written(file, packed)).unwrap_or_default();
    if let Some(lost @ 1..) = usize::from(twice).checked_sub(archive.len()) {
        let message = format!(
            "{lost} entries share a name with another entry; the last one of each name was imported."
        );
        warnings.push(ImportWarning { name: shown.to_owned(), message });
    }
    let mut unpacking = Unpacking { shown, blobs, left: room, files, kept, warnings, hidden: Vec::new() };
    for index in 0..archive.len() {
        unpacking.entry(&mut archive, index)?;
        if unpacking.left == 0 {
            return Err(refuse(format!(
                "unpacks to more than {room} bytes, far more than images would. Nothing was imported."
            )));
        }
    }
    let Unpacking { hidden, warnings, .. } = unpacking;
    tell_hidden(hidden, warnings);
    Ok(())
}

/// Reads an archive's directory, if that can be done in little memory. `window`: the bytes at the end in which it must
/// lie.
///
/// # Errors
/// What is wrong with it, to follow its name.
fn open(mut file: File, length: u64, window: u64) -> Result<ZipArchive<impl Read + Seek>, String> {
    let unreadable = |error: io::Error| format!("cannot be read: {}.", reason(&error));
    let many = |count: u64| format!("has {count} entries; the limit is {MAX_ENTRIES}. Split it.");
    let floor = length.saturating_sub(window);
    // Memory is taken for as many entries as a record claims there are. Records of small archives cannot claim many.
    if let Some(count) =
        claimed(&mut file, floor).map_err(unreadable)?.filter(|count| *count > MAX_ENTRIES as u64)
    {
        return Err(many(count));
    }
    let whole = Arc::new(AtomicBool::new(false));
    let tail = Tail { inner: file, at: 0, floor, whole: whole.clone() };
    let archive = ZipArchive::new(BufReader::new(tail)).map_err(|error| match error {
        zip::result::ZipError::Io(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            format!("has no central directory within its last {window} bytes. Repack or split it.")
        }
        error => format!("is not a readable zip file ({error}). Repack it."),
    })?;
    whole.store(true, Ordering::Relaxed);
    if archive.len() > MAX_ENTRIES {
        return Err(many(archive.len() as u64));
    }
    Ok(archive)
}

/// The largest number of entries that a zip64 record after `floor` claims.
fn claimed(file: &mut (impl Read + Seek), floor: u64) -> io::Result<Option<u64>> {
    const RECORD: &[u8] = b"PK\x06\x06";
    /// Of a record, up to and with the number of entries.
    const HEAD: usize = 40;
    file.seek(SeekFrom::Start(floor))?;
    let (mut found, mut buffer, mut kept) = (None, vec![0; 1 << 20], 0);
    loop {
        let read = file.read(&mut buffer[kept..])?;
        let seen = kept + read;
        let bytes = &buffer[..seen];
        for at in memchr::memmem::find_iter(bytes, RECORD) {
            let count = bytes.get(at + 32..at + HEAD).and_then(|bytes| bytes.try_into().ok());
            found = found.max(count.map(u64::from_le_bytes));
        }
        if read == 0 {
            return Ok(found);
        }
        // A record may lie across the end of what was read.
        kept = seen.min(HEAD - 1);
        buffer.copy_within(seen - kept..seen, 0);
    }
}

/// How many entries an archive says that it has, where it says so in its last record.
fn written(mut file: File, length: u64) -> Option<u16> {
    let mut end = Vec::new();
    file.seek(SeekFrom::Start(length.saturating_sub(22 + 0xffff))).ok()?;
    file.take(22 + 0xffff).read_to_end(&mut end).ok()?;
    let at = memchr::memmem::rfind(&end, b"PK\x05\x06")?;
    let count = u16::from_le_bytes(end.get(at + 10..at + 12)?.try_into().ok()?);
    (count != u16::MAX).then_some(count)
}

/// A file of which only the end is read until `whole`: an archive's directory lies there.
struct Tail {
    inner: File,
    at: u64,
    floor: u64,
    whole: Arc<AtomicBool>,
}

impl Read for Tail {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at < self.floor && !self.whole.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let read = self.inner.read(buffer)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Tail {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = self.inner.seek(to)?;
        Ok(self.at)
    }
}

struct Unpacking<'a> {
    shown: &'a str,
    blobs: &'a Blobs,
    left: u64,
    files: &'a mut Files,
    kept: &'a mut Vec<UploadedFile>,
    warnings: &'a mut Vec<ImportWarning>,
    hidden: Vec<String>,
}

impl Unpacking<'_> {
    fn entry(&mut self, archive: &mut ZipArchive<impl Read + Seek>, index: usize) -> Result<(), StudioError> {
        let shown = self.shown;
        let written = archive.name_for_index(index).and_then(Result::ok).unwrap_or_default();
        let mut name = clean(&written);
        if name.is_empty() {
            name = format!("entry {} of {shown}", index + 1);
        }
        let mut entry = match archive.by_index(index) {
            Ok(entry) => entry,
            Err(error) => {
                let message = format!("Skipped: cannot be unpacked from {shown} ({error}).");
                self.warnings.push(ImportWarning { name, message });
                return Ok(());
            }
        };
        if entry.is_dir() {
            return Ok(());
        }
        if name.split('/').any(is_hidden) {
            self.hidden.push(name);
            return Ok(());
        }
        if !entry.is_file() {
            let message = format!("Skipped: it is a link in {shown}; links are not followed.");
            self.warnings.push(ImportWarning { name, message });
            return Ok(());
        }
        let (incoming, mut file) = UploadedFile::create(self.blobs, &name)?;
        // One byte more than allowed shows that there is too much, whatever the archive says of itself.
        let allowed = (MAX_IMAGE_BYTES + 1).min(self.left);
        match copy(&mut (&mut entry).take(allowed), &mut file) {
            Ok(bytes) => self.left -= bytes,
            Err(Broken::Written(error)) => {
                return Err(folder::failed(format_args!("{name} of {shown} could not be kept"), &error));
            }
            Err(Broken::Read(error)) => {
                let message = format!("Skipped: damaged in {shown} ({error}).");
                self.warnings.push(ImportWarning { name, message });
                return Ok(());
            }
        }
        if insert(self.files, name, incoming.path(), self.warnings) {
            self.kept.push(incoming);
        }
        Ok(())
    }
}

/// Which side of a copy failed.
enum Broken {
    Read(io::Error),
    Written(io::Error),
}

fn copy(from: &mut impl Read, to: &mut impl Write) -> Result<u64, Broken> {
    let (mut buffer, mut copied) = (vec![0; 1 << 16], 0);
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Broken::Read(error)),
        };
        to.write_all(&buffer[..read]).map_err(Broken::Written)?;
        copied += read as u64;
    }
    to.flush().map_err(Broken::Written)?;
    Ok(copied)
}

#[cfg(test)]
mod tests {
    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;
    use crate::{BlobPlace, ErrorKind};

    fn zipped(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut zip = ZipWriter::new(io::Cursor::new(Vec::new()));
        for (name, bytes) in files {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn opened(bytes: &[u8], window: u64) -> Result<usize, String> {
        open(file(bytes), bytes.len() as u64, window).map(|archive| archive.len())
    }

    #[test]
    fn a_full_disk_is_not_reported_as_a_damaged_archive() {
        struct Full(io::ErrorKind);
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            match copy(&mut &b"abc"[..], &mut Full(kind)) {
                Err(Broken::Written(error)) => {
                    assert_eq!(folder::failed("a", &error).kind(), ErrorKind::DiskFull)
                }
                _ => panic!("{kind:?}"),
            }
        }
        let denied = Full(io::ErrorKind::PermissionDenied);
        let mut denied = denied;
        match copy(&mut &b"abc"[..], &mut denied) {
            Err(Broken::Written(error)) => {
                assert_eq!(folder::failed("a", &error).kind(), ErrorKind::Internal)
            }
            _ => panic!("no error"),
        }
        struct Bad;
        impl Read for Bad {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
        }
        assert!(matches!(copy(&mut Bad, &mut Vec::new()), Err(Broken::Read(_))), "the archive's own trouble");
    }

    #[test]
    fn the_number_of_entries_is_known_before_memory_is_taken_for_them() {
        let plain = zipped(&[("a.png", b"a"), ("b.png", b"b")]);
        assert_eq!(opened(&plain, DIRECTORY), Ok(2));
        // A record that claims as many entries as the archive has bytes, and a directory of any size.
        let at = plain.len() - 22;
        let mut record = b"PK\x06\x06".to_vec();
        record.extend(44u64.to_le_bytes());
        record.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        for number in [1u64 << 40, 1 << 40, 1 << 50, 0] {
            record.extend(number.to_le_bytes());
        }
        let mut locator = b"PK\x06\x07\0\0\0\0".to_vec();
        locator.extend((at as u64).to_le_bytes());
        locator.extend(1u32.to_le_bytes());
        let mut end = b"PK\x05\x06\0\0\0\0".to_vec();
        end.extend([0xff; 12]);
        end.extend([0, 0]);
        let bomb = [&plain[..at], &record, &locator, &end].concat();
        let refused = opened(&bomb, DIRECTORY).unwrap_err();
        assert!(refused.contains(&(1u64 << 40).to_string()) && refused.contains("Split it"), "{refused}");
        // Wherever the record lies in what is looked at.
        let mut far = vec![0; (1 << 20) - 20];
        far.extend(&record);
        far.extend(vec![0; 5000]);
        assert_eq!(claimed(&mut file(&far), 0).unwrap(), Some(1 << 40));
    }

    #[test]
    fn only_the_end_of_an_archive_is_searched_for_its_directory() {
        let large: Vec<u8> = (0..400_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
        let archive = zipped(&[("a.png", &large), ("b.png", b"b")]);
        assert_eq!(opened(&archive, 4096), Ok(2), "entries before it are read later");
        let far = [archive.as_slice(), &vec![0; 100_000]].concat();
        let refused = opened(&far, 4096).unwrap_err();
        assert!(refused.contains("last 4096 bytes"), "{refused}");
    }

    #[tokio::test]
    async fn any_bytes_are_borne() {
        let seed = zipped(&[("a.png", b"abc"), ("set/a.txt", &[b'x'; 3000])]);
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path(), &BlobPlace::default()).await.unwrap();
        let path = folder.path().join("a.zip");
        let mut random = 7u64;
        let mut next = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        for round in 0..400 {
            let mut bytes = seed.clone();
            for _ in 0..=next() % 4 {
                let at = next() as usize % bytes.len();
                match next() % 4 {
                    0 => bytes.truncate(at.max(1)),
                    1 => bytes[at] = 0xff,
                    _ => bytes[at] = next() as u8,
                }
            }
            std::fs::write(&path, if round == 0 { &seed } else { &bytes }).unwrap();
            let (mut files, mut kept, mut warnings) = (Files::new(), Vec::new(), Vec::new());
            let done = expand(&path, "a.zip", &blobs, &mut files, &mut kept, &mut warnings);
            assert_eq!(files.len(), kept.len());
            // Each entry is imported or reported.
            assert!(done.is_err() || files.len() + warnings.len() >= 1 || round > 0, "{round}");
        }
        assert_eq!(std::fs::read_dir(folder.path().join("blobs/incoming")).unwrap().count(), 0);
    }
}
