//! Entering namespaces for the whole program, before it has a second thread.
