//! Flags, environment, logging and error rendering.
