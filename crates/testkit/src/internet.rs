//! An internet of a few names: a proxy on loopback that leads each to a server on loopback, with TLS
//! and a certificate for the name. What a program asks of real hosts can be tested so, as it is.
//!
//! A name is led either to a server that speaks TLS itself, or to one that does not; then TLS ends
//! here. Every other name is refused, and remembered.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, poll};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

use crate::fault::wire::{Answer, Connection};

/// The authority that signed the certificate of all names, PEM.
pub const AUTHORITY: &[u8] = include_bytes!("../certificates/internet-ca.pem");
/// The certificate and its key, PEM.
pub(crate) const CERTIFICATE: &[u8] = include_bytes!("../certificates/internet.pem");
pub(crate) const KEY: &[u8] = include_bytes!("../certificates/internet.key");

/// A server behind a name.
#[derive(Debug, Clone)]
pub enum Behind {
    /// It speaks TLS itself (or is meant not to be understood).
    Tls(SocketAddr),
    /// It speaks plain HTTP.
    Plain(SocketAddr),
}

/// The proxy.
#[derive(Debug)]
pub struct Internet {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    names: Vec<(String, Behind)>,
    asked: Mutex<Vec<String>>,
    stopped: AtomicBool,
    tls: Arc<ServerConfig>,
}

impl Internet {
    /// An internet of these names.
    #[must_use]
    pub fn start(names: &[(&str, Behind)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("because loopback has a free port");
        let address = listener.local_addr().expect("because it is bound");
        let names = names.iter().map(|(name, behind)| ((*name).to_owned(), behind.clone()));
        let shared = Arc::new(Shared {
            names: names.collect(),
            asked: Mutex::default(),
            stopped: AtomicBool::new(false),
            tls: Arc::new(tls()),
        });
        let theirs = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if theirs.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&theirs);
                std::thread::spawn(move || serve(&shared, stream));
            }
        });
        Self { address, shared }
    }

    /// What `HTTPS_PROXY` is set to.
    #[must_use]
    pub fn proxy(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The names that were asked for so far, each once, sorted; also those that are not there.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        let mut asked = self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
        asked.sort();
        asked.dedup();
        asked
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn tls() -> ServerConfig {
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(CERTIFICATE).filter_map(Result::ok).collect();
    let key = PrivateKeyDer::from_pem_slice(KEY).expect("because the file holds a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("because the provider has them")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("because the two belong together");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

/// Answers `CONNECT`, then passes bytes on.
fn serve(shared: &Shared, stream: TcpStream) {
    let mut connection = Connection::new(stream);
    let Some(head) = connection.head() else { return };
    let name = head.path.strip_suffix(":443").unwrap_or(&head.path).to_owned();
    shared.asked.lock().unwrap_or_else(PoisonError::into_inner).push(name.clone());
    let found = shared.names.iter().find(|(known, _)| *known == name);
    let Some((_, behind)) = found.filter(|_| head.method == "CONNECT") else {
        let _ = connection.send_head(&Answer::new(502), Some(0));
        return;
    };
    let (Behind::Tls(address) | Behind::Plain(address)) = behind;
    let Ok(server) = TcpStream::connect(address) else { return };
    if connection.send_head(&Answer::new(200), None).is_err() {
        return;
    }
    let client = connection.reader.into_inner();
    match behind {
        Behind::Tls(_) => pass(&client, &server),
        Behind::Plain(_) => {
            if let Ok(connection) = ServerConnection::new(Arc::clone(&shared.tls)) {
                let _ = unwrap_tls(client, server, connection);
            }
        }
    }
}

/// Passes bytes on in both directions until one side has ended.
fn pass(client: &TcpStream, server: &TcpStream) {
    let copy = |mut from: &TcpStream, mut to: &TcpStream| {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| copy(client, server));
        copy(server, client);
    });
}

/// The same for a server that does not speak TLS.
fn unwrap_tls(
    mut client: TcpStream,
    mut server: TcpStream,
    mut tls: ServerConnection,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        while tls.wants_write() {
            tls.write_tls(&mut client)?;
        }
        let (from_client, from_server) = {
            let wanted = PollFlags::IN;
            let mut ready = [PollFd::new(&client, wanted), PollFd::new(&server, wanted)];
            poll(&mut ready, None)?;
            (!ready[0].revents().is_empty(), !ready[1].revents().is_empty())
        };
        if from_client {
            if tls.read_tls(&mut client)? == 0 {
                return Ok(());
            }
            let state = tls.process_new_packets().map_err(std::io::Error::other)?;
            let mut left = state.plaintext_bytes_to_read();
            while left > 0 {
                let count = tls.reader().read(&mut buffer)?;
                server.write_all(&buffer[..count])?;
                left = left.saturating_sub(count);
            }
        }
        if from_server {
            let count = server.read(&mut buffer)?;
            if count == 0 {
                tls.send_close_notify();
                while tls.wants_write() {
                    tls.write_tls(&mut client)?;
                }
                return Ok(());
            }
            tls.writer().write_all(&buffer[..count])?;
        }
    }
}
