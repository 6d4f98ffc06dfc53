//! HTTP as every remote crate needs it.
