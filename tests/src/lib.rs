//! What the end-to-end tests share: a registry with base images, the executor, pods, other readers.
//!
//! Drives the *built* programs from outside, as a person would, and looks at the result with other
//! people's tools. Nothing here links our libraries but the vocabulary of images. Read [`Lab`] first;
//! the tests themselves are in `tests/e2e`.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "tests look at the machine from outside")]

mod build;
pub mod buildah;
mod image;
mod lab;
mod packages;
pub mod pod;
mod shell;
pub mod tree;
pub mod user;

pub use build::{Build, Outcome};
pub use image::{PulledImage, unpack_layout};
pub use lab::{Lab, repository};
pub use shell::{Finished, Tool, eventually, tool, wait};
