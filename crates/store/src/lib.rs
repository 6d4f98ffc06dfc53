//! Local content-addressed blobs.
