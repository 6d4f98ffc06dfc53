//! Certificate authorities: read once at start, before any rootfs is in place, and passed on as a
//! value. Later nothing looks for certificate files in a tree that an image filled.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::{Error, Result};

/// Bundles where distributions keep them, in Go's order.
const SYSTEM_FILES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Folders of single certificates, asked when no bundle was there.
const SYSTEM_DIRS: &[&str] = &["/etc/ssl/certs", "/etc/pki/tls/certs"];
/// A bundle larger than this is no bundle.
const FILE_LIMIT: u64 = 16 << 20;

/// Where authorities come from: the values of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
#[derive(Clone, Debug, Default)]
pub struct RootSources {
    /// Replaces the system's bundles.
    pub file: Option<PathBuf>,
    /// Replaces the system's folders; several are separated by `:`.
    pub dirs: Option<String>,
}

/// A set of trusted certificate authorities.
#[derive(Clone, Default)]
pub struct Roots {
    certificates: Arc<Vec<CertificateDer<'static>>>,
    origin: Option<String>,
}

impl std::fmt::Debug for Roots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Roots({} from {:?})", self.certificates.len(), self.origin)
    }
}

impl Roots {
    /// Reads the authorities as Go does: `SSL_CERT_FILE`, else the first system bundle; then
    /// every file of `SSL_CERT_DIR`, else, when no bundle was found, of the system's folders.
    /// When nothing is found, Mozilla's list as compiled in.
    pub fn load(sources: &RootSources) -> Self {
        let mut found = Vec::new();
        let mut origins = Vec::new();
        let files: Vec<PathBuf> = match &sources.file {
            Some(file) => vec![file.clone()],
            None => SYSTEM_FILES.iter().map(PathBuf::from).collect(),
        };
        if let Some((file, mut certificates)) = files.iter().find_map(|file| {
            let certificates = read_bundle(file);
            (!certificates.is_empty()).then_some((file, certificates))
        }) {
            found.append(&mut certificates);
            origins.push(file.display().to_string());
        }
        let dirs: Vec<PathBuf> = match &sources.dirs {
            Some(dirs) => {
                dirs.split(':').filter(|dir| !dir.is_empty()).map(PathBuf::from).collect()
            }
            None if found.is_empty() => SYSTEM_DIRS.iter().map(PathBuf::from).collect(),
            None => Vec::new(),
        };
        for dir in dirs {
            let before = found.len();
            found.extend(list(&dir).iter().flat_map(|file| read_bundle(file)));
            if found.len() > before {
                origins.push(dir.display().to_string());
            }
        }
        if found.is_empty() {
            return Self::compiled_in();
        }
        found.sort_by(|a, b| a.as_ref().cmp(b.as_ref()));
        found.dedup();
        Self { certificates: Arc::new(found), origin: Some(origins.join(", ")) }
    }

    /// Mozilla's list, as it was when this program was built.
    pub fn compiled_in() -> Self {
        Self {
            certificates: Arc::new(webpki_root_certs::TLS_SERVER_ROOT_CERTS.to_vec()),
            origin: Some("the list compiled in".to_owned()),
        }
    }

    /// This set and the certificates of one more PEM text, for one registry.
    pub fn with_pem(&self, pem: &[u8], name: &str) -> Result<Self> {
        let more = parse(pem);
        if more.is_empty() {
            return Err(Error::Setup {
                what: format!("the certificate `{name}`, which holds no PEM certificate"),
                source: None,
            });
        }
        let mut certificates = self.certificates.as_ref().clone();
        certificates.extend(more);
        Ok(Self { certificates: Arc::new(certificates), origin: self.origin.clone() })
    }

    /// Whether no authority is in the set.
    pub fn is_empty(&self) -> bool {
        self.certificates.is_empty()
    }

    /// The certificates, DER.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// Where the set was read, for the log.
    pub fn origin(&self) -> &str {
        self.origin.as_deref().unwrap_or("nowhere")
    }
}

/// The certificates of a PEM text that can serve as authorities; others are left out, as Go does.
fn parse(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem)
        .filter_map(std::result::Result::ok)
        .filter(|der| rustls::RootCertStore::empty().add(der.clone()).is_ok())
        .collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the rim: read once at start, on the builder's own /"
)]
fn read_bundle(path: &Path) -> Vec<CertificateDer<'static>> {
    let mut bytes = Vec::new();
    // A folder, a missing file or one we may not read has no certificates for us.
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        _ => return Vec::new(),
    }
    match std::fs::File::open(path).map(|file| file.take(FILE_LIMIT).read_to_end(&mut bytes)) {
        Ok(Ok(_)) => parse(&bytes),
        _ => Vec::new(),
    }
}

fn list(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut files: Vec<_> =
        entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_files_the_compiled_list_serves() {
        let nowhere = RootSources {
            file: Some("/nonexistent/bundle.pem".into()),
            dirs: Some("/nonexistent:/nonexistent2".to_owned()),
        };
        let roots = Roots::load(&nowhere);
        assert!(roots.certificates().len() > 50);
        assert_eq!(roots.origin(), "the list compiled in");
    }

    #[test]
    fn a_text_without_certificate_is_refused() {
        let error = Roots::default().with_pem(b"hello", "ca.pem").expect_err("holds none");
        assert_eq!(
            error.to_string(),
            "cannot set up http with the certificate `ca.pem`, which holds no PEM certificate"
        );
    }
}
