//! Go path matching and .dockerignore semantics.
