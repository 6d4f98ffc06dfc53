//! Owner, mode and times.
