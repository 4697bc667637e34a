//! How the HTTPS endpoints speak TLS: MetalLB's flags, as far as there is a choice. Go's names and numbers, by which its users know them.

use clap::Args;
use rustls::{
    ALL_VERSIONS, NamedGroup, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion,
    crypto::{
        CryptoProvider,
        ring::{ALL_CIPHER_SUITES, ALL_KX_GROUPS, default_provider},
    },
    server::{NoServerSessionStorage, ResolvesServerCert},
    version::TLS13,
};
use std::{fmt, str::FromStr, sync::Arc};

/// RFC 8446.
const TLS13_ALONE: &[&SupportedProtocolVersion] = &[&TLS13];

/// What may be chosen. The default, as MetalLB's: TLS 1.3 alone, with all that the library has.
#[derive(Debug, Clone, Default, Args)]
pub struct TlsOptions {
    /// Oldest TLS version of the HTTPS endpoints: VersionTLS12 or VersionTLS13
    #[arg(long = "tls-min-version", value_name = "VERSION", default_value_t)]
    pub min_version: MinVersion,
    /// Cipher suites of TLS 1.2 by their IANA names, comma-separated [default: all that the library has]
    #[arg(long = "tls-cipher-suites", value_name = "NAMES", value_delimiter = ',')]
    pub cipher_suites: Vec<CipherSuite>,
    /// Curves of the key exchange by their numbers, comma-separated, the preferred one first: 29 (X25519), 23 (P-256), 24 (P-384) [default: all]
    #[arg(long = "tls-curve-preferences", value_name = "NUMBERS", value_delimiter = ',')]
    pub curves: Vec<Curve>,
}

/// What cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Not a version.
    #[error("{0:?} is neither VersionTLS12 nor VersionTLS13; older ones are not spoken")]
    Version(String),
    /// Not a suite of TLS 1.2 that the library has.
    #[error("there is no cipher suite {name:?} for TLS 1.2; those of TLS 1.3 cannot be chosen. There are: {known}")]
    Suite {
        /// As it was written.
        name: String,
        /// What there is.
        known: String,
    },
    /// Not a curve that the library has.
    #[error("there is no curve {0:?}: use 29 (X25519), 23 (P-256) or 24 (P-384)")]
    Curve(String),
    /// The same curve twice.
    #[error("the curve {0} stands twice: keep one")]
    CurveTwice(u16),
    /// The suites of TLS 1.3 are what they are.
    #[error(
        "--tls-cipher-suites is for TLS 1.2 alone: leave it out, or allow that with --tls-min-version=VersionTLS12"
    )]
    SuitesWithTls13,
    /// The library refuses.
    #[error("these TLS settings do not go together: {0}")]
    Refused(#[from] rustls::Error),
}

/// The oldest version that is spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MinVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    #[default]
    Tls13,
}

impl fmt::Display for MinVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls12 => "VersionTLS12",
            Self::Tls13 => "VersionTLS13",
        })
    }
}

impl FromStr for MinVersion {
    type Err = TlsError;

    fn from_str(text: &str) -> Result<Self, TlsError> {
        let known = [Self::Tls12, Self::Tls13].into_iter().find(|version| version.to_string() == text);
        known.ok_or_else(|| TlsError::Version(text.to_owned()))
    }
}

/// A cipher suite of TLS 1.2.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CipherSuite(SupportedCipherSuite);

/// Those of TLS 1.2 with their names.
fn suites() -> impl Iterator<Item = (&'static str, SupportedCipherSuite)> {
    let old = ALL_CIPHER_SUITES.iter().filter(|suite| suite.tls13().is_none());
    old.filter_map(|suite| Some((suite.suite().as_str()?, *suite)))
}

impl FromStr for CipherSuite {
    type Err = TlsError;

    fn from_str(text: &str) -> Result<Self, TlsError> {
        let known = suites().find(|(name, _)| *name == text.trim());
        known.map(|(_, suite)| Self(suite)).ok_or_else(|| TlsError::Suite {
            name: text.to_owned(),
            known: suites().map(|(name, _)| name).collect::<Vec<_>>().join(", "),
        })
    }
}

/// A curve by its number (the registry TLS Supported Groups; Go's CurveID).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Curve(u16);

impl FromStr for Curve {
    type Err = TlsError;

    fn from_str(text: &str) -> Result<Self, TlsError> {
        let number = text.trim().parse().ok();
        let known = number.filter(|number| ALL_KX_GROUPS.iter().any(|group| group.name() == NamedGroup::from(*number)));
        known.map(Self).ok_or_else(|| TlsError::Curve(text.to_owned()))
    }
}

impl TlsOptions {
    /// Settings of a server with these certificates; nothing is kept between connections.
    ///
    /// # Errors
    /// What does not go together.
    pub fn server_config(&self, certificates: Arc<dyn ResolvesServerCert>) -> Result<ServerConfig, TlsError> {
        let versions: &[_] = match self.min_version {
            MinVersion::Tls12 => ALL_VERSIONS,
            MinVersion::Tls13 => TLS13_ALONE,
        };
        let builder = ServerConfig::builder_with_provider(Arc::new(self.provider()?));
        let mut config =
            builder.with_protocol_versions(versions)?.with_no_client_auth().with_cert_resolver(certificates);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    fn provider(&self) -> Result<CryptoProvider, TlsError> {
        let mut provider = default_provider();
        if !self.cipher_suites.is_empty() {
            if self.min_version == MinVersion::Tls13 {
                return Err(TlsError::SuitesWithTls13);
            }
            let chosen = |suite: &SupportedCipherSuite| self.cipher_suites.contains(&CipherSuite(*suite));
            provider.cipher_suites.retain(|suite| suite.tls13().is_some() || chosen(suite));
        }
        if !self.curves.is_empty() {
            let mut groups = Vec::new();
            for (index, curve) in self.curves.iter().enumerate() {
                if self.curves.iter().take(index).any(|other| other == curve) {
                    return Err(TlsError::CurveTwice(curve.0));
                }
                groups.extend(ALL_KX_GROUPS.iter().filter(|group| group.name() == NamedGroup::from(curve.0)));
            }
            provider.kx_groups = groups;
        }
        Ok(provider)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        tls: TlsOptions,
    }

    fn provider(flags: &[&str]) -> Result<CryptoProvider, String> {
        let command = Command::try_parse_from([&["herald"], flags].concat()).map_err(|error| error.to_string())?;
        command.tls.provider().map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_chosen_is_offered_in_this_order() {
        let all = provider(&[]).unwrap();
        assert_eq!((all.cipher_suites.len(), all.kx_groups.len()), (ALL_CIPHER_SUITES.len(), ALL_KX_GROUPS.len()));
        let suite = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256";
        let suites = format!("--tls-cipher-suites={suite}");
        let some = provider(&["--tls-min-version=VersionTLS12", &suites, "--tls-curve-preferences=23, 29"]).unwrap();
        let old: Vec<_> = some.cipher_suites.iter().filter(|suite| suite.tls13().is_none()).collect();
        assert!(matches!(&*old, [one] if one.suite().as_str() == Some(suite)), "{old:?}");
        assert!(some.cipher_suites.len() > 1, "TLS 1.3 keeps its suites");
        let curves: Vec<_> = some.kx_groups.iter().map(|group| u16::from(group.name())).collect();
        assert_eq!(curves, [23, 29]);
    }

    #[test]
    fn what_cannot_be_had_is_named_with_what_can() {
        for (flags, text) in [
            (&["--tls-min-version=VersionTLS11"][..], "neither VersionTLS12 nor VersionTLS13"),
            (&["--tls-cipher-suites=TLS_RSA_WITH_AES_128_CBC_SHA"], "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
            (&["--tls-curve-preferences=29,4588"], "there is no curve \"4588\""),
            (&["--tls-curve-preferences=X25519"], "use 29 (X25519)"),
            (&["--tls-curve-preferences=29,23,29"], "the curve 29 stands twice"),
            (&["--tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"], "--tls-min-version=VersionTLS12"),
        ] {
            let error = provider(flags).unwrap_err();
            assert!(error.contains(text), "{flags:?}: {error}");
        }
    }
}
