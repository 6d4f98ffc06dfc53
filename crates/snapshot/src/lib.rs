//! What changed in a root since a baseline.
