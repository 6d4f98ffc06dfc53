//! Deterministic tar layers.
