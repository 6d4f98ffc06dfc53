//! Everything before the first file is touched: the Dockerfile, its plan, the base images'
//! documents.

use std::collections::BTreeMap;
use std::sync::Arc;

use dockerfile::{Dockerfile, Span};
use plan::{Base, BuildPlan, PlanOptions, StageGraph, Unimplemented};
use registry::Client;
use rootfs::{RootDir, RootPath};

use crate::bases::{self, Bases, Source};
use crate::error::Error;
use crate::event::{Event, Observer};
use crate::request::BuildRequest;

/// A plan, and the images it needs.
pub(crate) struct Prepared {
    pub plan: BuildPlan,
    pub bases: Bases,
}

/// Parses and plans; the documents of base images are asked for in between. `runnable` says whether
/// a RUN can be carried out. Plans for several platforms become one.
pub(crate) async fn prepare(
    request: &BuildRequest,
    context: &context::BuildContext,
    client: &Client,
    observer: &Arc<dyn Observer>,
    unimplemented: Unimplemented,
    runnable: &(dyn Fn(Span) -> Result<(), Error> + Sync),
) -> Result<Prepared, Error> {
    let text = context::read_dockerfile(&context.root, &request.dockerfile)?;
    let named = request.platforms.iter().cloned().map(Some);
    let platforms: Vec<_> = if named.len() == 0 { vec![None] } else { named.collect() };
    let options = |platform| PlanOptions {
        targets: request.targets.clone(),
        build_args: request.build_args.clone(),
        platform,
        build_platform: request.build_platform.clone(),
        labels: request.labels.clone(),
        lint: request.lint,
        unimplemented,
        allow: request.allow.clone(),
        ignore: Some(context.ignore.clone()),
    };
    let options: Vec<PlanOptions> = platforms.into_iter().map(options).collect();
    for options in &options {
        plan::check_frontend(&text, options).map_err(|error| plan_error(vec![error]))?;
    }
    let file = parse(&text)?;
    let graphs = options.iter().map(|options| plan::stage_graph(&file, options));
    let graphs: Vec<StageGraph> = graphs.collect::<Result<_, _>>().map_err(plan_error)?;
    if let Some(span) = graphs.iter().find_map(StageGraph::first_run) {
        // Before any registry is asked for anything.
        runnable(span)?;
    }
    let source = Source::new(request, client);
    let mut bases = Bases::new();
    let mut plans = Vec::new();
    for (graph, options) in graphs.iter().zip(&options) {
        plans.push((
            options.target_platform().clone(),
            lower(graph, &source, observer, &mut bases).await?,
        ));
    }
    let plan = plan::merge(plans).map_err(plan_error)?;
    tell(&plan, observer);
    Ok(Prepared { plan, bases })
}

/// The plan of one platform; the images it needs are added to those that are known.
async fn lower(
    graph: &StageGraph,
    source: &Source,
    observer: &Arc<dyn Observer>,
    bases: &mut Bases,
) -> Result<BuildPlan, Error> {
    bases::resolve(graph.base_images(), source, observer, bases).await?;
    // Triggers of base images may name further images, and those have triggers themselves.
    loop {
        let triggered = graph.triggered_base_images(&as_values(bases)).map_err(plan_error)?;
        if triggered.is_empty() {
            break;
        }
        bases::resolve(&triggered, source, observer, bases).await?;
    }
    plan::lower(graph, &as_values(bases)).map_err(plan_error)
}

fn tell(plan: &BuildPlan, observer: &Arc<dyn Observer>) {
    for name in &plan.unused_build_args {
        let text = format!("[Warning] One or more build-args [{name}] were not consumed");
        observer.observe(&Event::Warning(text));
    }
    for warning in &plan.warnings {
        observer.observe(&Event::Lint {
            rule: warning.rule.name().to_owned(),
            detail: warning.detail.clone(),
            span: warning.span,
        });
    }
    observer.observe(&Event::Planned {
        stages: plan.stages.len(),
        steps: plan.stages.iter().map(|stage| stage.steps.len()).sum(),
    });
}

fn parse(text: &[u8]) -> Result<Dockerfile, Error> {
    dockerfile::parse(text).map_err(|errors| Error::Parse { errors })
}

fn plan_error(errors: Vec<plan::Error>) -> Error {
    Error::Plan { errors }
}

fn as_values(pulled: &Bases) -> BTreeMap<plan::BaseImageId, Base> {
    let value = |base: &bases::PulledBase| Base {
        config: base.image.config().value().clone(),
        digest: Some(base.image.manifest_descriptor().digest.clone()),
    };
    pulled.iter().map(|(id, base)| (id.clone(), value(base))).collect()
}

/// Reads a small file of the host, such as a certificate.
pub fn read_host_file(path: &RootPath) -> Result<Vec<u8>, rootfs::Error> {
    let root = RootDir::open(std::path::Path::new("/"))?;
    root.read(&root.resolve(path)?, MAX_HOST_FILE)
}

/// The largest file that [`read_host_file`] reads.
const MAX_HOST_FILE: u64 = 16 << 20;
