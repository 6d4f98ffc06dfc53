//! COPY and ADD: shows `copy` the trees that the sources are in; `reads.rs` found them.

use copy::{CopyRequest, Instruction, Item, ModeChange, Origin, Owner, Ownership, Tree};
use plan::{AddOp, AddSource, CopyOp, InlineFile};
use rootfs::{RootDir, RootPath};
use run::ActiveRoot;

use crate::error::StepError;
use crate::reads::{self, Fetched, seen, unpacks};
use crate::stage::{Current, Executor, Outcome};

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
    /// COPY, from this tree.
    pub(crate) fn copy(
        &self,
        current: &mut Current<'a>,
        copy: &CopyOp,
        (from, origin): (&RootDir, Origin),
    ) -> Result<Outcome, StepError> {
        let tree = seen(self.context, from, origin);
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

    /// ADD, of what was fetched and of the context.
    pub(crate) fn add(
        &self,
        current: &mut Current<'a>,
        add: &AddOp,
        fetched: &[Fetched],
    ) -> Result<Outcome, StepError> {
        let root = self.root(current)?;
        current.baseline = None;
        let local = seen(self.context, &self.context.root, Origin::Context);
        let remote: Vec<Tree<'_>> =
            fetched.iter().map(|one| reads::fetched(&one.root, Origin::Context)).collect();
        let mut coming = remote.iter().zip(fetched.iter().map(|one| &one.path));
        let mut items = Vec::new();
        for source in &add.sources {
            let unpack = unpacks(add, source);
            match source {
                AddSource::Local(path) => {
                    items.push(Item::Path { tree: &local, path: path.as_bytes(), unpack });
                }
                AddSource::Url(_) | AddSource::Git(_) => {
                    let (tree, path) = coming.next().ok_or(StepError::NotImplemented("ADD"))?;
                    items.push(Item::Exact { tree, path, unpack });
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
        self.transfer(&root, &items, &transfer)
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
