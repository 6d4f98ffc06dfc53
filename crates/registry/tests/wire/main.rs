//! The client against registries on loopback: Debian's docker-registry, and one that misbehaves.

mod abandon;
mod access;
mod bulk;
mod corpus;
mod credentials;
mod faults;
mod index;
mod matrix;
mod mirrors;
mod real;
mod support;
