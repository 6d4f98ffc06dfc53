//! What the linter is told while a stage is lowered: findings that need values.

use super::stage::Stage;

impl Stage<'_> {
    /// Of `CMD`, `ENTRYPOINT` and `HEALTHCHECK` only the last one of a stage counts.
    pub(super) fn note_once(&mut self, instruction: &'static str) {
        self.last.insert(instruction, self.span);
    }

    pub(super) fn note_secret(&mut self, _name: &str) {}
    pub(super) fn note_legacy(&mut self, _legacy: bool) {}
    pub(super) fn note_shell_form(&mut self) {}
    pub(super) fn note_port(&mut self, _spec: &str) {}
    pub(super) fn note_relative_workdir(&mut self, _path: &str) {}
    pub(super) fn note_ignored(&mut self, _verb: &str, _source: &str) {}
}
