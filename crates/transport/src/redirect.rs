//! Which redirects are followed, and what goes along.

use ::http::{Method, StatusCode};
use url::{Host, Url};

use crate::text::{printable, shown_url};
use crate::{Error, Result};

/// How many redirects one request may take.
pub(crate) const MAX_HOPS: usize = 10;

/// What an answer says about where to go on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is the answer.
    Stay,
    /// Ask there. `same_origin` says whether credentials may go along.
    Follow { to: Url, same_origin: bool },
}

/// Judges one answer. A method with a body is repeated only by 307 and 308, which promise that it
/// is meant; the others are no redirect for it.
pub(crate) fn judge(
    method: &Method,
    from: &Url,
    status: StatusCode,
    location: Option<&str>,
) -> Result<Step> {
    let safe = method == Method::GET || method == Method::HEAD;
    let redirects = match status.as_u16() {
        301..=303 => safe,
        307 | 308 => true,
        _ => false,
    };
    if !redirects {
        return Ok(Step::Stay);
    }
    let refuse = |why: String| Error::Redirect { url: shown_url(from), why };
    let location = location.ok_or_else(|| refuse("without saying where".to_owned()))?;
    let to = from
        .join(location)
        .map_err(|_| refuse(format!("to `{}`, which is no address", printable(location, 200))))?;
    match (from.scheme(), to.scheme()) {
        ("http" | "https", "https") | ("http", "http") => {}
        ("https", "http") => return Err(refuse("from https to http".to_owned())),
        (_, other) => return Err(refuse(format!("to the scheme `{}`", printable(other, 40)))),
    }
    if is_link_local(&to) && !is_link_local(from) {
        // Where clouds keep their metadata service; no registry stores its blobs there.
        return Err(refuse(format!("to the link-local address `{}`", shown_url(&to))));
    }
    let same_origin = from.origin() == to.origin();
    Ok(Step::Follow { to, same_origin })
}

fn is_link_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_link_local(),
        Some(Host::Ipv6(ip)) => {
            ip.is_unicast_link_local() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_link_local())
        }
        Some(Host::Domain(_)) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &str, from: &str, status: u16, location: &str, expected: &str) {
        let method: Method = method.parse().expect("a method");
        let from = Url::parse(from).expect("an address");
        let status = StatusCode::from_u16(status).expect("a status");
        let location = (!location.is_empty()).then_some(location);
        let got = match judge(&method, &from, status, location) {
            Ok(Step::Stay) => "stay".to_owned(),
            Ok(Step::Follow { to, same_origin: true }) => format!("{to} with credentials"),
            Ok(Step::Follow { to, same_origin: false }) => format!("{to} without"),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expected);
    }

    #[test]
    fn rules() {
        check("GET", "https://a/x", 200, "", "stay");
        check("GET", "https://a/x", 302, "/y", "https://a/y with credentials");
        check("GET", "https://a/x", 307, "https://b/y", "https://b/y without");
        check("GET", "https://a/x", 307, "https://a:444/y", "https://a:444/y without");
        check("GET", "http://a/x", 307, "https://a/y", "https://a/y without");
        check(
            "GET",
            "https://a/x",
            307,
            "http://a/y",
            "`https://a/x` redirects from https to http",
        );
        check(
            "GET",
            "https://a/x",
            307,
            "file:///etc/passwd",
            "`https://a/x` redirects to the scheme `file`",
        );
        check("GET", "https://a/x", 307, "", "`https://a/x` redirects without saying where");
        check("GET", "https://a/x", 304, "/y", "stay");
        check("PUT", "https://a/x", 302, "/y", "stay");
        check("PUT", "https://a/x", 307, "/y", "https://a/y with credentials");
        check(
            "GET",
            "http://a/x",
            307,
            "http://169.254.169.254/latest",
            "`http://a/x` redirects to the link-local address `http://169.254.169.254/latest`",
        );
        check("GET", "http://169.254.1.1/x", 307, "/y", "http://169.254.1.1/y with credentials");
    }
}
