//! HTTP as every remote crate needs it.
//!
//! Responsible for: certificate authorities, client certificates, proxies, name resolution, the
//! redirect rule, idle time-outs, caps on bodies, and when a failed request is tried again.
//!
//! Does not: know registries, tokens or contexts; read the environment (every value is passed
//! in); look at a status beyond redirects. What a 404 means is the caller's business.
//!
//! Read first: [`Settings`] (what a client is made from), [`Http`] (send a [`Request`], get a
//! [`Response`] whose body streams), [`RetryPolicy`].
#![forbid(unsafe_code)]

mod body;
mod configure;
mod dns;
mod error;
mod http;
mod inquiry;
mod proxy;
mod redirect;
mod resolver;
mod retry;
mod roots;
mod settings;
mod text;

pub use body::{Body, Piece, Pieces};
pub use configure::configure_blocking_client;
pub use error::Error;
pub use http::{Http, Request, Response};
pub use resolver::{Resolver, is_private_address};
pub use retry::{Backoff, RetryPolicy, Retryable, is_transient_status, retry, retry_after};
pub use roots::{RootSources, Roots};
pub use settings::{ClientIdentity, Proxies, Settings};
pub use text::{chain, http_date, printable, shown_url};

/// What this crate's functions return.
pub type Result<T> = std::result::Result<T, Error>;
