//! What each kind of step does: the one `match` over [`Op`].

use layer::WriteOptions;
use oci::{Descriptor, LayerRef, MediaType};
use plan::{Op, Step};
use rootfs::{ChangeSet, Protected, RootDir};

use crate::error::StepError;
use crate::event::LayerSummary;
use crate::reads::Reads;
use crate::stage::{Current, Executor, Outcome, Sealed};

/// What a step reads is of another kind of step.
const UNREAD: StepError = StepError::NotImplemented("a step without what it reads");

impl<'a> Executor<'a> {
    /// Carries out one step on the stage at work, with what it reads.
    pub(crate) fn carry_out(
        &self,
        current: &mut Current<'a>,
        step: &Step,
        reads: &Reads,
    ) -> Result<Outcome, StepError> {
        match &step.op {
            Op::Config(edits) => {
                for edit in edits {
                    current.draft.edit(edit);
                }
                Ok(Outcome::Config)
            }
            Op::Workdir(workdir) => {
                let root = self.root(current)?;
                let changes = crate::workdir::make(&root.dir, workdir, self.epoch())?;
                current.draft.edit(&oci::ConfigEdit::WorkingDir(workdir.path.clone()));
                current.baseline = None;
                self.seal(&root.dir, &changes, &root.protected)
            }
            Op::Copy(copy) => {
                let Reads::Tree(from, origin) = reads else { return Err(UNREAD) };
                self.copy(current, copy, (from, *origin))
            }
            Op::Add(add) => {
                let Reads::Fetched(fetched) = reads else { return Err(UNREAD) };
                self.add(current, add, fetched)
            }
            Op::Run(run) => {
                let Reads::Mounted(origins) = reads else { return Err(UNREAD) };
                self.run(current, run, origins)
            }
        }
    }

    /// Writes changes as a layer into the store, in one pass.
    pub(crate) fn seal(
        &self,
        root: &RootDir,
        changes: &ChangeSet,
        protected: &Protected,
    ) -> Result<Outcome, StepError> {
        let share = self.cores.share();
        let options = WriteOptions {
            compression: self.request.compression,
            threads: share.threads,
            epoch: self.epoch(),
            single_member: false,
            protected: protected.clone(),
        };
        let mut writer = self.blobs.store().writer()?;
        let stop = || self.stop.is_stopped();
        let written = layer::write(root, changes, &mut writer, &options, &stop);
        let written = written.map_err(|error| match error {
            // It is the disk of the state directory that is full, and not the image's.
            layer::Error::Sink(source) => {
                let path = writer.path().to_owned();
                StepError::Store(store::Error::Io { action: "write", path, source })
            }
            error => StepError::Layer(error),
        })?;
        writer.commit(&written.digest, written.size)?;
        self.warn_all(
            written.sockets.iter().map(|path| format!("the socket `{path}` is left out")).collect(),
        );
        let media_type = match written.compression {
            layer::Compression::None => MediaType::OciLayer,
            layer::Compression::Gzip { .. } => MediaType::OciLayerGzip,
            layer::Compression::Zstd { .. } => MediaType::OciLayerZstd,
        };
        let summary = LayerSummary {
            entries: written.entries,
            bytes: written.size,
            digest: written.digest.to_string(),
        };
        let descriptor = Descriptor::new(media_type, written.digest, written.size);
        let layer = LayerRef { descriptor, diff_id: written.diff_id };
        let uncompressed = written.uncompressed_size;
        Ok(Outcome::Layer(Box::new(Sealed { layer, summary, uncompressed })))
    }
}
