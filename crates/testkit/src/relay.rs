//! Connections that are passed on to one server: from another address, or as an HTTP proxy does it.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Passes every connection on to one server.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
    heads: Arc<Mutex<Vec<String>>>,
}

/// What a relay does before it passes bytes on.
#[derive(Clone, Copy)]
enum Kind {
    Plain,
    Proxy,
}

impl Relay {
    /// An HTTP proxy on `127.0.0.1`. Whatever host is asked for, this server is what answers.
    #[must_use]
    pub fn proxy(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("because loopback has a free port");
        Self::start(listener, to, Kind::Proxy)
    }

    /// The server at `[::1]`; `None` where the machine has no such address.
    #[must_use]
    pub fn ipv6(to: SocketAddr) -> Option<Self> {
        let listener = TcpListener::bind("[::1]:0").ok()?;
        Some(Self::start(listener, to, Kind::Plain))
    }

    fn start(listener: TcpListener, to: SocketAddr, kind: Kind) -> Self {
        let address = listener.local_addr().expect("because it is bound");
        let stopped = Arc::new(AtomicBool::new(false));
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let (stop, seen) = (Arc::clone(&stopped), Arc::clone(&heads));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let seen = Arc::clone(&seen);
                std::thread::spawn(move || pass(&client, to, kind, &seen));
            }
        });
        Self { address, stopped, heads }
    }

    /// `ADDRESS:PORT`.
    #[must_use]
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The first request of each connection to a proxy, with its headers.
    #[must_use]
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// One connection. A client or server that goes away ends it, which is nobody's fault.
fn pass(client: &TcpStream, to: SocketAddr, kind: Kind, seen: &Mutex<Vec<String>>) {
    let passing = || -> std::io::Result<()> {
        let mut server = TcpStream::connect(to)?;
        let mut from_client = BufReader::new(client.try_clone()?);
        if matches!(kind, Kind::Proxy) {
            let mut head = String::new();
            while from_client.read_line(&mut head)? > 2 {}
            if head.starts_with("CONNECT ") {
                let mut answer = client;
                answer.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            } else {
                // Servers take the absolute form that a proxy is sent.
                server.write_all(head.as_bytes())?;
            }
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(head);
        }
        let (from_server, to_client) = (server.try_clone()?, client.try_clone()?);
        std::thread::spawn(move || copy(from_server, &to_client));
        copy(from_client, &server);
        Ok(())
    };
    let _ = passing();
}

fn copy(mut from: impl Read, mut to: &TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}
