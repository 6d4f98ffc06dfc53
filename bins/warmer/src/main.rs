//! Fills the base-image cache.

fn main() {}
