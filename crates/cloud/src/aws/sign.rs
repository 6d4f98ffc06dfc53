//! Signature Version 4: what Amazon's services want to be shown instead of a key.

use http::{HeaderName, HeaderValue, Method, header};
use oci::Timestamp;
use sha2::{Digest as _, Sha256};
use transport::{Body, Request};
use url::Url;

use super::chain::Keys;
use crate::Result;
use crate::ask::secret_header;
use crate::error::Error;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// SHA-256's.
const BLOCK: usize = 64;

/// What a signature is good for.
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    /// Since 1970.
    pub(super) seconds: i64,
}

/// A signed POST to the root of a service.
pub(super) fn post(
    mut url: Url,
    headers: &[(HeaderName, String)],
    body: &'static [u8],
    keys: &Keys,
    scope: &Scope<'_>,
) -> Result<Request> {
    url.set_path("/");
    url.set_query(None);
    let time = basic_time(scope.seconds);
    let mut signed: Vec<(HeaderName, String)> = headers.to_vec();
    signed.push((header::HOST, host(&url)));
    signed.push((HeaderName::from_static("x-amz-date"), time.clone()));
    if let Some(session) = &keys.session {
        signed.push((HeaderName::from_static("x-amz-security-token"), session.clone()));
    }
    signed.sort_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
    let authorization = authorization("POST", &signed, body, keys, scope, &time);
    let mut request =
        Request::new(Method::POST, url).body(Body::Bytes(body.into())).within_origin();
    for (name, text) in &signed {
        // The connection writes the host by itself, and as it is signed.
        if name != header::HOST {
            let value = HeaderValue::try_from(text.as_str());
            let value = value.map_err(|_| Error::form("AWS_SESSION_TOKEN", "is no header text"))?;
            request = request.header(name.clone(), value);
        }
    }
    secret_header(request, header::AUTHORIZATION, &authorization, "the AWS access key")
}

fn authorization(
    method: &str,
    headers: &[(HeaderName, String)],
    body: &[u8],
    keys: &Keys,
    scope: &Scope<'_>,
    time: &str,
) -> String {
    let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(";");
    let lines: String =
        headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let canonical = format!("{method}\n/\n\n{lines}\n{names}\n{}", hex(&Sha256::digest(body)));
    let date = time.split('T').next().unwrap_or_default();
    let place = format!("{date}/{}/{}/aws4_request", scope.region, scope.service);
    let hash = hex(&Sha256::digest(canonical.as_bytes()));
    let text = format!("{ALGORITHM}\n{time}\n{place}\n{hash}");
    let start = format!("AWS4{}", keys.secret).into_bytes();
    let key = [date, scope.region, scope.service, "aws4_request"]
        .iter()
        .fold(start, |key, part| hmac(&key, part.as_bytes()).to_vec());
    let signature = hex(&hmac(&key, text.as_bytes()));
    format!(
        "{ALGORITHM} Credential={}/{place}, SignedHeaders={names}, Signature={signature}",
        keys.id
    )
}

/// The host as it stands in the header: with its port, unless that is the scheme's own.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or(host.to_owned(), |port| format!("{host}:{port}"))
}

/// A moment as `20150830T123600Z`.
fn basic_time(seconds: i64) -> String {
    Timestamp::new(seconds, 0).to_string().replace(['-', ':'], "")
}

/// HMAC with SHA-256 (RFC 2104).
fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut block = [0u8; BLOCK];
    if key.len() > BLOCK {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let round = |pad: u8, text: &[u8]| {
        let mut hash = Sha256::new();
        hash.update(block.map(|byte| byte ^ pad));
        hash.update(text);
        <[u8; 32]>::from(hash.finalize())
    };
    round(0x5c, &round(0x36, text))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first cases of RFC 4231, and the one with a key longer than a block.
    #[test]
    fn hmac_is_that_of_the_rfc() {
        let check = |key: &[u8], text: &[u8], expected: &str| {
            assert_eq!(hex(&hmac(key, text)), expected);
        };
        check(
            &[0x0b; 20],
            b"Hi There",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        );
        check(
            b"Jefe",
            b"what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        );
        check(
            &[0xaa; 131],
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        );
    }

    fn keys(session: Option<&str>) -> Keys {
        Keys {
            id: "AKIDEXAMPLE".to_owned(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            session: session.map(str::to_owned),
        }
    }

    /// Amazon's own example of a signature, `get-vanilla` of its test suite.
    #[test]
    fn a_signature_is_that_of_amazons_example() {
        let time = basic_time(1_440_938_160);
        assert_eq!(time, "20150830T123600Z");
        let headers = [
            (header::HOST, "example.amazonaws.com".to_owned()),
            (HeaderName::from_static("x-amz-date"), time.clone()),
        ];
        let scope = Scope { region: "us-east-1", service: "service", seconds: 1_440_938_160 };
        assert_eq!(
            authorization("GET", &headers, b"", &keys(None), &scope, &time),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=host;x-amz-date, \
             Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
        );
    }

    #[test]
    fn a_session_is_signed_as_well() {
        let url = Url::parse("https://api.ecr.eu-west-1.amazonaws.com/x?y").expect("an address");
        let scope = Scope { region: "eu-west-1", service: "ecr", seconds: 1_440_938_160 };
        let headers = [(HeaderName::from_static("x-amz-target"), "T".to_owned())];
        let request = post(url, &headers, b"{}", &keys(Some("session")), &scope)
            .expect("because all of it is text");
        assert_eq!(request.url.as_str(), "https://api.ecr.eu-west-1.amazonaws.com/");
        assert_eq!(request.headers["x-amz-security-token"], "session");
        let shown = request.headers[header::AUTHORIZATION].to_str().expect("because it is text");
        assert!(
            shown.contains("SignedHeaders=host;x-amz-date;x-amz-security-token;x-amz-target,"),
            "{shown}"
        );
    }
}
