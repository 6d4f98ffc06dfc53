//! From a request to its end: the rung, the signals, the runtime.

use std::sync::Arc;

use builder::{
    BuildOutcome, BuildPlan, BuildRequest, EnterOptions, JoinRequest, Observer, PushRequest,
};
use sys::StopHandle;
use tokio::runtime::Runtime;

/// Why there is no image.
pub(crate) enum Failure {
    /// The program could not get ready.
    Setup(Box<dyn std::error::Error>),
    /// The build failed.
    Build(builder::Error),
    /// A signal ended it.
    Signal(i32),
}

/// Enters the rung, then builds. The rung is entered while the program has one thread.
pub(crate) fn build(
    request: BuildRequest,
    options: &EnterOptions,
    environment_forgotten: bool,
    observer: Arc<dyn Observer>,
) -> Result<BuildOutcome, Failure> {
    let ready = || -> Result<_, Box<dyn std::error::Error>> {
        sys::nss::pin();
        sys::signals::block_stopping()?;
        let isolation = builder::enter(options)?;
        tracing::info!("isolation {}: {}", isolation.rung(), isolation.reason());
        tracing::info!("{}", isolation.defences(environment_forgotten));
        Ok((isolation, watched()?))
    };
    let (isolation, (stop, runtime)) = ready().map_err(Failure::Setup)?;
    let built = runtime.block_on(builder::build(request, isolation, observer, stop.clone()));
    built.map_err(|error| failure(error, &stop))
}

/// Pushes what is there already: no rung, no root.
pub(crate) fn push(request: PushRequest, observer: Arc<dyn Observer>) -> Result<(), Failure> {
    let ready = || -> Result<_, Box<dyn std::error::Error>> {
        sys::nss::pin();
        sys::signals::block_stopping()?;
        watched()
    };
    let (stop, runtime) = ready().map_err(Failure::Setup)?;
    let pushed = runtime.block_on(builder::push(request, observer, stop.clone()));
    pushed.map(drop).map_err(|error| failure(error, &stop))
}

/// A runtime, and the handle that a signal pulls. Signals are blocked by now, and threads may come.
fn watched() -> Result<(StopHandle, Runtime), Box<dyn std::error::Error>> {
    let stop = StopHandle::new()?;
    sys::signals::watch(&stop)?;
    Ok((stop, tokio::runtime::Builder::new_multi_thread().enable_all().build()?))
}

fn failure(error: builder::Error, stop: &StopHandle) -> Failure {
    match (error, stop.signal()) {
        (builder::Error::Stopped, Some(signal)) => Failure::Signal(signal),
        (error, _) => Failure::Build(error),
    }
}

/// Joins images that are there already: no rung, nothing is built.
pub(crate) fn join(request: &JoinRequest, observer: &Arc<dyn Observer>) -> Result<(), Failure> {
    sys::nss::pin();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Setup(error.into()))?;
    runtime.block_on(builder::join(request, observer)).map_err(Failure::Build).map(drop)
}

/// Plans only: no rung, no root, nothing written.
pub(crate) fn plan(
    request: &BuildRequest,
    observer: &Arc<dyn Observer>,
) -> Result<BuildPlan, Failure> {
    sys::nss::pin();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Setup(error.into()))?;
    runtime.block_on(builder::plan_only(request, observer)).map_err(Failure::Build)
}
