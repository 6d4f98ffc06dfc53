//! Requests and their answers, and how faults bend these.

use std::io::Read as _;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use super::protocol::carry_out;
use super::state::{Action, Logged, Shared, Subject, digest_of};
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
        object: fault_key(head, subject),
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
        shared.lock().action(subject, &entry.object)
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
    let body = match &action {
        Some(Action::SlowRead(most, pause)) => {
            slowly(shared, &mut connection, head, *most, *pause)?
        }
        _ => connection.body(head, 1)?,
    };
    entry.received = body.len() as u64;
    let mut reply = match &action {
        _ if unauthorized => challenge(shared),
        Some(action) => bent(shared, head, subject, body, action),
        None if role == Role::OtherHost => other_host(shared, head, subject, body),
        None => carry_out(shared, head, subject, body, Some(0)),
    };
    if let Some(action) = &action {
        spoil(shared, head, &mut reply, action);
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

/// The answer of a registry that does something else than it should.
fn bent(shared: &Shared, head: &Head, subject: Subject, body: Vec<u8>, action: &Action) -> Answer {
    match action {
        Action::Status(status, headers, text) => {
            let mut answer = Answer::new(*status).body(text.as_str());
            headers.iter().for_each(|(name, value)| answer.set(name, value.clone()));
            answer
        }
        Action::RedirectOther(hops) => {
            redirect(format!("http://{}{}?hops={hops}", shared.other, head.path))
        }
        Action::RedirectExpired => {
            redirect(format!("http://{}{}?hops=expired", shared.other, head.path))
        }
        Action::RedirectTo(url) => redirect(url.clone()),
        Action::Lie => {
            let digest = head.query("digest").map_or_else(|| digest_of(&body), str::to_owned);
            Answer::new(201).header("Docker-Content-Digest", digest)
        }
        Action::IgnoreRange => carry_out(shared, head, subject, body, None),
        Action::WrongRange => carry_out(shared, head, subject, body, Some(1)),
        Action::NoMount => carry_out(shared, &head.without_query(), subject, body, Some(0)),
        _ => carry_out(shared, head, subject, body, Some(0)),
    }
}

/// The host that redirects and uploads lead to.
fn other_host(shared: &Shared, head: &Head, subject: Subject, body: Vec<u8>) -> Answer {
    match head.query("hops").map(str::parse::<u32>) {
        Some(Ok(hops)) if hops > 1 => {
            redirect(format!("http://{}{}?hops={}", shared.other, head.path, hops - 1))
        }
        Some(Err(_)) if is_first(shared, head) => Answer::new(403),
        _ => carry_out(shared, head, subject, body, Some(0)),
    }
}

/// Whether this is the first question at an address of the other host.
fn is_first(shared: &Shared, head: &Head) -> bool {
    let asked = |entry: &Logged| entry.other_host && entry.request.contains(&head.path);
    !shared.lock().log.iter().any(asked)
}

/// Does to a good answer what the fault wants.
fn spoil(shared: &Shared, head: &Head, reply: &mut Answer, action: &Action) {
    match action {
        Action::StatusDone(status) => *reply = Answer::error(*status, "UNKNOWN"),
        Action::Header(name, value) => reply.set(name, value.clone()),
        Action::Flip => {
            if let Some(byte) = reply.body.last_mut() {
                *byte ^= 1;
            }
        }
        Action::LongBody => reply.body.extend_from_slice(&[0; 1000]),
        Action::Lines(name, count) => {
            let line = |number| ((*name).to_owned(), format!("line {number}"));
            reply.headers.extend((0..*count).map(line));
        }
        Action::LocationOther => {
            let path = reply.headers.iter().find(|(name, _)| name == "Location");
            let to = path.map(|(_, path)| format!("http://{}{path}", shared.other));
            to.into_iter().for_each(|to| reply.set("Location", to));
        }
        Action::Moves if !head.path.contains("sha256:") => {
            let spaces = shared.lock().log.len() + 1;
            reply.body.extend(std::iter::repeat_n(b' ', spaces));
            reply.set("Docker-Content-Digest", digest_of(&reply.body));
        }
        _ => {}
    }
}

fn deliver(
    shared: &Shared,
    mut connection: Connection,
    head: &Head,
    reply: &Answer,
    action: Option<&Action>,
) -> Option<Connection> {
    if let Some(Action::Interim(count)) = action {
        for _ in 0..*count {
            connection.send(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
        }
    }
    if let Some(Action::Endless(length)) = action {
        connection.send_head(reply, None).ok()?;
        for _ in 0..*length >> 16 {
            connection.send(&[b' '; 1 << 16]).ok()?;
        }
        return None;
    }
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
            (!matches!(action, Some(Action::CloseAfter))).then_some(connection)
        }
    }
}

/// Reads the body as a busy server does.
fn slowly(
    shared: &Shared,
    connection: &mut Connection,
    head: &Head,
    most: usize,
    pause: Duration,
) -> Option<Vec<u8>> {
    let length: usize = head.header("content-length").and_then(|text| text.parse().ok())?;
    let mut body = vec![0; length];
    for piece in body.chunks_mut(most) {
        connection.reader.read_exact(piece).ok()?;
        shared.wait(pause);
    }
    Some(body)
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

fn challenge(shared: &Shared) -> Answer {
    let realm = format!("http://{}/token", shared.address);
    let challenge = shared.lock().challenge.replace("{realm}", &realm);
    Answer::error(401, "UNAUTHORIZED").header("WWW-Authenticate", challenge)
}
