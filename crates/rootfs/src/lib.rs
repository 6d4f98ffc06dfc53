//! Safe access to one directory tree.
