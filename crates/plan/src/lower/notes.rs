//! What the linter finds while a stage is lowered: whatever needs values.

use std::collections::BTreeSet;

use dockerfile::lint::Warning;
use dockerfile::{Span, Statement};
use oci::Platform;

use super::stage::Stage;
use crate::graph::BaseImageRequest;

impl Stage<'_> {
    /// Keeps a finding, unless the file or a comment above the instruction does not want it.
    fn note(&mut self, warning: Warning) {
        if self.lint.keeps(warning.rule) {
            self.warnings.push(warning);
        }
    }

    /// A declared argument without a value is nothing to complain about.
    pub(super) fn note_undefined(&mut self, names: &BTreeSet<String>) {
        if names.is_empty() {
            return;
        }
        let declared: Vec<&str> = self.args.iter().map(|(name, _)| name.as_str()).collect();
        let set = self.variables.names();
        for warning in Warning::undefined_vars(names, &declared, &set, self.span) {
            self.note(warning);
        }
    }

    pub(super) fn note_shell_form(&mut self, statement: &Statement) {
        if self.image.config.shell.is_empty() {
            self.note(Warning::json_args_recommended(statement));
        }
    }

    /// Looks at a word of `EXPOSE` as it is expanded.
    pub(super) fn note_port(&mut self, word: &str) {
        let (before, container) = word.rsplit_once(':').unwrap_or(("", word));
        if !before.is_empty() {
            self.note(Warning::expose_invalid_format(word, self.span));
        }
        if container
            .split_once('/')
            .is_some_and(|(_, protocol)| protocol.chars().any(char::is_uppercase))
        {
            self.note(Warning::expose_proto_casing(word, self.span));
        }
    }

    /// Only the first `WORKDIR` matters: a relative one after it is below a known directory.
    pub(super) fn note_relative_workdir(&mut self, path: &str) {
        if !self.workdir_set && !path.starts_with('/') {
            self.note(Warning::workdir_relative_path(path, self.span));
        }
    }

    /// Looks for a source that the ignore file keeps out of the context. With exceptions in it a
    /// directory may be excluded and still have files, so nothing is said then.
    pub(super) fn note_ignored(&mut self, verb: &str, source: &str) {
        let Some(ignore) = self.graph.options.ignore.as_ref() else { return };
        if ignore.is_empty() || ignore.has_exceptions() {
            return;
        }
        let path = glob::clean(source.as_bytes());
        // The context itself counts only where every name in it is excluded.
        let is_root = path == b"." || path == b"/";
        let excluded =
            if is_root { ignore.excludes(b"\x01every name\x01") } else { ignore.excludes(&path) };
        if excluded {
            let shown = String::from_utf8_lossy(&path).into_owned();
            self.note(Warning::copy_ignored_file(verb, &shown, self.span));
        }
    }

    /// An image of another processor is taken all the same; the user should know.
    pub(super) fn note_base_platform(&mut self, request: &BaseImageRequest, span: Span) {
        let actual = self.image.platform();
        let wanted = &request.platform;
        let empty = self.image.rootfs.diff_ids.is_empty()
            && self.image.history.iter().all(|entry| entry.empty_layer);
        if empty || (actual.os == wanted.os && actual.architecture == wanted.architecture) {
            return;
        }
        let shown = |platform: &Platform| platform.normalized().to_string();
        self.note(Warning::invalid_base_image_platform(
            &request.written,
            &shown(&actual),
            &shown(wanted),
            span,
        ));
    }
}
