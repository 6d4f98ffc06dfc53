//! The protocol, and how faults bend its answers.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use super::state::{Action, Logged, Shared, State, Subject, digest_of};
use super::wire::{Answer, Connection, Head};

/// Which of the two listeners.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Registry,
    OtherHost,
}

pub(super) fn listen(listener: TcpListener, shared: &Arc<Shared>, role: Role) {
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            if shared.is_stopped() {
                return;
            }
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                let mut connection = Connection::new(stream);
                while let Some(head) = connection.head() {
                    match answer(&shared, connection, &head, role) {
                        Some(open) => connection = open,
                        None => return,
                    }
                }
            });
        }
    });
}

/// Answers one request; `None` when the connection is over.
fn answer(
    shared: &Shared,
    mut connection: Connection,
    head: &Head,
    role: Role,
) -> Option<Connection> {
    let subject = classify(head);
    let mut entry = Logged {
        subject,
        request: head.shown(),
        status: 0,
        range: head.header("range").or(head.header("content-range")).map(str::to_owned),
        received: 0,
        authorized: head.header("authorization").is_some(),
        other_host: role == Role::OtherHost,
        user_agent: head.header("user-agent").unwrap_or_default().to_owned(),
    };
    let unauthorized = role == Role::Registry && !authorize(shared, head, subject);
    let action = if role == Role::Registry && !unauthorized {
        shared.lock().action(subject, &fault_key(head, subject))
    } else {
        None
    };
    if let Some(Action::Reset | Action::ResetMidway) = action {
        if matches!(action, Some(Action::ResetMidway)) {
            entry.received = connection.body(head, 2).map_or(0, |body| body.len() as u64);
        }
        shared.lock().log.push(entry);
        connection.reset();
        return None;
    }
    let body = connection.body(head, 1)?;
    entry.received = body.len() as u64;
    let mut reply = match &action {
        _ if unauthorized => challenge(shared),
        Some(Action::Status(status, headers, text)) => {
            let mut answer = Answer::new(*status).body(text.as_str());
            headers.iter().for_each(|(name, value)| answer.set(name, value.clone()));
            answer
        }
        Some(Action::RedirectOther(hops)) => {
            redirect(format!("http://{}{}?hops={hops}", shared.other, head.path))
        }
        Some(Action::RedirectTo(url)) => redirect(url.clone()),
        Some(Action::IgnoreRange) => carry_out(shared, head, subject, body, None),
        Some(Action::WrongRange) => carry_out(shared, head, subject, body, Some(1)),
        _ if role == Role::OtherHost && head.query("hops").is_some_and(|hops| hops != "1") => {
            let left = head.query("hops").and_then(|hops| hops.parse::<u32>().ok()).unwrap_or(1);
            redirect(format!("http://{}{}?hops={}", shared.other, head.path, left - 1))
        }
        _ => carry_out(shared, head, subject, body, Some(0)),
    };
    match &action {
        Some(Action::StatusDone(status)) => reply = Answer::error(*status, "UNKNOWN"),
        Some(Action::Header(name, value)) => reply.set(name, value.clone()),
        Some(Action::Flip) => {
            if let Some(byte) = reply.body.last_mut() {
                *byte ^= 1;
            }
        }
        Some(Action::LongBody) => reply.body.extend_from_slice(&[0; 1000]),
        _ => {}
    }
    if matches!(action, Some(Action::ResetDone)) {
        shared.lock().log.push(entry);
        connection.reset();
        return None;
    }
    if let Some(Action::Silence(most)) = action
        && entry.received.max(reply.body.len() as u64) > most as u64
    {
        shared.lock().log.push(entry);
        shared.wait(Duration::from_secs(600));
        return None;
    }
    entry.status = reply.status;
    shared.lock().log.push(entry);
    deliver(shared, connection, head, &reply, action.as_ref())
}

fn deliver(
    shared: &Shared,
    mut connection: Connection,
    head: &Head,
    reply: &Answer,
    action: Option<&Action>,
) -> Option<Connection> {
    let full = reply.body.len();
    let half = full / 2;
    let sent_length = match action {
        Some(Action::ShortBody) => half,
        _ => full,
    };
    if head.method == "HEAD" {
        connection.send_head(reply, Some(full as u64)).ok()?;
        return Some(connection);
    }
    let has_length = reply.status != 204;
    connection.send_head(reply, has_length.then_some(sent_length as u64)).ok()?;
    match action {
        Some(Action::CutBody) => {
            connection.send(&reply.body[..half]).ok()?;
            // Let the half arrive: a reset discards what the peer has not read yet.
            shared.wait(Duration::from_millis(50));
            connection.reset();
            None
        }
        Some(Action::Stall) => {
            connection.send(&reply.body[..half]).ok()?;
            shared.wait(Duration::from_secs(600));
            None
        }
        Some(Action::Drip(pause)) => {
            for byte in &reply.body {
                connection.send(&[*byte]).ok()?;
                if shared.wait(*pause) {
                    return None;
                }
            }
            Some(connection)
        }
        _ => {
            connection.send(&reply.body[..sent_length]).ok()?;
            Some(connection)
        }
    }
}

fn redirect(location: String) -> Answer {
    Answer::new(307).header("Location", location)
}

/// Uploads have names of their own; faults count them per repository.
fn fault_key(head: &Head, subject: Subject) -> String {
    match subject {
        Subject::UploadPatch | Subject::UploadPut | Subject::UploadStatus => head
            .path
            .rsplit_once('/')
            .map_or_else(|| head.path.clone(), |(path, _)| path.to_owned()),
        _ => head.path.clone(),
    }
}

fn classify(head: &Head) -> Subject {
    let path = head.path.as_str();
    let upload = path.contains("/blobs/uploads/");
    match head.method.as_str() {
        _ if path == "/v2/" || path == "/v2" => Subject::Ping,
        _ if path == "/token" => Subject::Token,
        "GET" if upload => Subject::UploadStatus,
        "PATCH" if upload => Subject::UploadPatch,
        "POST" if upload => Subject::UploadPost,
        "PUT" if upload => Subject::UploadPut,
        "DELETE" if upload => Subject::UploadDelete,
        "GET" if path.contains("/blobs/") => Subject::BlobGet,
        "HEAD" if path.contains("/blobs/") => Subject::BlobHead,
        "GET" if path.contains("/manifests/") => Subject::ManifestGet,
        "HEAD" if path.contains("/manifests/") => Subject::ManifestHead,
        "PUT" if path.contains("/manifests/") => Subject::ManifestPut,
        _ => Subject::Other,
    }
}

fn authorize(shared: &Shared, head: &Head, subject: Subject) -> bool {
    let mut state = shared.lock();
    if state.token_uses.is_none() || subject == Subject::Token {
        return true;
    }
    let token = head.header("authorization").and_then(|text| text.strip_prefix("Bearer "));
    match token.and_then(|token| state.tokens.get_mut(token)) {
        Some(left) if *left > 0 => {
            *left -= 1;
            true
        }
        _ => false,
    }
}

/// Whether the right secret came along, where one is wanted.
fn may_have_token(state: &State, head: &Head, body: &[u8]) -> bool {
    let Some(secret) = &state.token_secret else { return true };
    let form = String::from_utf8_lossy(body);
    let is_refresh = form.split('&').any(|field| field == "grant_type=refresh_token");
    match head.method.as_str() {
        "POST" => {
            is_refresh && form.split('&').any(|field| field == format!("refresh_token={secret}"))
        }
        _ => head.header("authorization") == Some(secret),
    }
}

fn challenge(shared: &Shared) -> Answer {
    let realm = format!("Bearer realm=\"http://{}/token\",service=\"fault\"", shared.address);
    Answer::error(401, "UNAUTHORIZED").header("WWW-Authenticate", realm)
}

/// The request as a good registry answers it. `skew` spoils where a range begins; without it
/// ranges are ignored.
fn carry_out(
    shared: &Shared,
    head: &Head,
    subject: Subject,
    body: Vec<u8>,
    skew: Option<usize>,
) -> Answer {
    let mut state = shared.lock();
    let (repository, last) = split(&head.path);
    match subject {
        Subject::Ping => Answer::new(200).header("Content-Type", "application/json").body("{}"),
        Subject::Token if !may_have_token(&state, head, &body) => {
            Answer::error(401, "UNAUTHORIZED")
        }
        Subject::Token => {
            let name = format!("token-{}", state.tokens.len());
            let uses = state.token_uses.unwrap_or(u32::MAX);
            state.tokens.insert(name.clone(), uses);
            let scope = head.query("scope").unwrap_or_default();
            Answer::new(200).body(format!("{{\"token\":\"{name}\",\"scope\":\"{scope}\"}}"))
        }
        Subject::ManifestGet | Subject::ManifestHead => manifest(&state, &repository, &last),
        Subject::ManifestPut => put_manifest(&mut state, head, &repository, &last, body),
        Subject::BlobGet | Subject::BlobHead => {
            match state.blobs.get(&(repository, last.clone())) {
                Some(bytes) => blob(bytes, &last, head.header("range"), skew),
                None => Answer::error(404, "BLOB_UNKNOWN"),
            }
        }
        Subject::UploadPost => open_upload(&mut state, head, &repository, body),
        Subject::UploadPatch => append(&mut state, head, &last, &body),
        Subject::UploadStatus => match state.uploads.get(&last) {
            Some(bytes) => upload_state(204, &head.path, bytes.len()),
            None => Answer::error(404, "BLOB_UPLOAD_UNKNOWN"),
        },
        Subject::UploadPut => finish(&mut state, head, &repository, &last, &body),
        Subject::UploadDelete => {
            let known = state.uploads.remove(&last).is_some();
            Answer::new(if known { 204 } else { 404 })
        }
        Subject::Other => Answer::error(404, "NAME_UNKNOWN"),
    }
}

fn split(path: &str) -> (String, String) {
    let path = path.strip_prefix("/v2/").unwrap_or(path);
    let (rest, last) = path.rsplit_once('/').unwrap_or((path, ""));
    let repository = ["/blobs/uploads", "/blobs", "/manifests"]
        .iter()
        .find_map(|suffix| rest.strip_suffix(suffix))
        .unwrap_or(rest);
    (repository.to_owned(), last.to_owned())
}

fn manifest(state: &State, repository: &str, reference: &str) -> Answer {
    let digest = state.tags.get(&(repository.to_owned(), reference.to_owned()));
    let digest = digest.map_or(reference, String::as_str).to_owned();
    match state.manifests.get(&(repository.to_owned(), digest.clone())) {
        Some((media_type, bytes)) => Answer::new(200)
            .header("Content-Type", media_type.as_str())
            .header("Docker-Content-Digest", digest)
            .body(bytes.as_ref().clone()),
        None => Answer::error(404, "MANIFEST_UNKNOWN"),
    }
}

fn put_manifest(
    state: &mut State,
    head: &Head,
    repository: &str,
    reference: &str,
    body: Vec<u8>,
) -> Answer {
    let digest = digest_of(&body);
    if reference.starts_with("sha256:") && reference != digest {
        return Answer::error(400, "DIGEST_INVALID");
    }
    let (children, blobs) = State::named(&body);
    let key = |digest: &String| (repository.to_owned(), digest.clone());
    let complete = children.iter().all(|child| state.manifests.contains_key(&key(child)))
        && blobs.iter().all(|blob| state.blobs.contains_key(&key(blob)));
    if !complete {
        return Answer::error(404, "MANIFEST_BLOB_UNKNOWN");
    }
    let media_type = head.header("content-type").unwrap_or_default();
    state.put_manifest(repository, reference, media_type, body);
    Answer::new(201)
        .header("Location", format!("/v2/{repository}/manifests/{digest}"))
        .header("Docker-Content-Digest", digest)
}

fn blob(bytes: &[u8], digest: &str, range: Option<&str>, skew: Option<usize>) -> Answer {
    let start = range
        .and_then(|text| text.strip_prefix("bytes="))
        .and_then(|text| text.split('-').next())
        .and_then(|text| text.parse::<usize>().ok());
    let whole = Answer::new(200)
        .header("Content-Type", "application/octet-stream")
        .header("Docker-Content-Digest", digest);
    match (start, skew) {
        (Some(start), Some(skew)) if start < bytes.len() => {
            let start = start.saturating_sub(skew * 7);
            let end = bytes.len() - 1;
            let mut answer = whole.body(&bytes[start..]);
            answer.status = 206;
            answer.header("Content-Range", format!("bytes {start}-{end}/{}", bytes.len()))
        }
        (Some(_), Some(_)) => Answer::error(416, "RANGE_INVALID"),
        _ => whole.body(bytes),
    }
}

fn open_upload(state: &mut State, head: &Head, repository: &str, body: Vec<u8>) -> Answer {
    if let (Some(digest), Some(from)) = (head.query("mount"), head.query("from")) {
        let found = state.blobs.get(&(from.to_owned(), digest.to_owned())).cloned();
        if let Some(bytes) = found {
            state.blobs.insert((repository.to_owned(), digest.to_owned()), bytes);
            return Answer::new(201)
                .header("Location", format!("/v2/{repository}/blobs/{digest}"))
                .header("Docker-Content-Digest", digest);
        }
    }
    let name = format!("upload-{}", state.next_upload);
    state.next_upload += 1;
    state.uploads.insert(name.clone(), body);
    upload_state(202, &format!("/v2/{repository}/blobs/uploads/{name}"), 0)
}

fn upload_state(status: u16, path: &str, length: usize) -> Answer {
    let end = length.saturating_sub(1);
    Answer::new(status)
        .header("Location", path)
        .header("Range", format!("0-{end}"))
        .header("Docker-Upload-UUID", path.rsplit('/').next().unwrap_or_default())
}

fn append(state: &mut State, head: &Head, name: &str, body: &[u8]) -> Answer {
    let Some(bytes) = state.uploads.get_mut(name) else {
        return Answer::error(404, "BLOB_UPLOAD_UNKNOWN");
    };
    let start = head
        .header("content-range")
        .and_then(|text| text.split('-').next())
        .and_then(|text| text.parse::<usize>().ok());
    if start.is_some_and(|start| start != bytes.len()) {
        return upload_state(416, &head.path, bytes.len());
    }
    bytes.extend_from_slice(body);
    upload_state(202, &head.path, bytes.len())
}

fn finish(state: &mut State, head: &Head, repository: &str, name: &str, body: &[u8]) -> Answer {
    let Some(mut bytes) = state.uploads.remove(name) else {
        return Answer::error(404, "BLOB_UPLOAD_UNKNOWN");
    };
    bytes.extend_from_slice(body);
    let digest = head.query("digest").unwrap_or_default().to_owned();
    if digest_of(&bytes) != digest {
        return Answer::error(400, "DIGEST_INVALID");
    }
    state.put_blob(repository, bytes);
    Answer::new(201)
        .header("Location", format!("/v2/{repository}/blobs/{digest}"))
        .header("Docker-Content-Digest", digest)
}
