//! `RUN --mount=type=ssh`: a socket for the step, behind which the operator's agent answers.
//!
//! A step may ask which keys there are and have data signed, nothing else: it cannot add, remove or
//! lock keys (draft-miller-ssh-agent, section 3). Keys never come near the step.

use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener as Listener;
use std::path::{Path, PathBuf};

use rootfs::{RootDir, RootPath};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use crate::error::StepError;

/// SSH_AGENTC_REQUEST_IDENTITIES and SSH_AGENTC_SIGN_REQUEST.
const ALLOWED: [u8; 2] = [11, 13];

/// SSH_AGENT_FAILURE, as a whole message.
const REFUSED: [u8; 5] = [0, 0, 0, 1, 5];

/// Longer messages are none (OpenSSH's own limit).
const LONGEST: u32 = 256 * 1024;

/// An offered socket; it is gone when this is dropped.
pub(crate) struct Agent {
    serving: JoinHandle<()>,
    path: PathBuf,
}

impl Agent {
    /// Makes a socket at `path` with this mode and owner, and answers there.
    pub(crate) fn offer(
        runtime: &tokio::runtime::Handle,
        agent: &Path,
        path: &Path,
        (mode, uid, gid): (u32, u32, u32),
    ) -> Result<Agent, StepError> {
        let failed = |source| StepError::Agent { path: agent.to_owned(), source };
        let is_socket = std::fs::metadata(agent).map_err(failed)?.file_type().is_socket();
        if !is_socket {
            return Err(failed(std::io::Error::other("it is not the socket of an agent")));
        }
        let (room, name) = (path.parent().unwrap_or(Path::new("/")), path.file_name());
        let name = RootPath::new(name.unwrap_or_default().as_encoded_bytes())?;
        let room = RootDir::open(room)?;
        if room.exists(&name)? {
            room.remove(&name)?;
        }
        let listener = listen(&room, &name).map_err(failed)?;
        let path = path.to_owned();
        room.set_owner(&name, uid, gid)?;
        room.set_mode(&name, mode)?;
        let entered = runtime.enter();
        let listener = UnixListener::from_std(listener).map_err(failed)?;
        drop(entered);
        let agent = agent.to_owned();
        let serving = runtime.spawn(async move {
            while let Ok((step, _)) = listener.accept().await {
                let agent = agent.clone();
                tokio::spawn(async move {
                    // Whoever is gone has nothing to be told.
                    let _ = answer(step, &agent).await;
                });
            }
        });
        Ok(Agent { serving, path })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.serving.abort();
        // What is left goes with the stage.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Listens below a directory by way of its descriptor: a socket's path may have 107 bytes only.
fn listen(room: &RootDir, name: &RootPath) -> std::io::Result<Listener> {
    use std::os::fd::{AsFd, AsRawFd};
    use std::os::unix::ffi::OsStrExt;
    let name = std::ffi::OsStr::from_bytes(name.relative());
    let path = PathBuf::from(format!("/proc/self/fd/{}", room.as_fd().as_raw_fd())).join(name);
    let listener = Listener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn answer(mut step: UnixStream, agent: &Path) -> std::io::Result<()> {
    let mut agent = UnixStream::connect(agent).await?;
    while let Some(request) = message(&mut step).await? {
        let kind = request.get(4).copied();
        if kind.is_some_and(|kind| ALLOWED.contains(&kind)) {
            agent.write_all(&request).await?;
            let Some(reply) = message(&mut agent).await? else { break };
            step.write_all(&reply).await?;
        } else {
            step.write_all(&REFUSED).await?;
        }
    }
    Ok(())
}

/// One message with its length in front; `None` at the end.
async fn message(from: &mut UnixStream) -> std::io::Result<Option<Vec<u8>>> {
    let length = match from.read_u32().await {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        length => length?,
    };
    if length == 0 || length > LONGEST {
        return Err(std::io::Error::other("a message of this length is none"));
    }
    let mut bytes = length.to_be_bytes().to_vec();
    let whole = usize::try_from(length).unwrap_or(0);
    bytes.resize(4 + whole, 0);
    from.read_exact(&mut bytes[4..]).await?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream as Stream;

    use testkit::ScratchRoot;

    use super::*;

    /// Asks through an offered socket before an agent that repeats what it is asked.
    fn check(request: &[u8], expected: &[u8]) {
        let scratch = ScratchRoot::new();
        let (agent, offered) = (scratch.path().join("agent"), scratch.path().join("offered"));
        let real = Listener::bind(&agent).expect("because the path is short");
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.expect("because threads can be had");
        let own = (rustix_uid(&scratch), rustix_gid(&scratch));
        let rights = (0o640, own.0, own.1);
        let offer = Agent::offer(runtime.handle(), &agent, &offered, rights);
        let offer = offer.unwrap_or_else(|error| panic!("{error}"));
        let mode = std::fs::metadata(&offered).expect("it was made").permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        let answering = std::thread::spawn(move || {
            let (mut from, _) = real.accept().expect("because somebody connects");
            let mut bytes = vec![0; 5];
            while from.read_exact(&mut bytes).is_ok() {
                from.write_all(&bytes).expect("because it is read");
            }
        });
        let mut step = Stream::connect(&offered).expect("because it is offered");
        step.write_all(request).expect("because it is read");
        let mut reply = vec![0; expected.len()];
        step.read_exact(&mut reply).expect("because there is an answer");
        assert_eq!(reply, expected);
        drop((step, offer));
        assert!(!offered.exists());
        runtime.shutdown_timeout(std::time::Duration::from_secs(5));
        answering.join().expect("because it ends with the connection");
    }

    fn rustix_uid(scratch: &ScratchRoot) -> u32 {
        std::os::unix::fs::MetadataExt::uid(&scratch.path().metadata().expect("it is there"))
    }

    fn rustix_gid(scratch: &ScratchRoot) -> u32 {
        std::os::unix::fs::MetadataExt::gid(&scratch.path().metadata().expect("it is there"))
    }

    #[test]
    fn a_step_may_ask_and_sign_and_nothing_else() {
        for allowed in [11, 13] {
            check(&[0, 0, 0, 1, allowed], &[0, 0, 0, 1, allowed]);
        }
        // Add, remove, remove all, lock, unlock, extension.
        for refused in [17, 18, 19, 22, 23, 25, 27] {
            check(&[0, 0, 0, 1, refused], &REFUSED);
        }
    }

    #[test]
    fn what_is_no_socket_is_an_error() {
        let scratch = ScratchRoot::with("f 0600 /key \"k\"");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("because it needs nothing");
        let path = scratch.path().join("key");
        let offered = scratch.path().join("offered");
        let error = Agent::offer(runtime.handle(), &path, &offered, (0o600, 0, 0));
        let error = error.err().expect("because it is a file");
        assert!(error.to_string().contains("key"), "{error}");
    }
}
