//! The client against registries on loopback: Debian's docker-registry, and one that misbehaves.

mod access;
mod credentials;
mod faults;
mod index;
mod real;
mod support;
