//! Signals as a stop handle.
