//! What the key of a service account signs: who asks, for what, of whom, and when (RFC 7523).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;
use url::Url;

use super::{File, SCOPE};
use crate::Result;
use crate::error::Error;

/// The longest life that Google allows.
const LIFETIME: i64 = 3600;

/// The assertion of a key file at a moment, for one token server.
pub(super) fn sign(file: &File<'_>, audience: &Url, now: i64) -> Result<String> {
    let (issuer, key) = (file.text("client_email")?, file.text("private_key")?);
    let mut header = json!({"alg": "RS256", "typ": "JWT"});
    if let Some(id) = file.json["private_key_id"].as_str() {
        header["kid"] = id.into();
    }
    let claims = json!({
        "iss": issuer,
        "scope": SCOPE,
        "aud": audience.as_str(),
        "iat": now,
        "exp": now.saturating_add(LIFETIME),
    });
    let encode = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
    let signed = format!(
        "{}.{}",
        encode(header.to_string().as_bytes()),
        encode(claims.to_string().as_bytes())
    );
    // What is wrong with a key is not said: a message might hold a part of it.
    let wrong = || Error::form(file.place, "holds a `private_key` that is no RSA key");
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| wrong())?;
    let key = any_supported_type(&key).map_err(|_| wrong())?;
    let signer = key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]).ok_or_else(wrong)?;
    let signature = signer.sign(signed.as_bytes()).map_err(|_| wrong())?;
    Ok(format!("{signed}.{}", encode(&signature)))
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use rustls::pki_types::alg_id;
    use serde_json::Value;
    use testkit::cloud::{GOOGLE_KEY, GOOGLE_PUBLIC_KEY};

    use super::*;

    fn sign_with(key: &str) -> Result<String> {
        let json = json!({"client_email": "a@b", "private_key": key, "private_key_id": "1"});
        let url = Url::parse("https://oauth2.googleapis.com/token").expect("an address");
        sign(&File { place: "`key.json`", json: &json }, &url, 1_000)
    }

    fn bytes(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).expect("because it is base64")
    }

    #[test]
    fn the_public_key_confirms_what_is_claimed() {
        let text = sign_with(GOOGLE_KEY).expect("because it is a key");
        let parts: Vec<&str> = text.split('.').collect();
        let [header, claims, signature] = parts.as_slice() else { panic!("{text}") };
        assert_eq!(bytes(header), br#"{"alg":"RS256","typ":"JWT","kid":"1"}"#);
        let claims: Value = serde_json::from_slice(&bytes(claims)).expect("because it is JSON");
        let expected = json!({
            "iss": "a@b",
            "scope": "https://www.googleapis.com/auth/cloud-platform",
            "aud": "https://oauth2.googleapis.com/token",
            "iat": 1_000,
            "exp": 4_600,
        });
        assert_eq!(claims, expected);
        let public: String =
            GOOGLE_PUBLIC_KEY.lines().filter(|line| !line.starts_with("---")).collect();
        let public = STANDARD.decode(public).expect("because it is base64");
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let rsa = provider
            .signature_verification_algorithms
            .all
            .iter()
            .find(|algorithm| algorithm.signature_alg_id() == alg_id::RSA_PKCS1_SHA256);
        let signed = text.rsplit_once('.').map(|(signed, _)| signed).unwrap_or_default();
        rsa.expect("because every TLS stack has it")
            .verify_signature(&public, signed.as_bytes(), &bytes(signature))
            .expect("because the key signed it");
    }

    #[test]
    fn what_is_wrong_with_a_key_is_not_told() {
        for key in ["s3cret", "-----BEGIN PRIVATE KEY-----\ns3cret\n-----END PRIVATE KEY-----"] {
            let error = sign_with(key).expect_err("it is no key").to_string();
            assert_eq!(error, "`key.json` holds a `private_key` that is no RSA key");
        }
    }
}
