//! The plans of one Dockerfile for several platforms as one plan: work that is the same for several
//! of them is there once, such as a stage on `$BUILDPLATFORM` that asks for nothing of the target.
//!
//! Only compares: what a platform changes has been decided by [`lower`](crate::lower) before.

use std::collections::{BTreeMap, HashMap};

use oci::Platform;

use crate::error::{Error, ErrorKind};
use crate::model::{
    BuildPlan, CopySource, MountSource, MountSpec, Op, StageBase, StageId, StagePlan, StepInput,
};

/// Makes one plan of those for several platforms; `images` of it has the image of each, in the same
/// order. Stages get new numbers, and those that are not for all platforms get the platform into
/// their name. The plan for one platform stays as it is.
///
/// # Errors
/// The plans disagree on what can only be said once.
pub fn merge(mut plans: Vec<(Platform, BuildPlan)>) -> Result<BuildPlan, Vec<Error>> {
    if plans.len() == 1
        && let Some((_, plan)) = plans.pop()
    {
        return Ok(plan);
    }
    let mut merged = Merged::default();
    for (platform, plan) in &plans {
        merged.add(platform, plan).map_err(|error| vec![error])?;
    }
    Ok(merged.finish(plans.len()))
}

#[derive(Default)]
struct Merged {
    stages: Vec<Shared>,
    /// Stages without their numbers, to find one that is there already.
    known: HashMap<StagePlan, StageId>,
    plan: Option<BuildPlan>,
}

/// A stage, and the platforms it is for.
struct Shared {
    stage: StagePlan,
    /// What it is called in the plan of one platform.
    label: String,
    platforms: Vec<Platform>,
}

impl Merged {
    fn add(&mut self, platform: &Platform, plan: &BuildPlan) -> Result<(), Error> {
        let mut places: BTreeMap<StageId, StageId> = BTreeMap::new();
        for stage in &plan.stages {
            let place = self.place(platform, stage, &places);
            places.insert(stage.id, place);
        }
        let place = |id: &StageId| places.get(id).copied().unwrap_or(*id);
        let targets: Vec<StageId> = plan.targets.iter().map(place).collect();
        let image = place(&plan.target);
        let Some(merged) = &mut self.plan else {
            self.plan =
                Some(BuildPlan { targets, target: image, images: vec![image], ..plan.clone() });
            return Ok(());
        };
        if merged.epoch != plan.epoch {
            return Err(Error::nowhere(ErrorKind::EpochPerPlatform));
        }
        merged.images.push(image);
        add_new(&mut merged.targets, targets);
        add_new(&mut merged.base_images, plan.base_images.clone());
        merged.base_images.sort_by_key(|request| request.span);
        add_new(&mut merged.warnings, plan.warnings.clone());
        add_new(&mut merged.unused_build_args, plan.unused_build_args.clone());
        Ok(())
    }

    /// The number of a stage that comes after those it reads: a new one, unless the same work is
    /// there.
    fn place(
        &mut self,
        platform: &Platform,
        stage: &StagePlan,
        places: &BTreeMap<StageId, StageId>,
    ) -> StageId {
        let place = |id: StageId| places.get(&id).copied().unwrap_or(id);
        let key = renumbered(stage, StageId(0), &place);
        if let Some(found) = self.known.get(&key) {
            self.stages[found.0].platforms.push(platform.clone());
            return *found;
        }
        let id = StageId(self.stages.len());
        self.known.insert(key, id);
        let label = stage.name.clone().unwrap_or_else(|| format!("stage-{}", stage.id));
        let stage = renumbered(stage, id, &place);
        self.stages.push(Shared { stage, label, platforms: vec![platform.clone()] });
        id
    }

    fn finish(self, all: usize) -> BuildPlan {
        let named = self.stages.into_iter().map(|Shared { stage, label, platforms }| {
            if platforms.len() == all {
                return stage;
            }
            let platforms: Vec<String> = platforms.iter().map(Platform::to_string).collect();
            StagePlan { name: Some(format!("{} {label}", platforms.join(","))), ..stage }
        });
        let stages = named.collect();
        let plan = self.plan.expect("because the caller has a plan for every platform");
        BuildPlan { stages, ..plan }
    }
}

fn add_new<T: PartialEq>(all: &mut Vec<T>, some: Vec<T>) {
    for one in some {
        if !all.contains(&one) {
            all.push(one);
        }
    }
}

/// The same work under another number, reading stages under theirs.
fn renumbered(stage: &StagePlan, id: StageId, place: &impl Fn(StageId) -> StageId) -> StagePlan {
    let mut stage = StagePlan { id, ..stage.clone() };
    if let StageBase::Stage(base) = &mut stage.base {
        *base = place(*base);
    }
    for step in &mut stage.steps {
        step.id.stage = id;
        for input in &mut step.inputs {
            if let StepInput::Stage(read, _) = input {
                *read = place(*read);
            }
        }
        match &mut step.op {
            Op::Copy(copy) => {
                if let CopySource::Stage(from) = &mut copy.from {
                    *from = place(*from);
                }
            }
            Op::Run(run) => {
                for mount in &mut run.mounts {
                    if let MountSpec::Bind { from: MountSource::Stage(from), .. }
                    | MountSpec::Cache { from: MountSource::Stage(from), .. } = mount
                    {
                        *from = place(*from);
                    }
                }
            }
            Op::Config(_) | Op::Workdir(_) | Op::Add(_) => {}
        }
    }
    stage
}
