//! A git server over http on loopback, from `git upload-pack`, and repositories to serve.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::fault::wire::{Answer, Connection, Head};

/// Serves every repository below a directory.
#[derive(Debug)]
pub struct GitServer {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
}

impl GitServer {
    /// Serves `root` on a free port.
    #[must_use]
    pub fn start(root: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("because loopback has a free port");
        let address = listener.local_addr().expect("because it is bound");
        let stopped = Arc::new(AtomicBool::new(false));
        let (root, stop) = (root.to_owned(), Arc::clone(&stopped));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let root = root.clone();
                std::thread::spawn(move || {
                    let mut connection = Connection::new(stream);
                    while let Some(head) = connection.head() {
                        let Some(body) = connection.body(&head, 1) else { return };
                        let answer = answer(&root, &head, &body);
                        let length = Some(answer.body.len() as u64);
                        let sent = connection.send_head(&answer, length);
                        if sent.and_then(|()| connection.send(&answer.body)).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, stopped }
    }

    /// The address of a repository.
    #[must_use]
    pub fn url(&self, repository: &str) -> String {
        format!("http://{}/{repository}", self.address)
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        let _ = std::net::TcpStream::connect(self.address);
    }
}

/// The "smart" protocol of gitprotocol-http(5).
fn answer(root: &Path, head: &Head, body: &[u8]) -> Answer {
    let path = head.path.trim_start_matches('/');
    let (repository, advertise) = match (path.strip_suffix("/info/refs"), path) {
        (Some(repository), _) if head.query("service") == Some("git-upload-pack") => {
            (repository, true)
        }
        (None, path) => (path.strip_suffix("/git-upload-pack").unwrap_or("/none"), false),
        _ => ("/none", false),
    };
    let directory = root.join(repository);
    if repository.contains("..") || repository.starts_with('/') || !directory.is_dir() {
        return Answer::new(404);
    }
    let mut command = Command::new("git");
    command.args(["-c", "uploadpack.allowAnySHA1InWant=true"]);
    command.args(["-c", "safe.directory=*", "upload-pack", "--stateless-rpc"]);
    if advertise {
        command.arg("--advertise-refs");
    }
    if let Some(protocol) = head.header("git-protocol") {
        command.env("GIT_PROTOCOL", protocol);
    }
    let output = run(command.arg(&directory), body);
    let kind = if advertise { "advertisement" } else { "result" };
    let answer = Answer::new(200)
        .header("Content-Type", format!("application/x-git-upload-pack-{kind}"))
        .header("Cache-Control", "no-cache");
    let is_v2 = head.header("git-protocol").is_some_and(|text| text.contains("version=2"));
    if advertise && !is_v2 {
        let mut lead = b"001e# service=git-upload-pack\n0000".to_vec();
        lead.extend_from_slice(&output);
        return answer.body(lead);
    }
    answer.body(output)
}

fn run(command: &mut Command, input: &[u8]) -> Vec<u8> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("because git is installed");
    let mut stdin = child.stdin.take().expect("because stdin is piped");
    let input = input.to_vec();
    let feed = std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().expect("because git runs to its end");
    let _ = feed.join();
    output.stdout
}

/// A repository with a working tree, to make commits in. Served by its name with `.git` below.
#[derive(Debug)]
pub struct GitRepository {
    path: PathBuf,
}

impl GitRepository {
    /// An empty repository with the branch `main`.
    #[must_use]
    pub fn init(path: &Path) -> Self {
        std::fs::create_dir_all(path).expect("because the directory is ours");
        let repository = Self { path: path.to_owned() };
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository
    }

    /// Where its files are.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Commits everything and returns the commit.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Runs git in it, untouched by anybody's configuration, and returns what it prints.
    pub fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "protocol.file.allow=always", "-c", "safe.directory=*"])
            .args(arguments)
            .current_dir(&self.path)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_AUTHOR_NAME", "A")
            .env("GIT_AUTHOR_EMAIL", "a@example.org")
            .env("GIT_COMMITTER_NAME", "C")
            .env("GIT_COMMITTER_EMAIL", "c@example.org")
            .env("GIT_AUTHOR_DATE", "1700000000 +0000")
            .env("GIT_COMMITTER_DATE", "1700000000 +0000")
            .output()
            .expect("because git is installed");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {errors}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}
