//! COPY and ADD instructions, carried out on real trees.
//!
//! One door: [`check`] makes a context and a root from tree notation, carries out one instruction
//! and compares what the layer would hold. All of it needs root, because copies belong to root.

#![allow(clippy::disallowed_methods, reason = "tests look at the trees from outside")]

use std::error::Error as _;

use copy::{
    CopyRequest, IdentifyRequest, Instruction, Item, ModeChange, Origin, Ownership, SourceIdentity,
    Tree,
};
use glob::IgnoreFile;
use rootfs::{ChangeSet, Protected, RootDir, RootPath};
use testkit::{ScratchRoot, require_root, tree};

mod archive_table;
mod archives;
mod contents;
mod destinations;
mod hostile;
mod identify;
mod identify_random;
mod link;
mod metadata;
mod patterns;
mod races;
mod sources;

/// A directory with what directories have.
const DIR: &str = r#"
    d 0750 0:0 /dir
    f 0600 7:8 /dir/x.txt "x"
    l 0777 /dir/up -> ../a.txt
    d 0700 7:8 /dir/sub
    f 0644 /dir/sub/y.md "y"
    f 0644 /a.txt "a"
    f 0755 /b.txt "b"
"#;

/// An instruction as it would stand in a Dockerfile, without quoting; `--from=` takes any value.
struct Words<'a> {
    instruction: Instruction,
    from_image: bool,
    parents: bool,
    /// Not of COPY: the sources are shown by a mount.
    mount: bool,
    link: bool,
    unpack: bool,
    chown: Option<&'a str>,
    chmod: Option<&'a str>,
    exclude: Vec<String>,
    sources: Vec<&'a str>,
    dest: &'a str,
}

impl<'a> Words<'a> {
    fn new(text: &'a str) -> Self {
        let mut words = text.split(' ').filter(|word| !word.is_empty()).peekable();
        let add = words.next() == Some("ADD");
        let mut parsed = Self {
            instruction: if add { Instruction::Add } else { Instruction::Copy },
            from_image: false,
            parents: false,
            mount: false,
            link: false,
            unpack: add,
            chown: None,
            chmod: None,
            exclude: Vec::new(),
            sources: Vec::new(),
            dest: "",
        };
        while let Some(flag) = words.next_if(|word| word.starts_with("--")) {
            match flag.split_once('=').unwrap_or((flag, "true")) {
                ("--from", _) => parsed.from_image = true,
                ("--parents", _) => parsed.parents = true,
                ("--mount", _) => parsed.mount = true,
                ("--link", _) => parsed.link = true,
                ("--unpack", value) => parsed.unpack = value == "true",
                ("--chown", value) => parsed.chown = Some(value),
                ("--chmod", value) => parsed.chmod = Some(value),
                ("--exclude", value) => parsed.exclude.push(value.to_owned()),
                (flag, _) => panic!("no flag of these tests: {flag}"),
            }
        }
        parsed.sources = words.collect();
        parsed.dest = parsed.sources.pop().expect("because every case has a destination");
        parsed
    }
}

/// A context and a root that instructions are carried out on.
pub(crate) struct Trees {
    pub(crate) context: ScratchRoot,
    pub(crate) root: ScratchRoot,
    pub(crate) protected: Protected,
    /// Threads that copy.
    pub(crate) threads: usize,
}

impl Trees {
    pub(crate) fn new(context: &str, root: &str) -> Self {
        let protected = Protected::none();
        Self {
            context: ScratchRoot::with(context),
            root: ScratchRoot::with(root),
            protected,
            threads: 2,
        }
    }

    /// What the layer of `instruction` holds, or why it fails.
    pub(crate) fn run(&self, instruction: &str) -> Result<String, String> {
        let changes = self.changes(instruction, &|| false).map_err(|error| {
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            format!("error: {error}{cause}")
        })?;
        let lines = changes.iter().map(|change| {
            let path = change.path().to_string();
            tree::print_one(self.root.path(), &path) + "\n"
        });
        Ok(lines.collect())
    }

    pub(crate) fn changes(
        &self,
        instruction: &str,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> copy::Result<ChangeSet> {
        let words = Words::new(instruction);
        let root = RootDir::open(self.root.path())?;
        let owner = words.chown.map(|chown| Ownership::parse(chown).resolve(&root)).transpose()?;
        let mode = words.chmod.map(ModeChange::parse).transpose()?;
        self.with_items(&words, &|items| {
            let copied = copy::copy(&CopyRequest {
                instruction: words.instruction,
                items,
                dest: words.dest.as_bytes(),
                cwd: &RootPath::new("/app")?,
                root: &root,
                protected: &self.protected,
                owner,
                mode: mode.as_ref(),
                exclude: &words.exclude,
                parents: words.parents,
                link: words.link,
                threads: self.threads,
                stop,
            })?;
            Ok(copied.changes)
        })
    }

    /// What the sources of `instruction` are.
    pub(crate) fn identify(&self, instruction: &str) -> copy::Result<Vec<SourceIdentity>> {
        self.identify_until(instruction, &|| false)
    }

    pub(crate) fn identify_until(
        &self,
        instruction: &str,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> copy::Result<Vec<SourceIdentity>> {
        let words = Words::new(instruction);
        self.with_items(&words, &|items| {
            copy::identify(&IdentifyRequest {
                items,
                exclude: &words.exclude,
                parents: words.parents,
                keeps_owners: words.chown.is_none(),
                whole_directories: words.mount,
                threads: self.threads,
                stop,
            })
        })
    }

    fn with_items<T>(
        &self,
        words: &Words<'_>,
        act: &dyn Fn(&[Item<'_>]) -> copy::Result<T>,
    ) -> copy::Result<T> {
        let context = RootDir::open(self.context.path())?;
        let ignore = RootPath::new(".dockerignore")?;
        let ignore = match context.metadata_opt(&ignore)? {
            Some(_) => IgnoreFile::parse(&context.read(&ignore, 1 << 20)?),
            None => Ok(IgnoreFile::default()),
        };
        let ignore = ignore.expect("because the cases have valid ignore files");
        let none = Protected::none();
        let origin = if words.from_image { Origin::Image } else { Origin::Context };
        let ignore = (!words.from_image).then_some(&ignore);
        let tree = Tree { root: &context, ignore, protected: &none, origin };
        let items: Vec<_> = words
            .sources
            .iter()
            .map(|source| match source.strip_prefix("<<") {
                Some(name) => Item::Inline { name: name.as_bytes(), content: b"text\n" },
                None => Item::Path { tree: &tree, path: source.as_bytes(), unpack: words.unpack },
            })
            .collect();
        act(&items)
    }
}

/// Whether the machine can run these tests.
pub(crate) fn can_run() -> bool {
    require_root("copies that belong to root")
}

/// Carries out `instruction` and compares the layer, line by line, indentation aside. Lines of
/// `expected` that begin with `error:` are the failure.
pub(crate) fn check(context: &str, root: &str, instruction: &str, expected: &str) {
    let trees = Trees::new(context, root);
    compare(&trees.run(instruction).unwrap_or_else(|error| error), instruction, expected);
}

/// The same for several instructions, one a line, of which the last one is compared.
pub(crate) fn check_last(context: &str, root: &str, instructions: &str, expected: &str) {
    let trees = Trees::new(context, root);
    let mut result = Ok(String::new());
    for instruction in instructions.lines().map(str::trim).filter(|line| !line.is_empty()) {
        result = trees.run(instruction);
    }
    compare(&result.unwrap_or_else(|error| error), instructions, expected);
}

pub(crate) fn compare(found: &str, what: &str, expected: &str) {
    let lines = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
    };
    assert_eq!(lines(found), lines(expected), "{what}");
}
