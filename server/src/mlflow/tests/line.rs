//! A line to a server that loses answers, gives others, or is silent.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The line is cut before the server hears of it.
    Before,
    /// The server does it, and its answer is lost.
    After,
    /// No answer comes.
    Silence,
    /// This comes instead of the server's answer.
    Answer(&'static str),
}

/// Requests with this word, how many of them, and what happens.
pub(super) type Plan = Vec<(&'static str, u32, Fault)>;

pub(super) struct Line {
    pub(super) port: u16,
    /// Faults that happened.
    pub(super) faults: Arc<AtomicU32>,
}

impl Line {
    pub(super) fn to(server: u16, plan: Plan) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let faults = Arc::new(AtomicU32::new(0));
        let (left, count) = (Arc::new(Mutex::new(plan)), faults.clone());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (left, count) = (left.clone(), count.clone());
                thread::spawn(move || carry(client, server, &left, &count));
            }
        });
        Self { port, faults }
    }
}

/// Carries one request; `Connection: close` keeps it at that.
fn carry(mut client: TcpStream, server: u16, left: &Mutex<Plan>, count: &AtomicU32) {
    let Some((head, body)) = read(&mut client) else { return };
    let first = head.lines().next().unwrap_or_default().to_owned();
    let fault = {
        let mut left = left.lock().unwrap();
        let found = left.iter_mut().find(|(word, times, _)| *times > 0 && first.contains(word));
        found.map(|(_, times, fault)| {
            *times -= 1;
            *fault
        })
    };
    if fault.is_some() {
        count.fetch_add(1, Ordering::Relaxed);
    }
    match fault {
        Some(Fault::Before) => return,
        Some(Fault::Answer(answer)) => {
            let _ = client.write_all(answer.as_bytes());
            return;
        }
        Some(Fault::Silence) => {
            // Whoever asked gives up first.
            let _ = client.read(&mut [0]);
            return;
        }
        Some(Fault::After) | None => {}
    }
    let mut own = TcpStream::connect(("127.0.0.1", server)).unwrap();
    let head = head
        .replace("\r\nhost:", "\r\nConnection: close\r\nhost:")
        .replace("\r\nHost:", "\r\nConnection: close\r\nHost:");
    own.write_all(head.as_bytes()).unwrap();
    own.write_all(b"\r\n\r\n").unwrap();
    own.write_all(&body).unwrap();
    let mut answer = Vec::new();
    let _ = own.read_to_end(&mut answer);
    if fault.is_none() {
        let _ = client.write_all(&answer);
    }
    let _ = client.shutdown(Shutdown::Both);
}

/// A request's head, without its blank line, and its body.
fn read(client: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut request = Vec::new();
    let mut piece = [0; 65536];
    let end = loop {
        if let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        match client.read(&mut piece) {
            Ok(read) if read > 0 => request.extend(&piece[..read]),
            _ => return None,
        }
    };
    let head = String::from_utf8_lossy(&request[..end]).into_owned();
    let lower = head.to_lowercase();
    let length = lower.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
    let length: usize = length.unwrap_or(0);
    let mut body = request[end + 4..].to_vec();
    while body.len() < length {
        match client.read(&mut piece) {
            Ok(read) if read > 0 => body.extend(&piece[..read]),
            _ => return None,
        }
    }
    Some((head, body))
}
