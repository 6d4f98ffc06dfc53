//! The distribution protocol as a good registry speaks it, faults aside.

use super::state::{Shared, State, Subject, digest_of};
use super::wire::{Answer, Head};

/// The request as a good registry answers it. `skew` spoils where a range begins; without it
/// ranges are ignored.
pub(super) fn carry_out(
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
        Subject::Other | Subject::Any => Answer::error(404, "NAME_UNKNOWN"),
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
    let complete = children.iter().all(|(child, _)| state.manifests.contains_key(&key(child)))
        && blobs.iter().all(|(blob, _)| state.blobs.contains_key(&key(blob)));
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
