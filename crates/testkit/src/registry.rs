//! A real registry on a free loopback port: Debian's docker-registry, open to all or with a password.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

/// The authority that signed the certificate of [`Registry::start_tls`], PEM.
pub const AUTHORITY: &[u8] = include_bytes!("../certificates/ca.pem");
/// That certificate and its key, PEM.
const SERVER: &[u8] = include_bytes!("../certificates/server.pem");
const SERVER_KEY: &[u8] = include_bytes!("../certificates/server.key");
/// What signs the certificates of clients that [`Registry::start_mutual_tls`] lets in, PEM.
const CLIENT_AUTHORITY: &[u8] = include_bytes!("../certificates/client-ca.pem");
/// Such a certificate, PEM.
pub const CLIENT: &[u8] = include_bytes!("../certificates/client.pem");
/// Its key, PEM.
pub const CLIENT_KEY: &[u8] = include_bytes!("../certificates/client.key");

/// The user of [`Registry::start_with_password`], and its password.
pub const USER: (&str, &str) = ("kim", "pass:word$");
/// The two as htpasswd has them (bcrypt).
const HTPASSWD: &str = "kim:$2y$05$abcdefghijklmnopqrstuuHFuYDBQvPLy8st2LYEy0D88ADHRmvh.\n";
/// The users of clouds, `google-token` and `ecr-password`.
const CLOUD_HTPASSWD: &str = "\
    oauth2accesstoken:$2b$05$8LtNHi.YhkK78l3ECNUnbuePBU/gRzwxvcOSe9U4slyqphu783e46\n\
    AWS:$2b$05$oomcFSwfKtPy9e1bqq1rgOO0DFAhUQJRI1IQPoqSxsoO6eePe6o6S\n";

/// A running registry; it and its storage are gone when this is dropped.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    address: SocketAddr,
    directory: PathBuf,
    requests: Arc<Mutex<Vec<String>>>,
    protocols: Arc<Mutex<BTreeSet<String>>>,
}

impl Registry {
    /// Starts a registry that keeps its storage in a temporary directory.
    ///
    /// # Errors
    /// Where the program cannot be started or does not answer, with what it wrote.
    pub fn start() -> Result<Self, String> {
        Self::start_in(&fresh_directory())
    }

    /// The same over TLS, with a certificate that [`AUTHORITY`] signed.
    ///
    /// # Errors
    /// As [`Registry::start`].
    pub fn start_tls() -> Result<Self, String> {
        Self::start_over_tls(false)
    }

    /// The same, and only clients that show [`CLIENT`] are let in.
    ///
    /// # Errors
    /// As [`Registry::start`].
    pub fn start_mutual_tls() -> Result<Self, String> {
        Self::start_over_tls(true)
    }

    fn start_over_tls(mutual: bool) -> Result<Self, String> {
        let directory = fresh_directory();
        make_directory(&directory)?;
        let write = |name: &str, text: &[u8]| {
            let path = directory.join(name);
            std::fs::write(&path, text).map_err(|error| error.to_string())?;
            Ok::<_, String>(path.display().to_string())
        };
        let certificate = write("server.pem", SERVER)?;
        let key = write("server.key", SERVER_KEY)?;
        let clients = match mutual {
            true => format!(", clientcas: [ {} ]", write("client-ca.pem", CLIENT_AUTHORITY)?),
            false => String::new(),
        };
        let tls = format!(", tls: {{ certificate: {certificate}, key: {key}{clients} }}");
        Self::start_with(&directory, &tls, "")
    }

    /// One that lets nobody in but [`USER`], by Basic authentication.
    ///
    /// # Errors
    /// As [`Registry::start`].
    pub fn start_with_password() -> Result<Self, String> {
        let directory = fresh_directory();
        make_directory(&directory)?;
        let file = directory.join("htpasswd");
        std::fs::write(&file, HTPASSWD).map_err(|error| error.to_string())?;
        let auth = format!("auth: {{ htpasswd: {{ realm: test, path: {} }} }}\n", file.display());
        Self::start_with(&directory, "", &auth)
    }

    /// One that a cloud might have: over TLS, with the certificate of [`crate::internet`], and open to
    /// who shows what [`crate::cloud`] lends for Google's and Amazon's registries.
    ///
    /// # Errors
    /// As [`Registry::start`].
    pub fn start_in_a_cloud() -> Result<Self, String> {
        use crate::internet::{CERTIFICATE, KEY};
        let directory = fresh_directory();
        make_directory(&directory)?;
        let write = |name: &str, bytes: &[u8]| -> Result<String, String> {
            let path = directory.join(name);
            std::fs::write(&path, bytes).map_err(|error| error.to_string())?;
            Ok(path.display().to_string())
        };
        let (certificate, key) = (write("server.pem", CERTIFICATE)?, write("server.key", KEY)?);
        let passwords = write("htpasswd", CLOUD_HTPASSWD.as_bytes())?;
        let tls = format!(", tls: {{ certificate: {certificate}, key: {key} }}");
        let auth = format!("auth: {{ htpasswd: {{ realm: test, path: {passwords} }} }}\n");
        Self::start_with(&directory, &tls, &auth)
    }

    /// Starts a registry with its storage in `directory`, which is made and removed.
    ///
    /// # Errors
    /// Where the program cannot be started or does not answer, with what it wrote.
    pub fn start_in(directory: &Path) -> Result<Self, String> {
        Self::start_with(directory, "", "")
    }

    /// With more settings of its http part, and more parts.
    fn start_with(directory: &Path, http: &str, more: &str) -> Result<Self, String> {
        make_directory(directory)?;
        Self::try_start(directory, &configuration(directory, http, more)).inspect_err(|_| {
            let _ = std::fs::remove_dir_all(directory);
        })
    }

    fn try_start(directory: &Path, configuration: &str) -> Result<Self, String> {
        let file = directory.join("config.yml");
        std::fs::write(&file, configuration).map_err(|e| e.to_string())?;
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .env_clear()
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start docker-registry: {error}"))?;
        let requests = Arc::new(Mutex::new(Vec::new()));
        let protocols = Arc::default();
        collect_requests(&mut child, &requests, &protocols);
        let (log, ready) = watch_log(&mut child);
        // The kernel chooses the port, so no other program can take it in between; the log says
        // which one, and that it listens.
        match ready.recv_timeout(Duration::from_secs(30)) {
            Ok(address) => {
                Ok(Self { child, address, directory: directory.to_owned(), requests, protocols })
            }
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                let text = log.lock().unwrap_or_else(PoisonError::into_inner).join("\n");
                Err(format!("docker-registry does not listen: {text}"))
            }
        }
    }

    /// Where the blobs lie.
    #[must_use]
    pub fn storage(&self) -> PathBuf {
        self.directory.join("storage")
    }

    /// The requests so far as `METHOD /path status`, in the order of their ends.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The versions of HTTP that it was spoken to in, such as `2.0`.
    #[must_use]
    pub fn protocols(&self) -> Vec<String> {
        let seen = self.protocols.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().cloned().collect()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `127.0.0.1:PORT`, as it stands before a repository in a reference.
    #[must_use]
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The answer of `GET path`: status and body.
    ///
    /// # Errors
    /// Where the registry does not answer.
    pub fn get(&self, path: &str) -> Result<(u16, String), String> {
        get(self.address, path).map_err(|error| error.to_string())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A directory's name that no other registry of this program has.
fn fresh_directory() -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("kaniko-registry-{}-{number}", std::process::id()))
}

fn make_directory(directory: &Path) -> Result<(), String> {
    std::fs::create_dir_all(directory).map_err(|error| error.to_string())
}

/// The access log (Apache's combined format) comes on stdout.
fn collect_requests(
    child: &mut Child,
    requests: &Arc<Mutex<Vec<String>>>,
    protocols: &Arc<Mutex<BTreeSet<String>>>,
) {
    let protocols = Arc::clone(protocols);
    let stdout = child.stdout.take().expect("because stdout is piped");
    let requests = Arc::clone(requests);
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let mut parts = line.split('"');
            let request = parts.nth(1).and_then(|request| request.rsplit_once(" HTTP/"));
            let status = parts.next().and_then(|rest| rest.split_whitespace().next());
            if let (Some((request, protocol)), Some(status)) = (request, status) {
                let mut seen = protocols.lock().unwrap_or_else(PoisonError::into_inner);
                seen.insert(protocol.to_owned());
                drop(seen);
                let entry = format!("{request} {status}");
                requests.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
            }
        }
    });
}

/// Reads the log to its end, keeps its first lines, and reports the address once.
fn watch_log(child: &mut Child) -> (Arc<Mutex<Vec<String>>>, mpsc::Receiver<SocketAddr>) {
    let stderr = child.stderr.take().expect("because stderr is piped");
    let (sender, ready) = mpsc::channel();
    let kept = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&kept);
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let address = line.split_once("listening on ").map(|(_, rest)| {
                rest.split(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | ':')).next()
            });
            if let Some(Ok(address)) = address.flatten().map(str::parse) {
                let _ = sender.send(address);
            }
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            if log.len() < 100 {
                log.push(line);
            }
        }
    });
    (kept, ready)
}

fn configuration(directory: &Path, http: &str, more: &str) -> String {
    format!(
        "version: 0.1\nlog: {{ level: info }}\nstorage:\n  filesystem: {{ rootdirectory: {} }}\n  \
         delete: {{ enabled: true }}\n  maintenance: {{ uploadpurging: {{ enabled: false }} }}\n\
         http: {{ addr: \"127.0.0.1:0\", secret: test{http} }}\n{more}",
        directory.join("storage").display()
    )
}

fn get(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\nAccept: */*\r\n\r\n")?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let mut body = String::new();
    reader.read_to_string(&mut body)?;
    Ok((status, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_answers_and_leaves_nothing_behind() {
        let registry = Registry::start().expect("because docker-registry is installed");
        let (status, body) = registry.get("/v2/_catalog").expect("because it answers");
        assert_eq!((status, body.trim()), (200, r#"{"repositories":[]}"#));
        let directory = registry.directory.clone();
        drop(registry);
        assert!(!directory.exists());
    }
}
