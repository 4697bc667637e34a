//! Why a figure could not be measured.

use std::path::Path;

/// Result of every measurement.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a figure could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The lab.
    #[error("{0}")]
    Lab(#[from] herald_lab::Error),
    /// The cluster.
    #[error("{0}")]
    Cluster(#[from] herald_e2e::Error),
    /// The API server.
    #[error("the API server: {0}")]
    Api(#[from] kube::Error),
    /// The administrator's kubeconfig.
    #[error("the lab's kubeconfig: {0}")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// The operating system.
    #[error("{what}: {source}")]
    Io {
        /// The operation.
        what: String,
        /// The cause.
        source: std::io::Error,
    },
    /// A file that is not what it should be.
    #[error("{what}: {source}")]
    Json {
        /// The file.
        what: String,
        /// The cause.
        source: serde_json::Error,
    },
    /// The image is missing or not an OCI image.
    #[error("{0}; build the image with `make image`, or set HERALD_IMAGE_TAR")]
    Image(String),
    /// The options do not fit together.
    #[error("{0}")]
    Options(String),
    /// Only Herald can be installed anew or told what to do.
    #[error("this needs Herald with other settings; what stands in the lab is not changed")]
    HeraldOnly,
    /// What was to be measured did not happen.
    #[error("not seen: {0}")]
    NotSeen(String),
}

impl Error {
    /// An operation of the system that failed.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// A file operation that failed.
    pub fn file(what: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        Self::io(format!("{what} {}", path.display()))
    }

    /// JSON that was not understood.
    pub fn json(what: impl Into<String>) -> impl FnOnce(serde_json::Error) -> Self {
        let what = what.into();
        move |source| Self::Json { what, source }
    }
}
