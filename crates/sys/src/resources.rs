//! How much memory and how many descriptors there are.
