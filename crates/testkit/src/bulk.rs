//! A registry of one blob of any size: zeros, made as they are sent, counted and dropped as they
//! come. For what is measured at sizes that no test wants to keep: memory, and what a fault costs.
//!
//! It looks at no digest and holds no manifest; for what a registry does see [`crate::fault`].

use std::collections::HashMap;
use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::fault::wire::{Answer, Connection, Head};

/// How much is read and written at once.
const PIECE: usize = 128 << 10;
/// What the kernel may keep of an answer that is then cut.
const SEND_BUFFER: usize = 256 << 10;

/// A registry on loopback that keeps nothing.
#[derive(Debug)]
pub struct BulkRegistry {
    shared: Arc<Shared>,
    address: SocketAddr,
}

#[derive(Debug)]
struct Shared {
    size: u64,
    received: AtomicU64,
    sent: AtomicU64,
    /// Where connections are still to be reset: positions in a blob, one reset each.
    cuts: Mutex<Vec<u64>>,
    /// How far each upload got.
    uploads: Mutex<HashMap<String, u64>>,
    /// Some upload was finished: the blob is there from now on.
    finished: AtomicBool,
    stopped: AtomicBool,
}

impl BulkRegistry {
    /// One whose blobs all have so many bytes.
    #[must_use]
    pub fn start(size: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("because loopback has a free port");
        let address = listener.local_addr().expect("because it is bound");
        let shared = Arc::new(Shared {
            size,
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            cuts: Mutex::default(),
            uploads: Mutex::default(),
            finished: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        });
        let state = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if state.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let _ = rustix::net::sockopt::set_socket_send_buffer_size(&stream, SEND_BUFFER);
                let state = Arc::clone(&state);
                std::thread::spawn(move || state.serve(Connection::new(stream)));
            }
        });
        Self { shared, address }
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Resets one connection when a blob that comes or goes has got so far.
    pub fn cut_at(&self, position: u64) {
        lock(&self.shared.cuts).push(position);
    }

    /// Bytes of bodies that came, those of requests that were cut included.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.shared.received.load(Ordering::SeqCst)
    }

    /// Bytes of the blob that were sent, those that were lost included.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::SeqCst)
    }
}

impl Drop for BulkRegistry {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = std::net::TcpStream::connect(self.address);
    }
}

impl Shared {
    fn serve(&self, mut connection: Connection) {
        while let Some(head) = connection.head() {
            match self.answer(connection, &head) {
                Some(open) => connection = open,
                None => return,
            }
        }
    }

    /// `None` when the connection is over.
    fn answer(&self, mut connection: Connection, head: &Head) -> Option<Connection> {
        let is_upload = head.path.contains("/blobs/uploads/");
        let name = head.path.rsplit('/').next().unwrap_or_default().to_owned();
        match head.method.as_str() {
            "GET" if is_upload => {
                let offset = lock(&self.uploads).get(&name).copied().unwrap_or(0);
                send(connection, &upload(204, &head.path, offset))
            }
            "GET" if head.path.contains("/blobs/") => self.send_blob(connection, head),
            "POST" => {
                let mut uploads = lock(&self.uploads);
                let path = format!("{}upload-{}", head.path, uploads.len());
                uploads.insert(path.rsplit('/').next().unwrap_or_default().to_owned(), 0);
                drop(uploads);
                send(connection, &upload(202, &path, 0))
            }
            "PATCH" | "PUT" if is_upload => {
                let before = lock(&self.uploads).get(&name).copied().unwrap_or(0);
                let Some(length) = self.receive(&mut connection, head, before) else {
                    connection.reset();
                    return None;
                };
                let offset = before + length;
                lock(&self.uploads).insert(name, offset);
                match head.method.as_str() {
                    "PATCH" => send(connection, &upload(202, &head.path, offset)),
                    _ if offset == self.size => {
                        self.finished.store(true, Ordering::SeqCst);
                        send(connection, &Answer::new(201))
                    }
                    _ => send(connection, &Answer::error(400, "SIZE_INVALID")),
                }
            }
            "HEAD" => {
                let status = if self.finished.load(Ordering::SeqCst) { 200 } else { 404 };
                connection.send_head(&Answer::new(status), Some(self.size)).ok()?;
                Some(connection)
            }
            _ => send(connection, &Answer::new(200)),
        }
    }

    /// Reads a body and drops it; `None` where the connection is to be reset.
    fn receive(&self, connection: &mut Connection, head: &Head, before: u64) -> Option<u64> {
        let length: u64 = head.header("content-length")?.parse().ok()?;
        let mut piece = vec![0; PIECE];
        let mut done = 0;
        while done < length {
            // Fits: it is at most the length of the piece.
            let wanted = (length - done).min(PIECE as u64) as usize;
            let read =
                connection.reader.read(&mut piece[..wanted]).ok().filter(|read| *read > 0)?;
            done += read as u64;
            self.received.fetch_add(read as u64, Ordering::SeqCst);
            if self.is_cut(before + done) {
                return None;
            }
        }
        Some(length)
    }

    fn send_blob(&self, mut connection: Connection, head: &Head) -> Option<Connection> {
        let start = head
            .header("range")
            .and_then(|text| text.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<u64>().ok())
            .unwrap_or(0)
            .min(self.size);
        let status = if start > 0 { 206 } else { 200 };
        let end = self.size.saturating_sub(1);
        let answer = Answer::new(status)
            .header("Content-Range", format!("bytes {start}-{end}/{}", self.size));
        connection.send_head(&answer, Some(self.size - start)).ok()?;
        let piece = vec![0; PIECE];
        let mut at = start;
        while at < self.size {
            let wanted = (self.size - at).min(PIECE as u64) as usize;
            connection.send(&piece[..wanted]).ok()?;
            at += wanted as u64;
            self.sent.fetch_add(wanted as u64, Ordering::SeqCst);
            if self.is_cut(at) {
                connection.reset();
                return None;
            }
        }
        Some(connection)
    }

    /// Whether a connection that got so far is to be reset; each cut happens once.
    fn is_cut(&self, position: u64) -> bool {
        let mut cuts = lock(&self.cuts);
        let due = cuts.iter().position(|cut| position >= *cut);
        due.map(|index| cuts.swap_remove(index)).is_some()
    }
}

fn upload(status: u16, path: &str, offset: u64) -> Answer {
    Answer::new(status)
        .header("Location", path)
        .header("Range", format!("0-{}", offset.saturating_sub(1)))
}

fn send(mut connection: Connection, answer: &Answer) -> Option<Connection> {
    let length = (answer.status != 204).then_some(answer.body.len() as u64);
    connection.send_head(answer, length).ok()?;
    connection.send(&answer.body).ok()?;
    Some(connection)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
