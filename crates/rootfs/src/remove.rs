//! Removing trees.
use crate::RootPath;

/// What came of removing a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// What is still there: protected paths and mount points (not the directories above them).
    pub stayed: Vec<RootPath>,
}
