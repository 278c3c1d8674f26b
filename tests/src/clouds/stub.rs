//! A stub HTTP server with canned responses, for credential endpoints.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use anyhow::Result;
use parking_lot::Mutex;

/// A request that the stub received.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Method and target, for example `GET /path?query`.
    pub line: String,
    /// Headers with lower-case names.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

type Answers = Vec<(&'static str, u16, String)>;

/// A server on loopback that selects its response by the request line. It runs until the process
/// ends.
#[derive(Debug)]
pub struct Stub {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    answers: Arc<Mutex<Answers>>,
}

impl Stub {
    /// Starts the server. It responds with 404 until [`answer`](Self::answer) adds responses.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let stub = Self {
            address: listener.local_addr()?,
            asked: Arc::default(),
            answers: Arc::default(),
        };
        let (asked, answers) = (Arc::clone(&stub.asked), Arc::clone(&stub.answers));
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                // Ignore connection errors: the client may disconnect at any time.
                let _ = serve(socket, &asked, &answers);
            }
        });
        Ok(stub)
    }

    /// Responds to requests whose request line contains `line` with a status and a body.
    pub fn answer(&self, line: &'static str, status: u16, body: impl Into<String>) {
        self.answers.lock().push((line, status, body.into()));
    }

    /// The server's address as `host:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The server's address as `http://host:port`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests received so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().clone()
    }
}

fn serve(socket: TcpStream, asked: &Mutex<Vec<Asked>>, answers: &Mutex<Answers>) -> Result<()> {
    let mut reader = BufReader::new(socket.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let line = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        match header.trim_end().split_once(':') {
            Some((name, value)) => {
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
            }
            None => break,
        }
    }
    let length = headers.get("content-length").map_or(Ok(0), |n| n.parse())?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let answer = answers.lock().iter().find_map(|(part, status, body)| {
        let matches = line.contains(part);
        matches.then(|| (*status, body.clone()))
    });
    asked.lock().push(Asked {
        line,
        headers,
        body: String::from_utf8(body)?,
    });
    let (status, body) = answer.unwrap_or((404, String::new()));
    let mut socket = socket;
    write!(
        socket,
        "HTTP/1.1 {status} Stub\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )?;
    Ok(())
}
