//! COPY and ADD: finds the trees that the sources are in, and leaves the copying to `copy`.

use copy::{CopyRequest, Instruction, Item, ModeChange, Origin, Owner, Ownership, Tree};
use plan::{AddOp, AddSource, CopyOp, CopySource, InlineFile, StageId};
use rootfs::{Protected, RootDir, RootPath};
use run::ActiveRoot;

use crate::error::StepError;
use crate::stage::{Current, Executor, Outcome};
use crate::trees::side_name;

/// The side root of a stage that ADD fetches into.
const FETCHED: &str = "fetched";

/// What COPY and ADD have in common.
struct Transfer<'a> {
    instruction: Instruction,
    dest: &'a str,
    cwd: &'a str,
    chown: Option<&'a str>,
    chmod: Option<&'a str>,
    link: bool,
    parents: bool,
    exclude: &'a [String],
}

impl<'a> Executor<'a> {
    /// COPY.
    pub(crate) fn copy(
        &self,
        current: &mut Current<'a>,
        copy: &CopyOp,
    ) -> Result<Outcome, StepError> {
        // Read first: in place, making the tree of another stage may park this one.
        let (tree_root, origin) = match &copy.from {
            CopySource::Context => (self.context.root.clone(), Origin::Context),
            CopySource::Stage(id) => (self.stage_tree(*id)?, Origin::Image),
            CopySource::Image(id) => (self.image_tree(id)?, Origin::Image),
            CopySource::Scratch => (self.side_root(current.stage.id, "scratch")?, Origin::Image),
        };
        let protected = Protected::none();
        let ignore = match origin {
            Origin::Context => Some(&self.context.ignore),
            Origin::Image => None,
        };
        let tree = Tree { root: &tree_root, ignore, protected: &protected, origin };
        let mut items: Vec<Item<'_>> = copy
            .sources
            .iter()
            .map(|path| Item::Path { tree: &tree, path: path.as_bytes(), unpack: false })
            .collect();
        items.extend(copy.inline.iter().map(inline));
        let transfer = Transfer {
            instruction: Instruction::Copy,
            dest: &copy.dest,
            cwd: &copy.cwd,
            chown: copy.chown.as_deref(),
            chmod: copy.chmod.as_deref(),
            link: copy.link,
            parents: copy.parents,
            exclude: &copy.exclude,
        };
        let root = self.root(current)?;
        current.baseline = None;
        self.transfer(&root, &items, &transfer)
    }

    /// ADD.
    pub(crate) fn add(&self, current: &mut Current<'a>, add: &AddOp) -> Result<Outcome, StepError> {
        let fetched = self.fetch_sources(current.stage.id, &add.sources)?;
        let root = self.root(current)?;
        current.baseline = None;
        let none = Protected::none();
        let context = self.context;
        let local = Tree {
            root: &context.root,
            ignore: Some(&context.ignore),
            protected: &none,
            origin: Origin::Context,
        };
        let remote: Vec<Tree<'_>> = fetched
            .iter()
            .map(|(root, _)| Tree { root, ignore: None, protected: &none, origin: Origin::Context })
            .collect();
        let mut coming = remote.iter().zip(fetched.iter().map(|(_, path)| path));
        let mut items = Vec::new();
        for source in &add.sources {
            match source {
                AddSource::Local(path) => items.push(Item::Path {
                    tree: &local,
                    path: path.as_bytes(),
                    unpack: add.unpack.unwrap_or(true),
                }),
                AddSource::Url(_) | AddSource::Git(_) => {
                    let (tree, path) = coming.next().ok_or(StepError::NotImplemented("ADD"))?;
                    items.push(Item::Exact { tree, path, unpack: add.unpack.unwrap_or(false) });
                }
            }
        }
        items.extend(add.inline.iter().map(inline));
        let transfer = Transfer {
            instruction: Instruction::Add,
            dest: &add.dest,
            cwd: &add.cwd,
            chown: add.chown.as_deref(),
            chmod: add.chmod.as_deref(),
            link: add.link,
            parents: false,
            exclude: &add.exclude,
        };
        let outcome = self.transfer(&root, &items, &transfer)?;
        if !fetched.is_empty() {
            let removed = self.workspace.remove_side_root(&side_name(current.stage.id, FETCHED));
            removed.map_err(|error| StepError::Workspace(Box::new(error)))?;
        }
        Ok(outcome)
    }

    /// Downloads and checks out; each into a directory of its own. In the order of the sources.
    fn fetch_sources(
        &self,
        stage: StageId,
        sources: &[AddSource],
    ) -> Result<Vec<(RootDir, RootPath)>, StepError> {
        let mut fetched = Vec::new();
        for (index, source) in sources.iter().enumerate() {
            let place = || self.side_root(stage, &format!("{FETCHED}/{index}"));
            match source {
                AddSource::Local(_) => {}
                AddSource::Url(file) => {
                    let root = place()?;
                    let path = self.download(file, &root)?;
                    fetched.push((root, path));
                }
                AddSource::Git(git) => {
                    // The directory itself is made by the checkout; the one around it here.
                    self.side_root(stage, FETCHED)?;
                    let name = side_name(stage, &format!("{FETCHED}/{index}"));
                    let root = self.check_out(git, &name)?;
                    fetched.push((root, RootPath::root()));
                }
            }
        }
        Ok(fetched)
    }

    fn transfer(
        &self,
        root: &ActiveRoot,
        items: &[Item<'_>],
        transfer: &Transfer<'_>,
    ) -> Result<Outcome, StepError> {
        let owner = self.owner(&root.dir, transfer.chown)?;
        let mode = transfer.chmod.map(ModeChange::parse).transpose()?;
        let stop = || self.stop.is_stopped();
        let share = self.cores.share();
        let copied = copy::copy(&CopyRequest {
            instruction: transfer.instruction,
            items,
            dest: transfer.dest.as_bytes(),
            cwd: &RootPath::new(transfer.cwd)?,
            root: &root.dir,
            protected: &root.protected,
            owner,
            mode: mode.as_ref(),
            exclude: transfer.exclude,
            parents: transfer.parents,
            link: transfer.link,
            threads: share.threads,
            stop: &stop,
        })?;
        drop(share);
        self.warn_all(copied.warnings);
        self.seal(&root.dir, &copied.changes, &root.protected)
    }

    fn owner(&self, root: &RootDir, chown: Option<&str>) -> Result<Option<Owner>, StepError> {
        match chown.filter(|text| !text.is_empty()) {
            Some(text) => Ok(Some(Ownership::parse(text).resolve(root)?)),
            None => Ok(None),
        }
    }
}

fn inline(file: &InlineFile) -> Item<'_> {
    Item::Inline { name: file.name.as_bytes(), content: file.content.as_bytes() }
}
