//! What a step reads besides its own root: found or fetched before the root is used, since in place
//! making the files of another stage parks the one at work.

use copy::{Origin, Tree};
use plan::{AddOp, AddSource, CopySource, Op, StageId, Step};
use rootfs::{Protected, RootDir, RootPath};

use crate::error::StepError;
use crate::mounts::Origins;
use crate::stage::{Current, Executor};
use crate::trees::side_name;

/// The side root of a stage that ADD fetches into.
const FETCHED: &str = "fetched";

/// The trees that a step reads.
pub(crate) enum Reads {
    /// None but its own root.
    Nothing,
    /// What COPY takes its files from.
    Tree(RootDir, Origin),
    /// What ADD fetched, in the order of its sources.
    Fetched(Vec<Fetched>),
    /// What the mounts of RUN come from.
    Mounted(Origins),
}

/// Something that ADD fetched.
pub(crate) struct Fetched {
    pub root: RootDir,
    pub path: RootPath,
    /// Of a repository: what was checked out.
    pub commit: Option<String>,
}

/// A tree as a step sees it: of the build context, less what is ignored.
pub(crate) fn seen<'t>(
    context: &'t context::BuildContext,
    root: &'t RootDir,
    origin: Origin,
) -> Tree<'t> {
    let ignore = match origin {
        Origin::Context => Some(&context.ignore),
        Origin::Image => None,
    };
    Tree { ignore, ..fetched(root, origin) }
}

/// A tree of which nothing is ignored.
pub(crate) fn fetched(root: &RootDir, origin: Origin) -> Tree<'_> {
    const NOTHING: &Protected = &Protected::none();
    Tree { root, ignore: None, protected: NOTHING, origin }
}

/// Whether ADD unpacks what of a source is an archive: by default only what is local.
pub(crate) fn unpacks(add: &AddOp, source: &AddSource) -> bool {
    add.unpack.unwrap_or(matches!(source, AddSource::Local(_)))
}

impl<'a> Executor<'a> {
    /// Finds or fetches what a step reads.
    pub(crate) fn reads(&self, current: &Current<'a>, step: &Step) -> Result<Reads, StepError> {
        Ok(match &step.op {
            Op::Config(_) | Op::Workdir(_) => Reads::Nothing,
            Op::Copy(copy) => match &copy.from {
                CopySource::Context => Reads::Tree(self.context.root.clone(), Origin::Context),
                CopySource::Stage(id) => Reads::Tree(self.stage_tree(*id)?, Origin::Image),
                CopySource::Image(id) => Reads::Tree(self.image_tree(id)?, Origin::Image),
                CopySource::Scratch => {
                    Reads::Tree(self.side_root(current.stage.id, "scratch")?, Origin::Image)
                }
            },
            Op::Add(add) => Reads::Fetched(self.fetch_sources(current.stage.id, &add.sources)?),
            Op::Run(run) => Reads::Mounted(self.mount_origins(current, run)?),
        })
    }

    /// Removes what was fetched for a step.
    pub(crate) fn put_away(&self, stage: StageId, reads: &Reads) -> Result<(), StepError> {
        match reads {
            Reads::Fetched(fetched) if !fetched.is_empty() => {
                let removed = self.workspace.remove_side_root(&side_name(stage, FETCHED));
                removed.map_err(|error| StepError::Workspace(Box::new(error)))
            }
            Reads::Fetched(_) | Reads::Nothing | Reads::Tree(..) | Reads::Mounted(_) => Ok(()),
        }
    }

    /// Downloads and checks out; each into a directory of its own. In the order of the sources.
    fn fetch_sources(
        &self,
        stage: StageId,
        sources: &[AddSource],
    ) -> Result<Vec<Fetched>, StepError> {
        let mut fetched = Vec::new();
        for (index, source) in sources.iter().enumerate() {
            let place = || self.side_root(stage, &format!("{FETCHED}/{index}"));
            match source {
                AddSource::Local(_) => {}
                AddSource::Url(file) => {
                    let root = place()?;
                    let path = self.download(file, &root)?;
                    fetched.push(Fetched { root, path, commit: None });
                }
                AddSource::Git(git) => {
                    // The directory itself is made by the checkout; the one around it here.
                    self.side_root(stage, FETCHED)?;
                    let name = side_name(stage, &format!("{FETCHED}/{index}"));
                    let cloned = self.check_out(git, &name)?;
                    let (root, path) = (cloned.root, RootPath::root());
                    fetched.push(Fetched { root, path, commit: Some(cloned.commit) });
                }
            }
        }
        Ok(fetched)
    }
}
