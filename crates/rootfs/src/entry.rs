//! Names in directories.
