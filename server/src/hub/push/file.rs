//! Files of a push: bytes, or a file on this machine.

use std::{
    fs::File,
    io::{self, Read, Seek},
    sync::atomic::{AtomicBool, Ordering},
};

use super::PushError;
use crate::exports::LocalPath;

/// A file of it.
pub(crate) struct PushFile {
    pub(crate) path: String,
    pub(crate) content: Content,
}

pub(crate) enum Content {
    Bytes(Vec<u8>),
    File { path: LocalPath, sha256: String, bytes: u64 },
}

impl Content {
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { bytes, .. } => *bytes,
        }
    }

    pub(super) fn sha256(&self) -> String {
        match self {
            Self::Bytes(bytes) => hex::encode(<sha2::Sha256 as sha2::Digest>::digest(bytes)),
            Self::File { sha256, .. } => sha256.clone(),
        }
    }

    pub(super) fn open(&self) -> io::Result<Box<dyn ReadSeek + '_>> {
        Ok(match self {
            Self::Bytes(bytes) => Box::new(io::Cursor::new(bytes)),
            Self::File { path, .. } => Box::new(File::open(path)?),
        })
    }
}

pub(super) trait ReadSeek: Read + Seek {}
impl<T: Read + Seek> ReadSeek for T {}

pub(super) fn unreadable(file: &PushFile, error: &io::Error) -> PushError {
    PushError::lasting(format!("{} cannot be read: {error}.", file.path))
}

/// A reader that ends with an error once a push is cancelled.
pub(super) struct Stoppable<'a, R> {
    pub(super) reader: R,
    pub(super) stop: &'a AtomicBool,
}

impl<R: Read> Read for Stoppable<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("cancelled"));
        }
        self.reader.read(buffer)
    }
}
