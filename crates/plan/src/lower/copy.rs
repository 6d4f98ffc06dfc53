//! `COPY` and `ADD`: where the sources are, and what the flags come down to.

use dockerfile::{Add, Copy, Heredoc, Transfer, word};
use oci::Digest;

use super::chmod;
use super::stage::{Outcome, Stage};
use crate::error::{Error, ErrorKind};
use crate::gitref::{self, GitRef};
use crate::graph::Source;
use crate::model::{
    AddOp, AddSource, CopyOp, CopySource, HistoryKind, InlineFile, Op, RemoteFile, Selection,
    StepInput,
};

/// What both instructions expand in the same order.
struct Expanded {
    chown: Option<String>,
    chmod: Option<String>,
    checksum: Option<String>,
    sources: Vec<String>,
    dest: String,
    inline: Vec<InlineFile>,
}

/// What a source's text says it is.
enum Kind {
    Local,
    Url,
    Git(GitRef),
}

impl Stage<'_> {
    pub(super) fn copy(&mut self, copy: &Copy, from: Option<&Source>) -> Result<Outcome, Error> {
        let Transfer { link, exclude, .. } = &copy.transfer;
        let parts = self.expand_transfer(&copy.transfer, None)?;
        let from = self.copy_source(from, copy.from.as_deref())?;
        self.check_chmod(parts.chmod.as_deref())?;
        for source in &parts.sources {
            match kind(source).map_err(|error| self.error(error))? {
                Kind::Local => {
                    if from == CopySource::Context {
                        self.note_ignored("Copy", source);
                    }
                }
                Kind::Url => return Err(self.error(ErrorKind::CopyUrl)),
                Kind::Git(_) => return Err(self.error(ErrorKind::CopyGit)),
            }
        }
        let selection = Selection {
            sources: parts.sources.clone(),
            exclude: exclude.clone(),
            parents: copy.parents,
        };
        let inputs = match &from {
            _ if parts.sources.is_empty() => Vec::new(),
            CopySource::Context => vec![StepInput::Context(selection)],
            CopySource::Stage(id) => vec![StepInput::Stage(*id, selection)],
            CopySource::Image(id) => vec![StepInput::Image(id.clone(), selection)],
            CopySource::Scratch => Vec::new(),
        };
        let created_by = created_by("COPY", &parts, copy.parents);
        let op = Op::Copy(CopyOp {
            from,
            sources: parts.sources,
            inline: parts.inline,
            dest: parts.dest,
            cwd: self.cwd(),
            link: *link && parts.chmod.is_none(),
            chown: parts.chown,
            chmod: parts.chmod,
            parents: copy.parents,
            exclude: exclude.clone(),
        });
        Ok(Outcome { op, inputs, created_by, history: HistoryKind::Layer })
    }

    pub(super) fn add(&mut self, add: &Add) -> Result<Outcome, Error> {
        let Transfer { link, exclude, .. } = &add.transfer;
        let parts = self.expand_transfer(&add.transfer, add.checksum.as_deref())?;
        self.check_chmod(parts.chmod.as_deref())?;
        self.check_checksum(&parts)?;
        let mut sources = Vec::with_capacity(parts.sources.len());
        let mut inputs = Vec::new();
        let mut local = Vec::new();
        for source in &parts.sources {
            match self.add_source(source, add, parts.checksum.as_deref())? {
                AddSource::Local(path) => {
                    self.note_ignored("Add", &path);
                    local.push(path.clone());
                    sources.push(AddSource::Local(path));
                }
                AddSource::Url(file) => {
                    inputs.push(StepInput::Url(file.clone()));
                    sources.push(AddSource::Url(file));
                }
                AddSource::Git(git) => {
                    inputs.push(StepInput::Git(git.clone()));
                    sources.push(AddSource::Git(git));
                }
            }
        }
        if !local.is_empty() {
            let selection = Selection { sources: local, exclude: exclude.clone(), parents: false };
            inputs.insert(0, StepInput::Context(selection));
        }
        let created_by = created_by("ADD", &parts, false);
        let op = Op::Add(AddOp {
            sources,
            inline: parts.inline,
            dest: parts.dest,
            cwd: self.cwd(),
            link: *link && parts.chmod.is_none(),
            chown: parts.chown,
            chmod: parts.chmod,
            exclude: exclude.clone(),
            unpack: add.unpack,
        });
        Ok(Outcome { op, inputs, created_by, history: HistoryKind::Layer })
    }

    fn expand_transfer(
        &mut self,
        transfer: &Transfer,
        checksum: Option<&str>,
    ) -> Result<Expanded, Error> {
        let chown = self.expand_option(transfer.chown.as_deref())?;
        let chmod = self.expand_option(transfer.chmod.as_deref())?;
        let checksum = self.expand_option(checksum)?;
        let sources: Result<Vec<String>, Error> =
            transfer.sources.iter().map(|source| self.expand(source)).collect();
        let sources = sources?;
        let dest = self.expand(&transfer.dest)?;
        let inline: Result<Vec<InlineFile>, Error> =
            transfer.heredocs.iter().map(|heredoc| self.inline_file(heredoc)).collect();
        Ok(Expanded { chown, chmod, checksum, sources, dest, inline: inline? })
    }

    fn inline_file(&mut self, heredoc: &Heredoc) -> Result<InlineFile, Error> {
        let body = heredoc.body();
        let content = if heredoc.expand {
            let expanded =
                word::expand_heredoc(&body, &self.variables).map_err(|error| self.error(error))?;
            self.noted(expanded)
        } else {
            body
        };
        self.file(&heredoc.name, content)
    }

    fn copy_source(
        &self,
        source: Option<&Source>,
        written: Option<&str>,
    ) -> Result<CopySource, Error> {
        match source {
            None => Ok(CopySource::Context),
            Some(Source::Scratch) => Ok(CopySource::Scratch),
            Some(Source::Image(request)) => Ok(CopySource::Image(request.id.clone())),
            Some(Source::Stage(id)) if *id < self.id => Ok(CopySource::Stage(*id)),
            Some(Source::Stage(id)) => Err(self.error(ErrorKind::CopyOrder {
                from: written.map_or_else(|| self.label_of(*id), str::to_owned),
                stage: self.label_of(self.id),
            })),
        }
    }

    fn check_chmod(&self, mode: Option<&str>) -> Result<(), Error> {
        mode.map_or(Ok(()), |mode| chmod::check(mode).map_err(|kind| self.error(kind)))
    }

    /// A checksum is about one thing that is fetched.
    fn check_checksum(&self, parts: &Expanded) -> Result<(), Error> {
        if parts.checksum.is_none() {
            return Ok(());
        }
        let [source] = parts.sources.as_slice() else {
            return Err(self.error(ErrorKind::ChecksumSources));
        };
        match kind(source) {
            Ok(Kind::Local) => Err(self.error(ErrorKind::ChecksumLocal)),
            Ok(Kind::Url | Kind::Git(_)) => Ok(()),
            Err(error) => Err(self.error(error)),
        }
    }

    fn add_source(
        &self,
        source: &str,
        add: &Add,
        checksum: Option<&str>,
    ) -> Result<AddSource, Error> {
        match kind(source).map_err(|error| self.error(error))? {
            Kind::Local => Ok(AddSource::Local(source.to_owned())),
            Kind::Url => {
                let digest = |text: &str| match Digest::check(text) {
                    Ok(_) => Ok(Digest::parse(text).ok()),
                    Err(fault) => Err(self.error(ErrorKind::ChecksumDigest(fault))),
                };
                Ok(AddSource::Url(RemoteFile {
                    url: source.to_owned(),
                    file_name: gitref::file_name(source),
                    checksum: checksum.map(digest).transpose()?.flatten(),
                }))
            }
            Kind::Git(mut git) => {
                match (add.keep_git_dir, git.keep_git_dir) {
                    (Some(flag), Some(reference)) if flag != reference => {
                        return Err(self.error(ErrorKind::KeepGitDir));
                    }
                    (flag, reference) => git.keep_git_dir = reference.or(flag),
                }
                match (checksum, &git.checksum) {
                    (Some(flag), Some(reference)) if flag != reference => {
                        let (flag, reference) = (flag.to_owned(), reference.clone());
                        return Err(self.error(ErrorKind::ChecksumMismatch { flag, reference }));
                    }
                    (Some(flag), None) => git.checksum = Some(flag.to_owned()),
                    _ => {}
                }
                Ok(AddSource::Git(git))
            }
        }
    }
}

/// A repository, then an address, then a path.
fn kind(source: &str) -> Result<Kind, ErrorKind> {
    match gitref::parse(source) {
        Ok(git) if !git.indistinguishable_from_local => Ok(Kind::Git(git)),
        Err(error) if error.is_git() => Err(ErrorKind::GitRef(error)),
        _ if source.starts_with("http://") || source.starts_with("https://") => Ok(Kind::Url),
        _ => Ok(Kind::Local),
    }
}

fn created_by(instruction: &str, parts: &Expanded, parents: bool) -> String {
    let mut text = instruction.to_owned();
    if parents {
        text.push_str(" --parents");
    }
    for (flag, value) in [("--chown", &parts.chown), ("--chmod", &parts.chmod)] {
        if let Some(value) = value {
            text.push_str(&format!(" {flag}={value}"));
        }
    }
    for source in &parts.sources {
        text.push_str(&format!(" {source}"));
    }
    for file in &parts.inline {
        text.push_str(&format!(" <<{}", file.name));
    }
    format!("{text} {} # buildkit", parts.dest)
}
