//! Servers for the tests of our clients.

mod line;

pub(crate) use line::{Fault, Line, Plan, header, read};

use std::net::TcpListener;

/// A port on which nothing listens.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
