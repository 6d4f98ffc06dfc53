//! `--allow`: what the Dockerfile may ask for beyond a confined step, by BuildKit's names.

use crate::error::Error;

/// One thing that is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allow {
    /// `network.host`
    NetworkHost,
    /// `security.insecure`
    SecurityInsecure,
    /// `device`: every device.
    AnyDevice,
    /// `device=NAME`
    Device(String),
}

pub(crate) fn parse(text: &str) -> Result<Allow, Error> {
    match (text, text.strip_prefix("device=")) {
        ("network.host", _) => Ok(Allow::NetworkHost),
        ("security.insecure", _) => Ok(Allow::SecurityInsecure),
        ("device", _) => Ok(Allow::AnyDevice),
        (_, Some(name)) if !name.is_empty() => Ok(Allow::Device(name.to_owned())),
        _ => Err(Error::InvalidValue {
            value: text.to_owned(),
            flag: "--allow".to_owned(),
            reason: "must be network.host, security.insecure, device or device=NAME".to_owned(),
        }),
    }
}
