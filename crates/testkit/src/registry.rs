//! A real registry on a free loopback port: Debian's docker-registry, without authentication.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running registry; it and its storage are gone when this is dropped.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    address: SocketAddr,
    directory: PathBuf,
}

impl Registry {
    /// Starts a registry that keeps its storage in a temporary directory.
    ///
    /// # Errors
    /// Where the program cannot be started or does not answer, with what it wrote.
    pub fn start() -> Result<Self, String> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("kaniko-registry-{}-{number}", std::process::id());
        Self::start_in(&std::env::temp_dir().join(name))
    }

    /// Starts a registry with its storage in `directory`, which is made and removed.
    ///
    /// # Errors
    /// Where the program cannot be started or does not answer, with what it wrote.
    pub fn start_in(directory: &Path) -> Result<Self, String> {
        std::fs::create_dir_all(directory).map_err(|error| error.to_string())?;
        // Between finding a free port and using it another program may take it.
        let mut last = String::new();
        for _ in 0..5 {
            match Self::try_start(directory) {
                Ok(registry) => return Ok(registry),
                Err(error) => last = error,
            }
        }
        let _ = std::fs::remove_dir_all(directory);
        Err(last)
    }

    fn try_start(directory: &Path) -> Result<Self, String> {
        let address = free_port()?;
        let file = directory.join("config.yml");
        std::fs::write(&file, configuration(directory, address)).map_err(|e| e.to_string())?;
        let log = directory.join("log");
        let output = std::fs::File::create(&log).map_err(|error| error.to_string())?;
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .env_clear()
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .map_err(|error| format!("cannot start docker-registry: {error}"))?;
        let mut registry = Self { child, address, directory: directory.to_owned() };
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if answers(address) {
                return Ok(registry);
            }
            let ended = registry.child.try_wait().map_err(|error| error.to_string())?;
            if ended.is_some() || Instant::now() > deadline {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                let _ = registry.child.kill();
                let _ = registry.child.wait();
                return Err(format!("docker-registry does not answer: {text}"));
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
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

fn free_port() -> Result<SocketAddr, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    listener.local_addr().map_err(|error| error.to_string())
}

fn configuration(directory: &Path, address: SocketAddr) -> String {
    format!(
        "version: 0.1\nlog: {{ level: warn }}\nstorage:\n  filesystem: {{ rootdirectory: {} }}\n  \
         delete: {{ enabled: true }}\n  maintenance: {{ uploadpurging: {{ enabled: false }} }}\n\
         http: {{ addr: \"{address}\" }}\n",
        directory.join("storage").display()
    )
}

fn answers(address: SocketAddr) -> bool {
    get(address, "/v2/").is_ok_and(|(status, _)| status == 200)
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
