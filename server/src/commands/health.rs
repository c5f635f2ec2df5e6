//! `adire health`: for a container's health check, so that the image needs no curl.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Args;

const TIMEOUT: Duration = Duration::from_secs(3);

/// Server to check.
#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    /// The server's address
    #[arg(long, env = "ADIRE_ADDR", default_value = "127.0.0.1:3000")]
    addr: String,
}

impl HealthArgs {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let addr = self.addr.as_str();
        let target = addr.to_socket_addrs().ok().and_then(|mut all| all.next());
        let target = target.with_context(|| format!("{addr} is not an address; write host:port"))?;
        let status = ask(reachable(target)).with_context(|| format!("no answer from {addr}"))?;
        if status != 200 {
            bail!("{addr} answers with status {status}");
        }
        Ok(())
    }
}

/// A loopback address in place of an unspecified one (0.0.0.0 or ::).
fn reachable(mut target: SocketAddr) -> SocketAddr {
    if target.ip().is_unspecified() {
        target.set_ip(if target.is_ipv4() {
            [127, 0, 0, 1].into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    target
}

fn ask(target: SocketAddr) -> anyhow::Result<u16> {
    let mut stream = TcpStream::connect_timeout(&target, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET /healthz HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(64 << 10).read_to_string(&mut answer)?;
    let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    status.context("the answer is not HTTP")
}
