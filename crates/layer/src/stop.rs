//! How a caller asks long work to end.

/// Asked between files and between pieces of large ones.
pub trait StopCheck {
    /// Whether to give up now.
    fn is_stopped(&self) -> bool;
}

impl<F: Fn() -> bool> StopCheck for F {
    fn is_stopped(&self) -> bool {
        self()
    }
}
