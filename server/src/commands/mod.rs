//! One file per command, and what several of them need.

pub(crate) mod adapters;
pub(crate) mod add;
pub(crate) mod admin;
pub(crate) mod bundled;
pub(crate) mod convert;
pub(crate) mod datasets;
pub(crate) mod embeddings;
pub(crate) mod evaluate;
pub(crate) mod generate;
pub(crate) mod health;
pub(crate) mod init_image;
pub(crate) mod inspect;
pub(crate) mod limits;
pub(crate) mod mlflow;
pub(crate) mod model_args;
pub(crate) mod models;
pub(crate) mod parameters;
pub(crate) mod push;
pub(crate) mod registry;
pub(crate) mod selftest;
pub(crate) mod serve;
pub(crate) mod tokens;
pub(crate) mod train;
pub(crate) mod verify;

pub use tokens::listed_tokens;

use std::{
    fmt::Display,
    io::{ErrorKind, Write},
};

use anyhow::Context as _;

/// Writes a line to stdout. That a reader such as `head` has gone is fine; `println!` would panic.
///
/// # Errors
/// The line was not written: the disk is full, for example, so that what was redirected into a file is not whole.
pub(crate) fn print(line: impl Display) -> anyhow::Result<()> {
    print_to(&mut std::io::stdout(), line)
}

fn print_to(out: &mut impl Write, line: impl Display) -> anyhow::Result<()> {
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("stdout cannot be written"),
    }
}

/// From now on, files of this process are for its user alone: for commands that write into a data folder.
pub(crate) fn keep_private() {
    #[cfg(unix)]
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_gone_is_fine_and_a_full_disk_is_not() {
        assert!(print_to(&mut Broken(ErrorKind::BrokenPipe), "line").is_ok());
        let failed = print_to(&mut Broken(ErrorKind::StorageFull), "line").unwrap_err();
        assert_eq!(failed.to_string(), "stdout cannot be written");
        let mut out = Vec::new();
        print_to(&mut out, format_args!("{} {}", 1, 2)).unwrap();
        assert_eq!(out, b"1 2\n");
    }
}
