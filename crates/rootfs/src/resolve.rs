//! How a path is resolved inside a root: by the kernel, or component by component.

/// How paths are resolved inside the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// `openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)`.
    Kernel,
    /// Component by component, with links expanded by us.
    Walking,
}
