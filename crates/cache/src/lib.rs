//! Identity of step results.
