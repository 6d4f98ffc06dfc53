//! The ways in which registries and networks go wrong, as data: what the registry does, and what a
//! good client makes of it. Walked by the tests of the client, and by those of the programs.

use std::time::Duration;

use super::FaultRegistry;
use super::state::Action::{self, *};
use super::state::Subject::{self, *};

/// What is done with the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// An image is pulled from it.
    Pull,
    /// An image is pushed to it.
    Push,
    /// One of the two, in two runs.
    Both,
}

/// What a good client makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It gets through.
    Good,
    /// It fails, and the error holds this text.
    Bad(&'static str),
    /// Either, within the same bounds.
    Either,
}

/// How long it takes with pauses made for networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// A few pauses at most.
    Quick,
    /// Every try, with all pauses.
    AllTries,
    /// Idle time-outs.
    Silent,
}

/// One way to go wrong.
#[derive(Clone, Debug)]
pub struct Mode {
    /// What tests call it.
    pub name: &'static str,
    /// Where it can be met.
    pub side: Side,
    /// What must come of it.
    pub outcome: Outcome,
    /// How long it takes.
    pub pace: Pace,
    /// How many requests a token serves.
    pub uses: u32,
    /// The challenge, where it is not the usual one.
    pub challenge: Option<&'static str>,
    /// The faults, the first that matches deciding.
    pub faults: Vec<(Subject, Option<u32>, Action)>,
}

impl Mode {
    /// Makes a registry go wrong in this way.
    pub fn apply(&self, registry: &FaultRegistry) {
        registry.require_token(self.uses);
        self.challenge.iter().for_each(|text| registry.challenge(text));
        for (subject, times, action) in &self.faults {
            registry.fault(*subject, *times, action.clone());
        }
    }

    fn also(mut self, subject: Subject, times: Option<u32>, action: Action) -> Mode {
        self.faults.push((subject, times, action));
        self
    }

    fn pace(mut self, pace: Pace) -> Mode {
        self.pace = pace;
        self
    }

    fn uses(mut self, uses: u32) -> Mode {
        self.uses = uses;
        self
    }
}

const LIES: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// All of them.
#[must_use]
pub fn modes() -> Vec<Mode> {
    [
        manifests(),
        blobs(),
        redirects(),
        tokens(),
        anything(),
        uploads(),
        lasting_uploads(),
        pushes(),
    ]
    .concat()
}

/// Passes after so many requests of each object, or for good where they are none.
fn mode(name: &'static str, side: Side, fault: (Subject, u32, Action), outcome: Outcome) -> Mode {
    let (subject, times, action) = fault;
    let times = (times > 0).then_some(times);
    let faults = vec![(subject, times, action)];
    Mode { name, side, outcome, pace: Pace::Quick, uses: u32::MAX, challenge: None, faults }
}

fn good(name: &'static str, side: Side, subject: Subject, times: u32, action: Action) -> Mode {
    mode(name, side, (subject, times, action), Outcome::Good)
}

/// For good, and refused at once.
fn bad(
    name: &'static str,
    side: Side,
    subject: Subject,
    action: Action,
    text: &'static str,
) -> Mode {
    mode(name, side, (subject, 0, action), Outcome::Bad(text))
}

/// For good, and only known after all tries.
fn stays(
    name: &'static str,
    side: Side,
    subject: Subject,
    action: Action,
    text: &'static str,
) -> Mode {
    bad(name, side, subject, action, text).pace(Pace::AllTries)
}

fn either(name: &'static str, side: Side, subject: Subject, times: u32, action: Action) -> Mode {
    mode(name, side, (subject, times, action), Outcome::Either)
}

fn asked(name: &'static str, challenge: &'static str, outcome: Outcome) -> Mode {
    let faults = Vec::new();
    let challenge = Some(challenge);
    Mode { name, side: Side::Both, outcome, pace: Pace::Quick, uses: u32::MAX, challenge, faults }
}

fn status(code: u16) -> Action {
    Status(code, vec![], String::new())
}

fn says(code: u16, name: &str, message: &str) -> Action {
    let text = format!("{{\"errors\":[{{\"code\":\"{name}\",\"message\":\"{message}\"}}]}}");
    Status(code, vec![], text)
}

fn later(seconds: &str) -> Action {
    Status(429, vec![("Retry-After", seconds.to_owned())], String::new())
}

fn header(name: &'static str, value: &str) -> Action {
    Header(name, value.to_owned())
}

fn manifests() -> Vec<Mode> {
    use Side::Pull;
    let index = "application/vnd.oci.image.index.v1+json";
    let old = "application/vnd.docker.distribution.manifest.v1+json";
    vec![
        good("manifest-500-twice", Pull, ManifestGet, 2, status(500)),
        good("manifest-502-twice", Pull, ManifestGet, 2, status(502)),
        good("manifest-503-once", Pull, ManifestGet, 1, status(503)),
        good("manifest-429-twice", Pull, ManifestGet, 2, status(429)),
        good("manifest-408-once", Pull, ManifestGet, 1, status(408)),
        good("manifest-reset-twice", Pull, ManifestGet, 2, Reset),
        good("manifest-cut-once", Pull, ManifestGet, 1, CutBody),
        good("manifest-short-once", Pull, ManifestGet, 1, ShortBody),
        good("manifest-later-once", Pull, ManifestGet, 1, later("1")),
        good("manifest-later-who-knows", Pull, ManifestGet, 1, later("soon")),
        good("manifest-later-overflow", Pull, ManifestGet, 1, later("99999999999999999999999")),
        good("manifest-silent-once", Pull, ManifestGet, 1, Stall).pace(Pace::Silent),
        good("manifest-elsewhere", Pull, ManifestGet, 0, RedirectOther(1)),
        good("manifest-flip-once", Pull, ManifestGet, 1, Flip),
        either("manifest-html-type", Pull, ManifestGet, 0, header("Content-Type", "text/html")),
        either("manifest-moves", Pull, ManifestGet, 0, Moves),
        bad("manifest-404", Pull, ManifestGet, status(404), "answered 404"),
        bad("manifest-403", Pull, ManifestGet, status(403), "answered 403"),
        bad("manifest-410", Pull, ManifestGet, status(410), "answered 410"),
        bad("manifest-later-an-hour", Pull, ManifestGet, later("3600"), "answered 429"),
        bad("manifest-as-index", Pull, ManifestGet, header("Content-Type", index), "is sent as"),
        bad("manifest-schema-1", Pull, ManifestGet, header("Content-Type", old), "calls itself"),
        bad("manifest-flip", Pull, ManifestGet, Flip, "digest"),
        bad(
            "manifest-digest-lies",
            Pull,
            ManifestGet,
            header("Docker-Content-Digest", LIES),
            "digest",
        ),
        bad("manifest-short", Pull, ManifestGet, ShortBody, "digest"),
        bad("manifest-empty", Pull, ManifestGet, status(200), "not JSON"),
        bad("manifest-no-content", Pull, ManifestGet, status(204), "not JSON"),
        bad(
            "manifest-large",
            Pull,
            ManifestGet,
            Status(200, vec![], "x".repeat(5 << 20)),
            "larger",
        ),
        bad("manifest-endless", Pull, ManifestGet, Endless(64 << 20), "larger than 4194304"),
        bad(
            "manifest-gzip",
            Pull,
            ManifestGet,
            header("Content-Encoding", "gzip"),
            "encoding `gzip`",
        ),
        bad("manifest-escapes", Pull, ManifestGet, says(400, "X", "\\u001b[2Jhi"), "\\u{1b}[2Jhi"),
        bad("manifest-newline", Pull, ManifestGet, says(400, "X", "a\\nERRO b"), "a\\nERRO b"),
        stays("manifest-500", Pull, ManifestGet, status(500), "answered 500"),
        stays("manifest-429", Pull, ManifestGet, status(429), "answered 429"),
        stays(
            "manifest-html",
            Pull,
            ManifestGet,
            Status(502, vec![], "<html>".into()),
            "answered 502",
        ),
        stays("manifest-reset", Pull, ManifestGet, Reset, "broke"),
        stays("manifest-cut", Pull, ManifestGet, CutBody, "broke"),
        bad("manifest-silent", Pull, ManifestGet, Stall, "went silent").pace(Pace::Silent),
    ]
}

fn blobs() -> Vec<Mode> {
    use Side::Pull;
    let cut = |name, action| good(name, Pull, BlobGet, 1, CutBody).also(BlobGet, Some(1), action);
    let drip = Drip(Duration::from_millis(100));
    vec![
        good("blob-reset-once", Pull, BlobGet, 1, Reset),
        good("blob-reset-thrice", Pull, BlobGet, 3, Reset),
        good("blob-cut-once", Pull, BlobGet, 1, CutBody),
        good("blob-cut-thrice", Pull, BlobGet, 3, CutBody),
        good("blob-short-once", Pull, BlobGet, 1, ShortBody),
        good("blob-500-twice", Pull, BlobGet, 2, status(500)),
        good("blob-502-twice", Pull, BlobGet, 2, status(502)),
        good("blob-503-twice", Pull, BlobGet, 2, status(503)),
        good("blob-504-once", Pull, BlobGet, 1, status(504)),
        good("blob-520-once", Pull, BlobGet, 1, status(520)),
        good("blob-429-twice", Pull, BlobGet, 2, status(429)),
        good("blob-silent-once", Pull, BlobGet, 1, Stall).pace(Pace::Silent),
        good("blob-closes-after", Pull, BlobGet, 0, CloseAfter),
        cut("blob-rest-is-all", IgnoreRange),
        cut("blob-rest-is-elsewhere", WrongRange),
        cut("blob-rest-is-416", status(416)),
        cut("blob-rest-is-500", status(500)),
        either("blob-flip-once", Pull, BlobGet, 1, Flip),
        either("blob-404-once", Pull, BlobGet, 1, status(404)),
        either("blob-long", Pull, BlobGet, 0, LongBody),
        bad("blob-404", Pull, BlobGet, status(404), "answered 404"),
        bad("blob-403", Pull, BlobGet, status(403), "answered 403"),
        bad("blob-flip", Pull, BlobGet, Flip, "has digest"),
        bad("blob-endless", Pull, BlobGet, Endless(8 << 20), "has digest"),
        bad("blob-gzip", Pull, BlobGet, header("Content-Encoding", "gzip"), "encoding `gzip`"),
        stays("blob-reset", Pull, BlobGet, Reset, "broke"),
        stays("blob-cut", Pull, BlobGet, CutBody, "broke"),
        stays("blob-short", Pull, BlobGet, ShortBody, "ended after"),
        stays("blob-500", Pull, BlobGet, status(500), "answered 500"),
        stays("blob-429", Pull, BlobGet, status(429), "answered 429"),
        bad("blob-silent", Pull, BlobGet, Stall, "went silent").pace(Pace::Silent),
        bad("blob-drips", Pull, BlobGet, drip, "went silent").pace(Pace::Silent),
    ]
}

fn redirects() -> Vec<Mode> {
    use Side::Pull;
    let to = |url: &str| RedirectTo(url.to_owned());
    let metadata = "http://169.254.169.254/latest/meta-data";
    vec![
        good("blob-elsewhere", Pull, BlobGet, 0, RedirectOther(1)),
        good("blob-far-elsewhere", Pull, BlobGet, 0, RedirectOther(9)),
        good("blob-address-expires", Pull, BlobGet, 0, RedirectExpired),
        bad("blob-round-and-round", Pull, BlobGet, RedirectOther(30), "more than 10 times"),
        bad("blob-at-metadata", Pull, BlobGet, to(metadata), "to the link-local address"),
        bad(
            "blob-at-mapped-metadata",
            Pull,
            BlobGet,
            to("http://[::ffff:169.254.169.254]/"),
            "link-local",
        ),
        bad("blob-in-a-file", Pull, BlobGet, to("file:///etc/passwd"), "to the scheme `file`"),
        bad("blob-in-no-address", Pull, BlobGet, to("http://[/"), "which is no address"),
        bad("blob-nowhere", Pull, BlobGet, status(307), "without saying where"),
        bad("manifest-in-a-file", Pull, ManifestGet, to("file:///etc/passwd"), "scheme `file`"),
        bad("upload-in-a-file", Side::Push, UploadPatch, to("file:///etc/passwd"), "scheme `file`"),
    ]
}

fn tokens() -> Vec<Mode> {
    use Outcome::{Bad, Good};
    use Side::Both;
    let answer = |text: &str| Status(200, vec![], text.to_owned());
    let header = "{\"token\":\"a\\r\\nX-Other: b\"}";
    let large = format!("{{\"token\":\"{}\"}}", "x".repeat(2 << 20));
    vec![
        good("token-500-twice", Both, Token, 2, status(500)),
        good("token-429-once", Both, Token, 1, status(429)),
        good("token-reset-twice", Both, Token, 2, Reset),
        good("token-cut-once", Both, Token, 1, CutBody),
        good("token-of-three-uses", Both, Ping, 1, Reset).uses(3),
        good("token-of-one-use", Both, Ping, 1, Reset).uses(1),
        bad("token-of-no-use", Both, Ping, CloseAfter, "answered 401").uses(0),
        bad("token-401", Both, Token, status(401), "answered 401"),
        bad("token-is-html", Both, Token, answer("<html>"), "is not JSON"),
        bad("token-is-not-there", Both, Token, answer("{}"), "holds no token"),
        bad("token-is-null", Both, Token, answer("{\"token\":null}"), "holds no token"),
        bad("token-with-a-header", Both, Token, answer(header), "no header text"),
        bad("token-too-large", Both, Token, answer(&large), "larger than 1048576"),
        bad("token-elsewhere", Both, Token, RedirectOther(1), "answered 401"),
        stays("token-500", Both, Token, status(500), "answered 500"),
        asked("asks-negotiate-or-bearer", "Negotiate, Bearer realm=\"{realm}\"", Good),
        asked("asks-much", "NTLM, Negotiate abc==, Bearer realm=\"{realm}\", Digest a=\"b\"", Good),
        asked("asks-in-lower-case", "bearer REALM={realm},error=\"invalid, token\"", Good),
        asked("asks-negotiate", "Negotiate", Bad("(Negotiate)")),
        asked("asks-nothing", "", Bad("no scheme named")),
        asked("asks-a-file", "Bearer realm=\"file:///etc/passwd\"", Bad("which is not http")),
        asked("asks-nobody", "Bearer service=\"x\"", Bad("which is no address")),
        asked("asks-nonsense", "Bearer realm=\"::\"", Bad("which is no address")),
    ]
}

fn anything() -> Vec<Mode> {
    use Side::{Both, Pull, Push};
    let large = "x".repeat(1 << 20);
    vec![
        good("good", Both, Other, 0, Reset),
        good("any-reset-once", Both, Any, 1, Reset),
        good("any-500-once", Both, Any, 1, status(500)),
        good("any-503-once", Both, Any, 1, status(503)),
        good("any-429-once", Both, Any, 1, status(429)),
        good("any-closes-after", Both, Any, 0, CloseAfter),
        good("any-warns-much", Both, Any, 0, Lines("Warning", 100)),
        good("root-reset-once", Both, Ping, 1, Reset),
        good("root-404", Both, Ping, 0, status(404)),
        either("root-500", Both, Ping, 0, status(500)),
        either("any-says-continue", Both, Any, 0, Interim(5000)),
        either("any-header-too-large", Both, Any, 0, Header("X-Large", large)).pace(Pace::AllTries),
        stays("manifest-headers-without-end", Pull, ManifestGet, Lines("X", 5000), "broke"),
        stays("post-headers-without-end", Push, UploadPost, Lines("X", 5000), "broke"),
    ]
}

fn uploads() -> Vec<Mode> {
    use Side::Push;
    let range = |text: &str| Header("Range", text.to_owned());
    let slow = SlowRead(16 << 10, Duration::from_millis(2));
    let reset =
        |name, action| good(name, Push, UploadPatch, 1, Reset).also(UploadStatus, Some(1), action);
    vec![
        good("upload-elsewhere", Push, UploadPost, 0, LocationOther),
        good("upload-range-garbage", Push, UploadPatch, 0, range("garbage")),
        good("upload-range-of-one", Push, UploadPatch, 0, range("0-0")),
        good("upload-range-past-the-end", Push, UploadPatch, 0, range("0-99999999")),
        good("upload-range-with-unit", Push, UploadPatch, 0, range("bytes=0-5x")),
        good("upload-slow", Push, UploadPatch, 0, slow.clone()),
        good("upload-end-slow", Push, UploadPut, 0, slow),
        good(
            "upload-large-pieces",
            Push,
            UploadPost,
            0,
            Header("OCI-Chunk-Min-Length", "100000".into()),
        ),
        good("post-reset-once", Push, UploadPost, 1, Reset),
        good("post-500-twice", Push, UploadPost, 2, status(500)),
        good("post-429-once", Push, UploadPost, 1, status(429)),
        good("post-answer-lost", Push, UploadPost, 1, ResetDone),
        good("patch-reset-once", Push, UploadPatch, 1, Reset),
        good("patch-reset-midway", Push, UploadPatch, 1, ResetMidway),
        good("patch-answer-lost", Push, UploadPatch, 1, ResetDone),
        good("patch-500-once", Push, UploadPatch, 1, status(500)),
        good("patch-500-done", Push, UploadPatch, 1, StatusDone(500)),
        good("patch-404-once", Push, UploadPatch, 1, status(404)),
        good("patch-413-once", Push, UploadPatch, 1, status(413)),
        good("patch-416-once", Push, UploadPatch, 1, status(416)),
        good("patch-405", Push, UploadPatch, 0, status(405)),
        good("patch-501", Push, UploadPatch, 0, status(501)),
        good("patch-silent-once", Push, UploadPatch, 1, Silence(1000)).pace(Pace::Silent),
        reset("patch-then-status-500", status(500)),
        reset("patch-then-status-404", status(404)),
        reset("patch-then-status-reset", Reset),
        good("put-reset-once", Push, UploadPut, 1, Reset),
        good("put-500-once", Push, UploadPut, 1, status(500)),
        good("put-404-once", Push, UploadPut, 1, status(404)),
        good("put-answer-lost", Push, UploadPut, 1, ResetDone),
        good("put-500-done", Push, UploadPut, 1, StatusDone(500)),
        good("put-mixed-up-once", Push, UploadPut, 1, says(400, "DIGEST_INVALID", "mixed up")),
        good("blob-seen-late", Push, BlobHead, 4, status(404)),
        good("blob-head-500-twice", Push, BlobHead, 2, status(500)),
        good("cancel-500", Push, UploadDelete, 0, status(500)),
    ]
}

fn lasting_uploads() -> Vec<Mode> {
    use Side::Push;
    let full = || says(403, "DENIED", "the quota is used up");
    vec![
        bad("post-403", Push, UploadPost, status(403), "answered 403"),
        bad("post-quota", Push, UploadPost, full(), "(DENIED): the quota is used up"),
        bad("put-403", Push, UploadPut, status(403), "answered 403"),
        bad("put-quota", Push, UploadPut, full(), "the quota is used up"),
        bad(
            "put-digest-lies",
            Push,
            UploadPut,
            Header("Docker-Content-Digest", LIES.into()),
            "has digest",
        ),
        bad("blob-head-403", Push, BlobHead, status(403), "answered 403"),
        stays("post-says-not-where", Push, UploadPost, status(202), "does not say where"),
        stays("post-500", Push, UploadPost, status(500), "answered 500"),
        stays("patch-reset", Push, UploadPatch, Reset, "broke"),
        stays("patch-413", Push, UploadPatch, status(413), "answered 413"),
        stays("put-reset", Push, UploadPut, Reset, "broke"),
        stays("put-keeps-nothing", Push, UploadPut, Lie, "does not have it"),
        stays("blob-never-seen", Push, BlobHead, status(404), "does not have it"),
    ]
}

fn pushes() -> Vec<Mode> {
    use Side::Push;
    let late = || says(404, "MANIFEST_BLOB_UNKNOWN", "blob unknown");
    let fixed = |code| says(code, "TAG_INVALID", "the tag is immutable");
    vec![
        good("tag-500-twice", Push, ManifestPut, 2, status(500)),
        good("tag-503-once", Push, ManifestPut, 1, status(503)),
        good("tag-429-twice", Push, ManifestPut, 2, status(429)),
        good("tag-reset-once", Push, ManifestPut, 1, Reset),
        good("tag-answer-lost", Push, ManifestPut, 1, ResetDone),
        good("tag-500-done", Push, ManifestPut, 1, StatusDone(500)),
        good("tag-blob-seen-late", Push, ManifestPut, 2, late()),
        good("tag-seen-late", Push, ManifestHead, 3, status(404)),
        good("tag-head-500-twice", Push, ManifestHead, 2, status(500)),
        bad("tag-413", Push, ManifestPut, status(413), "answered 413"),
        bad("tag-405", Push, ManifestPut, status(405), "answered 405"),
        bad("tag-409-immutable", Push, ManifestPut, fixed(409), "the tag is immutable"),
        bad("tag-400-immutable", Push, ManifestPut, fixed(400), "the tag is immutable"),
        bad(
            "tag-unknown",
            Push,
            ManifestPut,
            says(400, "MANIFEST_UNKNOWN", "?"),
            "MANIFEST_UNKNOWN",
        ),
        bad(
            "tag-digest-lies",
            Push,
            ManifestPut,
            Header("Docker-Content-Digest", LIES.into()),
            "has digest",
        ),
        stays("tag-500", Push, ManifestPut, status(500), "answered 500"),
        stays("tag-reset", Push, ManifestPut, Reset, "broke"),
        stays("tag-blob-unknown", Push, ManifestPut, late(), "MANIFEST_BLOB_UNKNOWN"),
        stays("tag-keeps-nothing", Push, ManifestPut, Lie, "answered 404"),
        stays(
            "tag-leads-elsewhere",
            Push,
            ManifestHead,
            Header("Docker-Content-Digest", LIES.into()),
            "has digest",
        ),
    ]
}
