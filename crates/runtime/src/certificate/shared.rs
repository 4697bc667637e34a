//! A certificate that several replicas present, and that callers verify by its authority.

use super::{CertificateError, certified, params};
use rcgen::{BasicConstraints, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose};
use rustls::{
    crypto::ring::default_provider,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::SystemTime,
};

/// A new certificate with the authority that signed it, as PEM. The authority's key is gone: the next certificate has another authority.
#[derive(Clone)]
pub struct Issued {
    /// Whoever trusts this trusts the certificate.
    pub authority: String,
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the key.
        f.debug_struct("Issued").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// Makes a certificate for these DNS names, valid for a year; to be replaced after [`super::RENEW_AFTER`].
///
/// # Errors
/// A name that is none.
pub fn issue(names: &[String], now: SystemTime) -> Result<Issued, CertificateError> {
    let mut authority = params(&["Herald's authority".to_owned()], now)?;
    authority.subject_alt_names.clear();
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let mut certificate = params(names, now)?;
    certificate.use_authority_key_identifier_extension = true;
    certificate.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    certificate.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = certificate.signed_by(&key, &authority)?;
    Ok(Issued { authority: authority.as_ref().pem(), certificate: certificate.pem(), key: key.serialize_pem() })
}

/// The certificate in force: none at first, so that handshakes fail, then whichever was put in last.
#[derive(Default)]
pub struct Shared(RwLock<Option<Arc<CertifiedKey>>>);

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    /// Takes over what a Secret of type `kubernetes.io/tls` holds; `place` names it in errors.
    ///
    /// # Errors
    /// Not a certificate and its key; what was in force stays.
    pub fn put(&self, place: &str, certificate: &[u8], key: &[u8]) -> Result<(), CertificateError> {
        let of = |name: &str| format!("{name} of {place}");
        let next = certified((of("tls.crt"), certificate), (of("tls.key"), key), &default_provider())?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(next));
        Ok(())
    }
}

impl ResolvesServerCert for Shared {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
