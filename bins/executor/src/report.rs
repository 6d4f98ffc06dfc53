//! What the user sees: events as kaniko's log lines, the end as text and exit status.

use std::borrow::Cow;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use builder::{BuildOutcome, BuildPlan, BuildRequest, DockerfilePlace, Event, Observer, StageName};
use cli::{Excerpt, Report, console};

use crate::session::Failure;

/// Writes events to the log, and a step's output through. Where stages are at work at the same time,
/// each line says whose it is.
#[derive(Default)]
pub(crate) struct Log {
    several: AtomicBool,
}

impl Log {
    /// What stands before a line.
    fn mark(&self, stage: &StageName) -> String {
        match self.several.load(Ordering::Relaxed) {
            true => format!("[{stage}] "),
            false => String::new(),
        }
    }
}

impl Observer for Log {
    fn observe(&self, event: &Event) {
        match event {
            Event::Lint { rule, detail, span } => {
                tracing::warn!("{rule}: {detail} (line {})", span.start.line);
            }
            Event::Warning(text) => tracing::warn!("{text}"),
            Event::Planned { stages, steps } => {
                tracing::info!("Building {stages} stages with {steps} steps");
            }
            Event::BaseResolved { name, digest } => {
                tracing::info!("Retrieved image manifest {name}: {digest}");
            }
            Event::Scheduled { at_once } => self.several.store(*at_once > 1, Ordering::Relaxed),
            Event::StageStarted { stage: StageName { index, name }, base } => match name {
                Some(name) => {
                    tracing::info!("Building stage '{base}' [idx: '{index}', name: '{name}']");
                }
                None => tracing::info!("Building stage '{base}' [idx: '{index}']"),
            },
            Event::BaseUnpacked { stage, name, layers, took } => {
                let mark = self.mark(stage);
                tracing::info!("{mark}Unpacked {layers} layers of {name}: took {took:.2?}");
            }
            Event::StageNeedless { stage } => {
                tracing::info!("Skipping stage '{stage}': all that reads it is cached");
            }
            Event::CacheUnpacked { stage, layers, took } => {
                let mark = self.mark(stage);
                tracing::info!("{mark}Unpacked {layers} cached layers: took {took:.2?}");
            }
            Event::StepCached { stage, text, key } => {
                let mark = self.mark(stage);
                tracing::info!("{mark}Using caching version of cmd: {}", first_line(text));
                tracing::debug!("{mark}found under {key}");
            }
            Event::StepMissed { stage, text, reason } => {
                let (mark, text) = (self.mark(stage), first_line(text));
                match reason {
                    Some(reason) => {
                        tracing::info!("{mark}No cached layer found for cmd {text}: {reason}");
                    }
                    None => tracing::info!("{mark}No cached layer found for cmd {text}"),
                }
            }
            Event::StepStarted { stage, text } => tracing::info!("{}{text}", self.mark(stage)),
            Event::StepFinished { stage, text, took, layer } => {
                let step = format!("{}{}", self.mark(stage), first_line(text));
                match layer {
                    Some(layer) => tracing::info!(
                        "{step} took {took:.2?}: layer of {} entries, {} bytes, {}",
                        layer.entries,
                        layer.bytes,
                        layer.digest
                    ),
                    None => tracing::debug!("{step} took {took:.2?}"),
                }
            }
            Event::Output { stage, stderr, lines } => {
                let lines = marked(self.mark(stage).as_bytes(), lines);
                match stderr {
                    true => console::step_error(&lines),
                    false => console::step_output(&lines),
                }
            }
            Event::ImageFinished { digest, platform: None } => {
                tracing::info!("Built image {digest}");
            }
            Event::ImageFinished { digest, platform: Some(platform) } => {
                tracing::info!("Built image {digest} for {platform}");
            }
            Event::IndexFinished { digest } => tracing::info!("Made index {digest}"),
            Event::Pushing { destination } => tracing::info!("Pushing image to {destination}"),
            Event::TagKept { repository, digest } => {
                tracing::info!("Immutable tag error ignored for {repository}@{digest}");
            }
            Event::Pushed { repository, destination, digest, took } => {
                tracing::debug!("{destination} took {took:.2?}");
                tracing::info!("Pushed {repository}@{digest}");
            }
            Event::PushFailed { destination, reason } => {
                tracing::error!("Not pushed to {destination}: {reason}");
            }
            Event::Written { what, path } => tracing::info!("Wrote {what} {path}"),
            _ => {}
        }
    }
}

/// The lines with a mark before each.
fn marked<'l>(mark: &[u8], lines: &'l [u8]) -> Cow<'l, [u8]> {
    if mark.is_empty() {
        return Cow::Borrowed(lines);
    }
    let mut marked = Vec::with_capacity(lines.len() + mark.len());
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        marked.extend_from_slice(mark);
        marked.extend_from_slice(line);
    }
    Cow::Owned(marked)
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// The program could not get ready.
pub(crate) fn setup_failed(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    console::failed("", error)
}

/// The end of `--dryrun`: the plan on standard output.
pub(crate) fn planned(plan: Result<BuildPlan, Failure>, request: &BuildRequest) -> ExitCode {
    match plan {
        Ok(plan) => {
            console::print(&plan.to_string());
            ExitCode::SUCCESS
        }
        Err(failure) => failed(&failure, request),
    }
}

/// The end of a build.
pub(crate) fn built(outcome: Result<BuildOutcome, Failure>, request: &BuildRequest) -> ExitCode {
    match outcome {
        Ok(outcome) => {
            tracing::info!("Finished in {:.2?}", outcome.took);
            ExitCode::SUCCESS
        }
        Err(failure) => failed(&failure, request),
    }
}

/// The end of `push`, and of `--driver=ci`: they read no Dockerfile.
pub(crate) fn pushed(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => end(&failure, None),
    }
}

fn failed(failure: &Failure, request: &BuildRequest) -> ExitCode {
    end(failure, Some(request))
}

fn end(failure: &Failure, request: Option<&BuildRequest>) -> ExitCode {
    match failure {
        Failure::Setup(error) => setup_failed(error.as_ref()),
        Failure::Signal(signal) => {
            console::print_error(&format!("stopped by signal {signal}\n"));
            status(128 + signal)
        }
        Failure::Build(error) => {
            show(error, request);
            status(error.exit_code())
        }
    }
}

fn show(error: &builder::Error, request: Option<&BuildRequest>) {
    let name = match request.map(|request| &request.dockerfile) {
        Some(DockerfilePlace::Context(path)) => path.to_string(),
        Some(DockerfilePlace::Host(path)) => path.display().to_string(),
        Some(DockerfilePlace::Elsewhere) | None => "Dockerfile".to_owned(),
    };
    let text = error.location().and(request).and_then(builder::dockerfile_text);
    let excerpt = match (error.location(), &text) {
        (Some(span), Some(text)) => Some(Excerpt {
            name: &name,
            text,
            first_line: span.start.line as usize,
            last_line: span.end.line as usize,
        }),
        _ => None,
    };
    let hint = error.hint();
    let report = Report {
        doing: "error building image",
        error,
        excerpt,
        hint: hint.as_deref(),
        output: error.output_tail(),
    };
    console::print_error(&cli::report::render(&report));
    for (message, span) in error.siblings() {
        console::print_error(&format!("line {}: {message}\n", span.start.line));
    }
}

fn status(code: i32) -> ExitCode {
    // A status outside a byte does not exist; 1 says that something failed.
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
