//! Extended attributes, and which of them belong in a layer.
#![allow(clippy::todo, unused_variables)]
use std::collections::BTreeMap;

/// Name → value.
pub type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// Whether an attribute belongs to the image and not to the machine it is built on.
#[must_use]
pub fn belongs_in_layer(name: &[u8]) -> bool {
    todo!()
}
