//! One process inside the root.
