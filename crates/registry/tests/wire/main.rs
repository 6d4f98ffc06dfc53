//! The client against registries on loopback: Debian's docker-registry, and one that misbehaves.

mod access;
mod credentials;
mod faults;
mod index;
mod mirrors;
mod real;
mod support;
