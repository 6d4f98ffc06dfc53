//! Every error, and what the top makes of it.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::path::PathBuf;

use dockerfile::Span;
use run::Exit;

use super::{BaseError, Error, StepError};
use crate::digests::SendError;
use crate::foreign::ForeignError;
use crate::join::JoinError;
use crate::push::ImageFileError;

/// An error and what is to be told of it.
struct Told {
    error: Error,
    /// The message.
    message: &'static str,
    /// The line it points at.
    line: Option<u32>,
    exit_code: i32,
    /// A part of the hint.
    hint: Option<&'static str>,
}

/// Which variant: a new one does not compile until it is named here, and in [`all`].
fn variant(error: &Error) -> &'static str {
    match error {
        Error::State { .. } => "State",
        Error::Store(_) => "Store",
        Error::Context(_) => "Context",
        Error::Parse { .. } => "Parse",
        Error::Plan { .. } => "Plan",
        Error::Base { .. } => "Base",
        Error::FarLayer { .. } => "FarLayer",
        Error::CheckPush { .. } => "CheckPush",
        Error::Client(_) => "Client",
        Error::CannotRun { .. } => "CannotRun",
        Error::Foreign { .. } => "Foreign",
        Error::Join(_) => "Join",
        Error::NotJoined => "NotJoined",
        Error::Step { .. } => "Step",
        Error::Stages(_) => "Stages",
        Error::Output { .. } => "Output",
        Error::Push { .. } => "Push",
        Error::Send { .. } => "Send",
        Error::ImageFile { .. } => "ImageFile",
        Error::Handle(_) => "Handle",
        Error::Stopped => "Stopped",
        Error::Worker => "Worker",
    }
}

const VARIANTS: usize = 22;

fn line(number: u32) -> Span {
    Span::of_lines(number, number, 1)
}

fn root_error() -> rootfs::Error {
    rootfs::Error::PathHasNul { path: "nul".to_owned() }
}

fn store_error() -> store::Error {
    store::Error::Locked(PathBuf::from("/state/store"))
}

fn registry_error(denied: bool) -> Box<registry::Error> {
    let cause = match denied {
        true => registry::Cause::Unauthorized { scheme: "Basic".to_owned(), configured: false },
        false => registry::Cause::Status {
            status: 500,
            code: None,
            message: "broken".to_owned(),
            retry_after: None,
            transient: false,
        },
    };
    let object = "host/app:v1".to_owned();
    Box::new(registry::Error::Failed { action: "push", object, cause: Box::new(cause) })
}

fn base(denied: bool) -> Error {
    let source = Box::new(BaseError::Registry(*registry_error(denied)));
    Error::Base { name: "host/app:v1".to_owned(), span: line(3), source }
}

fn push(denied: bool) -> Error {
    Error::Push { destination: "host/app:v1".to_owned(), source: registry_error(denied) }
}

fn send() -> Error {
    let (status, text) = (http::StatusCode::FORBIDDEN, "no".to_owned());
    let source = Box::new(SendError::Status { status, text, retry_after: None });
    Error::Send { url: "https://host/digest".to_owned(), source }
}

fn image_file(source: ImageFileError) -> Error {
    Error::ImageFile { path: PathBuf::from("/image"), source }
}

fn step(source: StepError) -> Error {
    Error::Step { span: line(7), source: Box::new(source) }
}

fn ended(exit: Exit) -> Error {
    let tail = vec!["the reason".to_owned()];
    step(StepError::Exit { program: "/bin/sh -c x".to_owned(), exit, tail, reason: None })
}

fn parse(text: &str) -> Error {
    let errors = dockerfile::parse(text.as_bytes()).expect_err("because it is no Dockerfile");
    Error::Parse { errors }
}

fn plan(texts: &[&str]) -> Error {
    let options = plan::PlanOptions::new(oci::Platform::new("linux", "amd64"));
    let refused = |text: &&str| {
        plan::check_frontend(text.as_bytes(), &options).expect_err("because it is not covered")
    };
    Error::Plan { errors: texts.iter().map(refused).collect() }
}

fn join(denied: bool) -> Error {
    let (platform, repository) = ("linux/arm64".to_owned(), "host/app@sha256:00".to_owned());
    Error::from(JoinError::Image { platform, repository, source: registry_error(denied) })
}

fn told(error: Error, message: &'static str) -> Told {
    Told { error, message, line: None, exit_code: 1, hint: None }
}

const PUSH: &str = "error pushing image: failed to push to destination host/app:v1";
const STEP: &str = "error building stage: failed to execute command";
const CHECK_PUSH: &str = "error checking push permissions -- make sure you entered the correct tag \
     name, and that you are authenticated correctly, and try again: checking push permission for \
     \"host/app:v1\"";

fn all() -> Vec<Told> {
    let state = Error::State { path: PathBuf::from("/state"), source: root_error() };
    let context = context::Error::NoFile { path: PathBuf::from("/") };
    let layer = Error::FarLayer {
        digest: "sha256:00".to_owned(),
        source: Box::new(BaseError::Store(store_error())),
    };
    let check_push = |denied| Error::CheckPush {
        destination: "host/app:v1".to_owned(),
        source: registry_error(denied),
    };
    let output = Error::Output {
        what: "digest file",
        path: PathBuf::from("/out/digest"),
        source: store_error(),
    };
    let cannot_run = Error::CannotRun { span: line(5), source: run::Error::NotInContainer };
    let foreign = Error::Foreign {
        span: line(4),
        platform: "linux/arm64".to_owned(),
        machine: "linux/amd64".to_owned(),
        source: Box::new(ForeignError::Unwanted),
    };
    let user = StepError::User { user: "me".to_owned(), source: root_error() };
    let base_message = "cannot get the image `host/app:v1`";
    vec![
        told(state, "cannot use the state directory `/state`"),
        told(Error::Store(store_error()), "cannot use the blob store"),
        told(Error::Context(context), "cannot get the build context"),
        Told {
            line: Some(2),
            ..told(
                parse("FROM scratch\nCOPPY a b\n"),
                "error parsing dockerfile: dockerfile parse error on line 2: unknown instruction: \
                 COPPY (did you mean COPY?)",
            )
        },
        Told {
            line: Some(1),
            hint: Some("remove the directive"),
            ..told(
                plan(&["# syntax=foo/bar\n"]),
                "the frontend `foo/bar` named by `# syntax` cannot be run: only docker/dockerfile \
                 and docker/dockerfile-upstream up to version 1 are covered",
            )
        },
        Told { line: Some(3), ..told(base(false), base_message) },
        Told { line: Some(3), hint: Some("credentials"), ..told(base(true), base_message) },
        told(layer, "cannot get the layer `sha256:00`"),
        told(check_push(false), CHECK_PUSH),
        Told { hint: Some("credentials"), ..told(check_push(true), CHECK_PUSH) },
        told(Error::Client(registry_error(false)), "cannot set up the registry client"),
        Told {
            line: Some(5),
            hint: Some("executor doctor"),
            ..told(cannot_run, "the Dockerfile has RUN instructions")
        },
        Told {
            line: Some(4),
            hint: Some("$BUILDPLATFORM"),
            ..told(
                foreign,
                "a RUN instruction is for `linux/arm64`, and this machine is `linux/amd64`",
            )
        },
        told(join(false), "error joining images"),
        Told { hint: Some("credentials"), ..told(join(true), "error joining images") },
        told(Error::NotJoined, "the images of several platforms are not to be joined"),
        Told { line: Some(7), ..told(step(user), STEP) },
        Told { line: Some(7), exit_code: 42, ..told(ended(Exit::Code(42)), STEP) },
        Told { line: Some(7), exit_code: 143, ..told(ended(Exit::Signal(15)), STEP) },
        Told {
            line: Some(7),
            exit_code: 124,
            ..told(ended(Exit::TimedOut(std::time::Duration::from_secs(90))), STEP)
        },
        Told {
            line: Some(7),
            exit_code: 137,
            hint: Some("memory"),
            ..told(ended(Exit::Signal(9)), STEP)
        },
        told(Error::Stages(run::Error::NotInContainer), "cannot switch stages"),
        told(output, "cannot write the digest file `/out/digest`"),
        told(push(false), PUSH),
        Told { hint: Some("credentials"), ..told(push(true), PUSH) },
        told(send(), "cannot send the digest to `https://host/digest`"),
        told(image_file(ImageFileError::NotOne(2)), "cannot push `/image`"),
        told(Error::Handle(std::io::ErrorKind::Other.into()), "cannot make a stop handle"),
        told(Error::Stopped, "the build was stopped"),
        told(Error::Worker, "a worker of the builder ended without a result"),
    ]
}

fn check(told: &Told) {
    let Told { error, message, line, exit_code, hint } = told;
    let name = variant(error);
    assert_eq!(&error.to_string(), message, "{name}");
    assert_eq!(error.location().map(|span| span.start.line), *line, "{name}: line");
    assert_eq!(error.exit_code(), *exit_code, "{name}: exit code");
    let found = error.hint();
    assert_eq!(found.is_some(), hint.is_some(), "{name}: hint {found:?}");
    assert!(found.unwrap_or_default().contains(hint.unwrap_or_default()), "{name}: hint");
}

/// A fragment of a sentence, to be followed by its causes, which it must not tell itself.
fn check_style(error: &dyn std::error::Error) {
    let text = error.to_string();
    let word = text.split(' ').next().unwrap_or_default();
    let is_name = word.len() > 1 && word.chars().all(char::is_uppercase);
    let is_lower = text.starts_with(|first: char| !first.is_uppercase());
    assert!(is_lower || is_name, "`{text}` begins a sentence");
    assert!(!text.ends_with('.'), "`{text}` ends a sentence");
    if let Some(cause) = error.source() {
        assert!(!text.contains(&cause.to_string()), "`{text}` tells its cause");
        check_style(cause);
    }
}

#[test]
fn every_error_is_told() {
    let all = all();
    all.iter().for_each(check);
    let named: BTreeSet<&str> = all.iter().map(|told| variant(&told.error)).collect();
    assert_eq!(named.len(), VARIANTS, "only {named:?} are checked");
}

#[test]
fn every_text_is_a_fragment_without_its_cause() {
    all().iter().for_each(|told| check_style(&told.error));
    let workspace = || Box::new(Error::State { path: PathBuf::from("/s"), source: root_error() });
    let base = || Box::new(BaseError::Store(store_error()));
    let layer = || layer::Error::Read(std::io::Error::other("cut off"));
    let digest = "sha256:00".to_owned();
    for source in [
        BaseError::Registry(*registry_error(true)),
        BaseError::Unpack { digest, source: layer() },
        BaseError::Fetch(Box::new(cache::Error::Store(store_error()))),
        BaseError::Document(oci::Error::Timestamp { text: "noon".to_owned() }),
        BaseError::Store(store_error()),
        BaseError::Workspace(workspace()),
    ] {
        check_style(&source);
    }
    let layer_name = || "image.tar/layer.tar".to_owned();
    let digest = || oci::Digest::sha256_of(b"");
    for source in [
        ImageFileError::Store(store_error()),
        ImageFileError::Below("text/plain".to_owned()),
        ImageFileError::Read { layer: layer_name(), source: std::io::ErrorKind::Other.into() },
        ImageFileError::Layer { layer: layer_name(), source: layer() },
        ImageFileError::Compression { layer: layer_name(), kind: "xz".to_owned() },
        ImageFileError::DiffId { layer: layer_name(), expected: digest(), found: digest() },
    ] {
        check_style(&source);
    }
    let emulator = || run::Error::NoEmulator {
        architecture: "arm64".to_owned(),
        reason: "nobody runs them".to_owned(),
    };
    for source in
        [ForeignError::Unwanted, ForeignError::System, ForeignError::NoEmulator(emulator())]
    {
        check_style(&source);
    }
    for source in [
        StepError::Run { program: "x".to_owned(), source: run::Error::NotInContainer },
        StepError::User { user: "me".to_owned(), source: root_error() },
        StepError::Fetch(context::Error::NoFile { path: PathBuf::from("/") }),
        StepError::Copy(copy::Error::NotFound {
            path: rootfs::RootPath::root(),
            place: "build context",
            excluded: false,
        }),
        StepError::Checksum(context::ChecksumFault::Format),
        StepError::Http(transport::Error::Setup { what: "a proxy".to_owned(), source: None }),
        StepError::Stopped,
        StepError::Base { name: "app".to_owned(), source: base() },
        StepError::Workdir { path: "/w".to_owned(), source: root_error() },
        StepError::Snapshot(snapshot::Error::Root(root_error())),
        StepError::Layer(layer()),
        StepError::Store(store_error()),
        StepError::Root(root_error()),
        StepError::Stages(run::Error::NotInContainer),
        StepError::Workspace(workspace()),
        StepError::NotImplemented("`mtime=commit` of a git source"),
    ] {
        check_style(&source);
    }
}

#[test]
fn further_errors_are_siblings_with_their_lines() {
    let lines = |error: &Error| {
        error.siblings().iter().map(|(_, span)| span.start.line).collect::<Vec<_>>()
    };
    let three = parse("FROM scratch\nCOPPY a b\nRUM x\nENW a=b\n");
    assert_eq!(lines(&three), [3, 4]);
    assert!(three.to_string().ends_with(" (and 2 more errors)"), "{three}");
    assert!(three.siblings()[0].0.contains("RUM"), "{:?}", three.siblings());
    let two = plan(&["# syntax=foo/bar\n", "# escape=`\n# syntax=bar/foo\n"]);
    assert_eq!(lines(&two), [2]);
    assert!(two.to_string().ends_with(" (and one more error)"), "{two}");
    assert!(two.siblings()[0].0.contains("bar/foo"), "{:?}", two.siblings());
    assert!(base(true).siblings().is_empty());
}

#[test]
fn only_a_command_leaves_output() {
    assert_eq!(ended(Exit::Code(2)).output_tail(), ["the reason"]);
    assert!(step(StepError::Stopped).output_tail().is_empty());
    assert!(push(false).output_tail().is_empty());
    assert!(push(false).source().is_some_and(|cause| cause.to_string().contains("host/app:v1")));
}
