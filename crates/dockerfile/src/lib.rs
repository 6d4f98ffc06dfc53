//! Dockerfile text to a spanned syntax tree.
