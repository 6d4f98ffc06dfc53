//! A web server on loopback with a few pages, for what ADD and contexts download.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::fault::wire::{Answer, Connection, Head};

/// What is answered to a path.
#[derive(Debug, Clone)]
pub struct Page {
    path: String,
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Page {
    /// A page with this content.
    #[must_use]
    pub fn new(path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { path: path.to_owned(), status: 200, headers: Vec::new(), body: body.into() }
    }

    /// A page that sends the client elsewhere.
    #[must_use]
    pub fn redirect(path: &str, location: &str) -> Self {
        Self { status: 302, ..Self::new(path, "") }.header("Location", location)
    }

    /// With another status.
    #[must_use]
    pub fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// One more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// Serves pages; every other path is 404.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
    site: Arc<Mutex<Site>>,
}

#[derive(Debug)]
struct Site {
    pages: Vec<Page>,
    /// `METHOD /path` of every request.
    requests: Vec<String>,
}

impl HttpServer {
    /// Serves the pages on a free port.
    #[must_use]
    pub fn start(pages: Vec<Page>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("because loopback has a free port");
        let address = listener.local_addr().expect("because it is bound");
        let stopped = Arc::new(AtomicBool::new(false));
        let site = Arc::new(Mutex::new(Site { pages, requests: Vec::new() }));
        let (served, stop) = (Arc::clone(&site), Arc::clone(&stopped));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let site = Arc::clone(&served);
                std::thread::spawn(move || serve(&site, Connection::new(stream)));
            }
        });
        Self { address, stopped, site }
    }

    /// Puts a page in place of the one with its path.
    pub fn replace(&self, page: Page) {
        let mut site = self.site.lock().unwrap_or_else(PoisonError::into_inner);
        site.pages.retain(|known| known.path != page.path);
        site.pages.push(page);
    }

    /// The requests so far, as `METHOD /path`.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.site.lock().unwrap_or_else(PoisonError::into_inner).requests.clone()
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The address of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        let _ = std::net::TcpStream::connect(self.address);
    }
}

/// Answers one connection until the client has gone.
fn serve(site: &Mutex<Site>, mut connection: Connection) {
    while let Some(head) = connection.head() {
        let answer = {
            let mut site = site.lock().unwrap_or_else(PoisonError::into_inner);
            site.requests.push(format!("{} {}", head.method, head.path));
            answer(&site.pages, &head)
        };
        let length = Some(answer.body.len() as u64);
        let body = if head.method == "HEAD" { &[][..] } else { &answer.body[..] };
        let sent = connection.send_head(&answer, length);
        if sent.and_then(|()| connection.send(body)).is_err() {
            return;
        }
    }
}

fn answer(pages: &[Page], head: &Head) -> Answer {
    let Some(page) = pages.iter().find(|page| page.path == head.path) else {
        return Answer::new(404).body("there is no such page\n");
    };
    let answer = Answer::new(page.status).body(page.body.clone());
    page.headers.iter().fold(answer, |answer, (name, value)| answer.header(name, value.clone()))
}
