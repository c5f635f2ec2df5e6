//! A line to a server that loses answers, gives others, or is silent.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The line is cut before the server hears of it.
    Before,
    /// The server does it, and its answer is lost.
    After,
    /// No answer comes.
    Silence,
    /// These bytes come instead of the server's answer.
    Answer(String),
}

impl Fault {
    /// A status without a body.
    pub(crate) fn status(status: u16) -> Self {
        Self::answer(status, "", "")
    }

    /// A status with a body. `headers`: each ends with a line break.
    pub(crate) fn answer(status: u16, headers: &str, body: &str) -> Self {
        Self::Answer(head(status, headers, body.len()) + body)
    }

    /// A body of which the end is missing.
    pub(crate) fn broken(body: &str) -> Self {
        Self::Answer(head(200, "", body.len() + 50) + body)
    }
}

fn head(status: u16, headers: &str, length: usize) -> String {
    format!("HTTP/1.1 {status} x\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n")
}

/// Requests whose first line has this word, how many of them, and what happens.
pub(crate) type Plan = Vec<(&'static str, u32, Fault)>;

/// What a line still has to do, and what it has done.
#[derive(Default)]
struct Course {
    left: Plan,
    faults: u32,
    heads: Vec<String>,
    /// Clients that get no answer.
    silent: Vec<TcpStream>,
}

#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) port: u16,
    course: Arc<Mutex<Course>>,
}

impl Line {
    pub(crate) fn to(server: u16, plan: Plan) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let course = Arc::new(Mutex::new(Course { left: plan, ..Course::default() }));
        let shared = course.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let course = shared.clone();
                thread::spawn(move || carry(client, server, &course));
            }
        });
        Self { port, course }
    }

    /// Faults that happened.
    pub(crate) fn faults(&self) -> u32 {
        self.course.lock().unwrap().faults
    }

    /// From now on every line is cut, also that of a client that waits.
    pub(crate) fn cut(&self) {
        let mut course = self.course.lock().unwrap();
        course.left = vec![("HTTP", u32::MAX, Fault::Before)];
        for client in course.silent.drain(..) {
            let _ = client.shutdown(Shutdown::Both);
        }
    }

    /// Heads of all requests, whatever happened to them.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.course.lock().unwrap().heads.clone()
    }
}

impl Course {
    /// What happens to the request with this head.
    fn fault(&mut self, head: &str) -> Option<Fault> {
        self.heads.push(head.to_owned());
        let first = head.lines().next().unwrap_or_default();
        let found = self.left.iter_mut().find(|(word, times, _)| *times > 0 && first.contains(word));
        let (_, times, fault) = found?;
        *times -= 1;
        self.faults += 1;
        Some(fault.clone())
    }
}

/// Carries one request; `Connection: close` keeps it at that.
fn carry(mut client: TcpStream, server: u16, course: &Mutex<Course>) {
    let Some((head, body)) = read(&mut client) else { return };
    let fault = course.lock().unwrap().fault(&head);
    match fault {
        Some(Fault::Before) => return,
        Some(Fault::Answer(answer)) => {
            let _ = client.write_all(answer.as_bytes());
            return;
        }
        Some(Fault::Silence) => {
            course.lock().unwrap().silent.extend(client.try_clone());
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
pub(crate) fn read(client: &mut TcpStream) -> Option<(String, Vec<u8>)> {
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
    let length = header(&head, "content-length").and_then(|length| length.parse().ok());
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

/// The value of a header, which is named in lower case.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut headers = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    headers.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}
