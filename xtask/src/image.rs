//! OCI images from static binaries, without Docker: one gzip layer on scratch, byte for byte reproducible.
//!
//! The result is a tar of an OCI image layout (image-spec 1.0) that also carries the `manifest.json` of `docker save`,
//! so that one file serves `ctr -n k8s.io images import`, `k3s ctr images import`, `kind load image-archive` and `docker load`.

mod cli;
mod elf;
mod layer;
mod layout;
mod name;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

pub use cli::ImageArgs;
pub use elf::Architecture;
pub use name::ImageName;

/// What goes into an image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Image {
    /// Names under which the image is known after the import; at least one.
    pub names: Vec<ImageName>,
    /// Absolute path in the image and the file to put there (mode 0755); at least one, all static and of one architecture.
    pub binaries: Vec<(String, PathBuf)>,
    /// Program and leading arguments; empty means the first binary.
    pub entrypoint: Vec<String>,
    /// Default arguments, replaced by a container's `args`.
    pub cmd: Vec<String>,
    /// `uid[:gid]` or a name of the image's /etc/passwd (`root`, `nobody`, `nonroot` = 65532); `None` is root.
    pub user: Option<String>,
    /// Labels of the image configuration, for instance `org.opencontainers.image.version`.
    pub labels: std::collections::BTreeMap<String, String>,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSummary {
    /// Digest of the image manifest, `sha256:<hex>`: what `image@digest` would name.
    pub digest: String,
    /// Digest of the image configuration: what the runtime shows as the image id.
    pub config_digest: String,
    /// Compressed size of the layer in bytes: what a registry would transfer.
    pub layer_size: u64,
    /// Size of the tar in bytes.
    pub size: u64,
    /// Architecture found in the binaries.
    pub architecture: Architecture,
}

/// Why an image was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// No name was given.
    #[error("an image needs at least one name, for instance --name herald-lab/echo:latest")]
    NoName,
    /// No binary was given.
    #[error("an image needs at least one binary, for instance --binary /echo=target/echo")]
    NoBinary,
    /// A name does not follow the reference grammar.
    #[error("{name:?} is no image name: {reason}")]
    Name {
        /// The name as given.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A path in the image is not absolute and plain.
    #[error("path in the image must be absolute without '..': {0:?}")]
    PathInImage(String),
    /// The file is no ELF program of a known architecture.
    #[error("{path}: {reason}")]
    NotAProgram {
        /// The file.
        path: PathBuf,
        /// What was found instead.
        reason: &'static str,
    },
    /// The program needs a dynamic loader, which a scratch image does not have.
    #[error(
        "{0}: dynamically linked, it cannot run in a scratch image; build it with RUSTFLAGS='-C target-feature=+crt-static' and --target"
    )]
    NotStatic(PathBuf),
    /// Binaries of several architectures in one image.
    #[error("{path} is built for {found:?}, the others for {expected:?}")]
    MixedArchitectures {
        /// The differing file.
        path: PathBuf,
        /// Its architecture.
        found: Architecture,
        /// The architecture of the first binary.
        expected: Architecture,
    },
    /// Reading a binary or writing the tar failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The image documents could not be serialised.
    #[error("image documents: {0}")]
    Json(#[from] serde_json::Error),
}

impl Image {
    /// Writes the image as a tar to `out` (through a temporary file beside it, so that a reader never sees half of it).
    ///
    /// # Errors
    /// Every [`ImageError`]; nothing is left at `out` then that was not there before.
    pub fn write(&self, out: &Path) -> Result<ImageSummary, ImageError> {
        let (bytes, summary) = self.to_tar()?;
        let partial = out.with_extension("tar.partial");
        let io = |path: &Path| {
            let path = path.to_path_buf();
            move |source| ImageError::Io { path, source }
        };
        if let Some(parent) = out.parent().filter(|p| !p.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent).map_err(io(parent))?;
        }
        let mut file = File::create(&partial).map_err(io(&partial))?;
        file.write_all(&bytes).map_err(io(&partial))?;
        std::fs::rename(&partial, out).map_err(io(out))?;
        Ok(summary)
    }

    /// The tar's bytes; the same image gives the same bytes on every machine.
    ///
    /// # Errors
    /// Every [`ImageError`] but those of writing.
    pub fn to_tar(&self) -> Result<(Vec<u8>, ImageSummary), ImageError> {
        if self.names.is_empty() {
            return Err(ImageError::NoName);
        }
        let (first, _) = self.binaries.first().ok_or(ImageError::NoBinary)?;
        let mut files = Vec::with_capacity(self.binaries.len());
        let mut architecture = None;
        for (path_in_image, path) in &self.binaries {
            let data = std::fs::read(path).map_err(|source| ImageError::Io { path: path.clone(), source })?;
            let found = elf::inspect(&data, path)?;
            let expected = *architecture.get_or_insert(found);
            if found != expected {
                return Err(ImageError::MixedArchitectures { path: path.clone(), found, expected });
            }
            files.push((layer::path_in_layer(path_in_image)?, data));
        }
        let architecture = architecture.ok_or(ImageError::NoBinary)?;
        let entrypoint = if self.entrypoint.is_empty() { vec![first.clone()] } else { self.entrypoint.clone() };
        let layer = layer::build(&files).map_err(|source| ImageError::Io { path: PathBuf::from("layer"), source })?;
        layout::assemble(self, &entrypoint, architecture, &layer)
    }
}
