//! Which proxy a request goes through, by the rules of Go's `httpproxy`, which `NO_PROXY` is written
//! for: suffixes of names, addresses, networks, each with a port or without.
//!
//! Pure: *does not* connect.

use std::net::IpAddr;

use url::{Host, Url};

use crate::{Error, Proxies, Result};

/// The proxies, and who is asked directly.
#[derive(Clone)]
pub(crate) struct ProxyRules {
    http: Option<Url>,
    https: Option<Url>,
    direct: Vec<Direct>,
}

/// Hosts that are asked directly.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Direct {
    Everything,
    Network {
        address: IpAddr,
        bits: u8,
    },
    Address {
        address: IpAddr,
        port: Option<u16>,
    },
    /// What ends with this, which begins with a dot; and what is the rest of it.
    Domain {
        suffix: String,
        itself: bool,
        port: Option<u16>,
    },
}

impl ProxyRules {
    pub(crate) fn new(proxies: &Proxies) -> Result<Self> {
        let no_proxy = proxies.no_proxy.as_deref().unwrap_or_default();
        Ok(Self {
            http: proxies.http.as_deref().map(|text| proxy(text, "http")).transpose()?,
            https: proxies.https.as_deref().map(|text| proxy(text, "https")).transpose()?,
            direct: no_proxy.split(',').filter_map(|entry| Direct::parse(entry.trim())).collect(),
        })
    }

    /// Whether there is no proxy at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.http.is_none() && self.https.is_none()
    }

    /// The proxy for an address; `None` to ask directly. This machine is always asked directly.
    pub(crate) fn proxy(&self, url: &Url) -> Option<&Url> {
        let proxy = match url.scheme() {
            "http" => self.http.as_ref(),
            "https" => self.https.as_ref(),
            _ => None,
        }?;
        let port = url.port_or_known_default();
        let direct = match url.host()? {
            Host::Domain(name) => {
                let name = name.trim_end_matches('.').to_ascii_lowercase();
                name == "localhost" || self.direct.iter().any(|rule| rule.has_name(&name, port))
            }
            Host::Ipv4(address) => self.is_direct(address.into(), port),
            Host::Ipv6(address) => self.is_direct(address.into(), port),
        };
        (!direct).then_some(proxy)
    }

    fn is_direct(&self, address: IpAddr, port: Option<u16>) -> bool {
        address.is_loopback() || self.direct.iter().any(|rule| rule.has_address(address, port))
    }
}

/// The address of a proxy; without a scheme it speaks HTTP.
fn proxy(text: &str, for_scheme: &str) -> Result<Url> {
    let known = |url: &Url| {
        matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h") && url.has_host()
    };
    let found = Url::parse(text).ok().filter(known);
    let bare = || (!text.contains("://")).then(|| format!("http://{text}"));
    let found = found.or_else(|| Url::parse(&bare()?).ok().filter(known));
    // The text may hold a password.
    found.ok_or_else(|| Error::Setup {
        what: format!("the {for_scheme} proxy, which is no address"),
        source: None,
    })
}

impl Direct {
    /// One entry of the list; an empty one says nothing.
    fn parse(entry: &str) -> Option<Self> {
        let entry = entry.to_ascii_lowercase();
        if entry == "*" {
            return Some(Self::Everything);
        }
        if let Some((address, bits)) = entry.split_once('/') {
            let address: IpAddr = address.parse().ok()?;
            let bits: u8 = bits.parse().ok()?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            return (bits <= most).then_some(Self::Network { address, bits });
        }
        if let Ok(address) = unbracketed(&entry).parse() {
            return Some(Self::Address { address, port: None });
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (entry.as_str(), None),
        };
        if let Ok(address) = unbracketed(host).parse() {
            return Some(Self::Address { address, port });
        }
        let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
        match host.strip_prefix('.') {
            _ if host.is_empty() => None,
            Some(_) => Some(Self::Domain { suffix: host.to_owned(), itself: false, port }),
            None => Some(Self::Domain { suffix: format!(".{host}"), itself: true, port }),
        }
    }

    fn has_name(&self, name: &str, asked: Option<u16>) -> bool {
        match self {
            Self::Everything => true,
            Self::Domain { suffix, itself, port } => {
                let fits = name.ends_with(suffix.as_str()) || *itself && name == &suffix[1..];
                fits && (port.is_none() || *port == asked)
            }
            Self::Network { .. } | Self::Address { .. } => false,
        }
    }

    fn has_address(&self, asked: IpAddr, asked_port: Option<u16>) -> bool {
        match self {
            Self::Everything => true,
            Self::Network { address, bits } => is_within(asked, *address, *bits),
            Self::Address { address, port } => {
                *address == asked && (port.is_none() || *port == asked_port)
            }
            Self::Domain { .. } => false,
        }
    }
}

fn unbracketed(text: &str) -> &str {
    text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text)
}

fn is_within(asked: IpAddr, network: IpAddr, bits: u8) -> bool {
    let (asked, network, most) = match (asked, network) {
        (IpAddr::V4(asked), IpAddr::V4(network)) => {
            (u128::from(asked.to_bits()), u128::from(network.to_bits()), 32)
        }
        (IpAddr::V6(asked), IpAddr::V6(network)) => (asked.to_bits(), network.to_bits(), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
    };
    let dropped = most - u32::from(bits);
    asked.checked_shr(dropped).unwrap_or(0) == network.checked_shr(dropped).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(http: &str, https: &str, no_proxy: &str) -> Result<ProxyRules> {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let no_proxy = some(no_proxy);
        ProxyRules::new(&Proxies { http: some(http), https: some(https), no_proxy })
    }

    /// Whether an address is asked directly under this `NO_PROXY`.
    fn check(no_proxy: &str, url: &str, direct: bool) {
        let rules = rules("http://p:1", "http://p:2", no_proxy).expect("the proxies are addresses");
        let url = Url::parse(url).expect("the cases are addresses");
        assert_eq!(rules.proxy(&url).is_none(), direct, "{no_proxy} {url}");
    }

    #[test]
    fn who_is_asked_directly() {
        check("", "https://r.example/", false);
        check("", "http://localhost:5000/", true);
        check("", "http://127.0.0.9:5000/", true);
        check("", "http://[::1]:5000/", true);
        check("", "http://10.0.0.1/", false);
        check("*", "https://r.example/", true);
        check("*", "https://10.0.0.1/", true);
        check(" r.example , x", "https://r.example/", true);
        check("R.Example", "https://a.r.example/", true);
        check("r.example", "https://notr.example/", false);
        check(".r.example", "https://a.b.r.example/", true);
        check(".r.example", "https://r.example/", false);
        check("*.r.example", "https://a.r.example/", true);
        check("*.r.example", "https://r.example/", false);
        check("r.example:443", "https://r.example/", true);
        check("r.example:443", "http://r.example/", false);
        check("r.example:5000", "http://r.example:5000/", true);
        check("10.1.0.0/16", "http://10.1.2.3/", true);
        check("10.1.0.0/16", "http://10.2.0.1/", false);
        check("10.1.0.0/16", "http://r.example/", false);
        check("0.0.0.0/0", "http://8.8.8.8/", true);
        check("2001:db8::/32", "http://[2001:db8:1::1]/", true);
        check("2001:db8::/32", "http://[2001:db9::1]/", false);
        check("::/0", "http://8.8.8.8/", false);
        check("10.0.0.1", "http://10.0.0.1:5000/", true);
        check("10.0.0.1:5000", "http://10.0.0.1:5000/", true);
        check("10.0.0.1:5001", "http://10.0.0.1:5000/", false);
        check("[2001:db8::1]:5000", "http://[2001:db8::1]:5000/", true);
        check("2001:db8::1", "http://[2001:db8::1]/", true);
        // Entries that say nothing spoil none of the others.
        check(",,10.0.0.0/99,x:y,:80,r.example", "https://r.example/", true);
    }

    #[test]
    fn proxies() {
        let check = |http: &str, https: &str, url: &str, expected: &str| {
            let url = Url::parse(url).expect("the cases are addresses");
            let got = match rules(http, https, "") {
                Ok(rules) => rules.proxy(&url).map(Url::to_string).unwrap_or_default(),
                Err(error) => error.to_string(),
            };
            assert_eq!(got, expected);
        };
        check("http://a:1", "https://b:2", "http://r.example/", "http://a:1/");
        check("http://a:1", "https://b:2", "https://r.example/", "https://b:2/");
        check("http://a:1", "", "https://r.example/", "");
        check("a:1", "", "http://r.example/", "http://a:1/");
        check("10.0.0.1:3128", "", "http://r.example/", "http://10.0.0.1:3128/");
        check("user:secret@a:1", "", "http://r.example/", "http://user:secret@a:1/");
        check("socks5h://a:1", "", "http://r.example/", "socks5h://a:1");
        let refused = "cannot set up http with the http proxy, which is no address";
        check("http://user:secret@", "", "http://r.example/", refused);
    }
}
