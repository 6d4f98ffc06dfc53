//! Plans and images of a Dockerfile's text, without a file, a registry or a process.

#![allow(dead_code, reason = "every test binary compiles all of it and uses a part")]

use std::collections::BTreeMap;

use oci::{
    BaseImage, Descriptor, DiffId, Digest, History, Image, ImageConfig, ImageDraft, ImageFormat,
    ImageManifest, LayerRef, MediaType, Platform, Raw,
};
use plan::{
    Base, BaseImageId, BuildPlan, Entitlement, HistoryKind, PlanOptions, StageBase, StageId,
};

/// Image configs by full name.
pub(crate) type Images = BTreeMap<String, ImageConfig>;

/// Images of a data file: full name → config document.
pub(crate) fn images(json: &str) -> Images {
    let documents: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(json).expect("the data file is JSON");
    documents.into_iter().map(|(name, document)| (name, config(&document))).collect()
}

/// A config document as it would be pulled.
pub(crate) fn config(document: &serde_json::Value) -> ImageConfig {
    let bytes = serde_json::to_vec(document).expect("a value is JSON");
    let raw: Raw<ImageConfig> = Raw::parse(bytes).expect("the data file's configs are valid");
    raw.value().clone()
}

/// What a Dockerfile comes to.
pub(crate) struct Planned {
    pub(crate) plan: BuildPlan,
    pub(crate) bases: BTreeMap<BaseImageId, Base>,
}

/// The plan, or the message and the lines a user would see.
pub(crate) struct Refused {
    pub(crate) message: String,
    pub(crate) lines: Vec<(u32, u32)>,
}

impl Refused {
    fn new(message: &dyn ToString, spans: &[dockerfile::Span]) -> Refused {
        let lines = spans.iter().map(|span| (span.start.line, span.end.line)).collect();
        Refused { message: message.to_string(), lines }
    }

    fn first(errors: &[plan::Error]) -> Refused {
        let error = errors.first().expect("a refusal has a reason");
        Refused::new(error, error.spans())
    }
}

/// Plans a text as the builder does: stages, then images, then steps.
pub(crate) fn plan(text: &str, options: &PlanOptions, images: &Images) -> Result<Planned, Refused> {
    let file = dockerfile::parse(text.as_bytes()).map_err(|errors| {
        let error = errors.first().expect("a refusal has a reason");
        Refused::new(error, &[error.span])
    })?;
    let graph = plan::stage_graph(&file, options).map_err(|errors| Refused::first(&errors))?;
    let mut bases = BTreeMap::new();
    let mut wanted = graph.base_images().to_vec();
    while !wanted.is_empty() {
        for request in wanted {
            let name = request.reference.normalized();
            let Some(config) = images.get(&name) else {
                let message = format!("{}: {name}: not found", request.written);
                return Err(Refused::new(&message, &[request.span]));
            };
            bases.insert(request.id, Base { config: config.clone(), digest: None });
        }
        let more = graph.triggered_base_images(&bases);
        wanted = more.map_err(|errors| Refused::first(&errors))?;
    }
    let plan = plan::lower(&graph, &bases).map_err(|errors| Refused::first(&errors))?;
    Ok(Planned { plan, bases })
}

/// Options for a machine of the kind the recorded answers come from.
/// What a Dockerfile may ask for is not the operator's choice here, but where a test says so.
pub(crate) fn options() -> PlanOptions {
    let allow =
        vec![Entitlement::NetworkHost, Entitlement::SecurityInsecure, Entitlement::AnyDevice];
    PlanOptions { allow, ..PlanOptions::new(Platform::new("linux", "amd64")) }
}

/// A layer nobody made.
fn layer(seed: &str) -> LayerRef {
    let digest = Digest::sha256_of(seed.as_bytes());
    LayerRef {
        descriptor: Descriptor::new(MediaType::OciLayerGzip, digest.clone(), 1),
        diff_id: DiffId(digest),
    }
}

fn base_image(config: &ImageConfig) -> BaseImage {
    let config = Raw::from_value(config.clone());
    let layers = config.rootfs.diff_ids.iter();
    let layers =
        layers.map(|id| Descriptor::new(MediaType::OciLayerGzip, id.0.clone(), 1)).collect();
    let manifest = ImageManifest {
        schema_version: 2,
        media_type: Some(MediaType::OciManifest),
        artifact_type: None,
        config: config.descriptor(MediaType::OciConfig),
        layers,
        subject: None,
        annotations: BTreeMap::new(),
        extra: serde_json::Map::new(),
    };
    let manifest = Raw::from_value(manifest);
    let descriptor = manifest.descriptor(MediaType::OciManifest);
    BaseImage::new(descriptor, &manifest, config).expect("the data file's configs are bases")
}

impl Planned {
    /// The image of the plan's target, with layers that hold nothing.
    pub(crate) fn image(&self) -> Image {
        let mut drafts: BTreeMap<StageId, ImageDraft> = BTreeMap::new();
        for stage in &self.plan.stages {
            let mut draft = match &stage.base {
                StageBase::Scratch => ImageDraft::from_scratch(&stage.platform),
                StageBase::Image(id) => ImageDraft::from_base(&base_image(&self.bases[id].config)),
                StageBase::Stage(id) => drafts[id].clone(),
            };
            stage.setup.iter().for_each(|edit| draft.edit(edit));
            for step in &stage.steps {
                step.edits().iter().for_each(|edit| draft.edit(edit));
                let history = History::step(&step.created_by, None);
                match step.history {
                    HistoryKind::None => {}
                    HistoryKind::Empty => draft.push_empty(history),
                    HistoryKind::Layer => draft.push_layer(layer(&step.id.to_string()), history),
                }
            }
            stage.closing.iter().for_each(|edit| draft.edit(edit));
            drafts.insert(stage.id, draft);
        }
        let draft = drafts.remove(&self.plan.target).expect("a plan holds its target");
        draft.finish(ImageFormat::Oci)
    }
}
