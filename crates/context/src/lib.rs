//! Obtains the build context.
