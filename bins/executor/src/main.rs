//! Builds an image.

fn main() {}
