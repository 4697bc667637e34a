//! The certificate of a daemon's HTTPS endpoint: its own, made at start and renewed in time, or the one in a folder; or, where callers have
//! to trust what several replicas present, one of an authority that they share ([`issue`], [`Shared`]).

mod shared;

pub use shared::{Issued, Shared, issue};

use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};
use rustls::{
    crypto::{CryptoProvider, ring::default_provider},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

/// How long an own certificate is valid, in days: a year, as controller-runtime's.
const VALID_DAYS: i64 = 365;
/// Its begin lies so many days back: clocks differ.
const BACKDATED_DAYS: i64 = 1;
/// When an own certificate is replaced: after two thirds of its time.
pub const RENEW_AFTER: Duration = Duration::from_secs(243 * 24 * 3600);
/// How often the files are looked at, at most: a rotated Secret appears in a pod within about a minute anyway.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Where the certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Made here, for these DNS names and IP addresses. Nobody can verify it: it encrypts, and the caller's token is what is checked.
    SelfSigned(Vec<String>),
    /// `tls.crt` and `tls.key` (PEM) in this folder, as a mounted Secret of type `kubernetes.io/tls` has them; read again when they change.
    Files(PathBuf),
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("the certificate's file {path} cannot be read: {source}: mount a Secret of type kubernetes.io/tls there")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file, or the key of a Secret, holds something else.
    #[error("{place} holds no {what} in PEM format: {source}")]
    Pem {
        /// Where it is.
        place: String,
        /// Certificate or private key.
        what: &'static str,
        /// What is wrong.
        source: rustls::pki_types::pem::Error,
    },
    /// The key does not belong to the certificate, or is of a kind that TLS does not use.
    #[error("certificate and private key cannot be used together: {0}")]
    Unusable(#[from] rustls::Error),
    /// No certificate could be made.
    #[error("no certificate could be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// The certificate in force.
pub struct Certificate {
    source: Source,
    provider: Arc<CryptoProvider>,
    current: Mutex<Current>,
}

struct Current {
    key: Arc<CertifiedKey>,
    /// When it was made, or the files were looked at.
    at: SystemTime,
    /// What the files held.
    files: (Vec<u8>, Vec<u8>),
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the key.
        f.debug_struct("Certificate").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Certificate {
    /// Makes or reads it.
    ///
    /// # Errors
    /// Files that are missing or do not fit together.
    pub fn new(source: Source, now: SystemTime) -> Result<Self, CertificateError> {
        let provider = Arc::new(default_provider());
        let current = match &source {
            Source::SelfSigned(names) => Current::make(names, &provider, now)?,
            Source::Files(folder) => Current::read(folder, &provider, now)?,
        };
        Ok(Self { source, provider, current: Mutex::new(current) })
    }

    /// The certificate for a connection at this moment: renewed, or read again, when it is time. What fails keeps the old one and says so.
    #[must_use]
    pub fn current(&self, now: SystemTime) -> Arc<CertifiedKey> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that went back makes the age unknown: look.
        let age = now.duration_since(current.at).unwrap_or(Duration::MAX);
        let next = match &self.source {
            Source::SelfSigned(names) if age >= RENEW_AFTER => Some(Current::make(names, &self.provider, now)),
            Source::Files(folder) if age >= LOOK_EVERY => Some(Current::read(folder, &self.provider, now)),
            _ => None,
        };
        match next {
            Some(Ok(next)) => {
                if next.files != current.files {
                    tracing::info!("the certificate of the HTTPS endpoint has changed and is in force");
                }
                *current = next;
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "the certificate of the HTTPS endpoint stays the old one");
                current.at = now;
            }
            None => {}
        }
        Arc::clone(&current.key)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current(SystemTime::now()))
    }
}

/// What all certificates of ours have in common.
fn params(names: &[String], now: SystemTime) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::OrganizationName, "Herald");
    if let Some(name) = names.first() {
        params.distinguished_name.push(DnType::CommonName, name.as_str());
    }
    let today = jiff::Timestamp::try_from(now).unwrap_or_default().to_zoned(jiff::tz::TimeZone::UTC).date();
    let day = |offset: i64| {
        let date = today.checked_add(jiff::Span::new().days(offset)).unwrap_or(today);
        let [month, day] = [date.month(), date.day()].map(|number| u8::try_from(number).unwrap_or(1));
        date_time_ymd(date.year().into(), month, day)
    };
    params.not_before = day(-BACKDATED_DAYS);
    params.not_after = day(VALID_DAYS);
    Ok(params)
}

/// What PEM texts hold, each with its place.
fn certified(
    (place, certificate): (String, &[u8]),
    (key_place, key): (String, &[u8]),
    provider: &CryptoProvider,
) -> Result<CertifiedKey, CertificateError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(|source| CertificateError::Pem { place, what: "certificate", source })?;
    let private = PrivateKeyDer::from_pem_slice(key).map_err(|source| CertificateError::Pem {
        place: key_place,
        what: "private key",
        source,
    })?;
    Ok(CertifiedKey::from_der(chain, private, provider)?)
}

impl Current {
    fn make(names: &[String], provider: &CryptoProvider, now: SystemTime) -> Result<Self, CertificateError> {
        let params = params(names, now)?;
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = CertifiedKey::from_der(vec![certificate.der().clone()], private, provider)?;
        Ok(Self { key: Arc::new(key), at: now, files: (Vec::new(), Vec::new()) })
    }

    fn read(folder: &Path, provider: &CryptoProvider, now: SystemTime) -> Result<Self, CertificateError> {
        let read = |name: &str| {
            let path = folder.join(name);
            match fs::read(&path) {
                Ok(bytes) => Ok((path, bytes)),
                Err(source) => Err(CertificateError::File { path, source }),
            }
        };
        let ((path, certificate), (key_path, key)) = (read("tls.crt")?, read("tls.key")?);
        let place = |path: PathBuf| path.display().to_string();
        let certified = certified((place(path), &certificate), (place(key_path), &key), provider)?;
        Ok(Self { key: Arc::new(certified), at: now, files: (certificate, key) })
    }
}

#[cfg(test)]
mod tests;
