//! Maps between the ids in a user namespace and those outside.
