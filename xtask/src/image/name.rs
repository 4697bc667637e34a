//! Image names as container runtimes write them in full.

use std::fmt;
use std::str::FromStr;

use super::ImageError;

/// A full image name: registry, repository and tag, e.g. `docker.io/herald-lab/echo:latest`.
///
/// Short forms are completed as Docker does (`echo` is `docker.io/library/echo:latest`): the kubelet asks the runtime for
/// the full name and finds nothing under a short one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageName {
    repository: String,
    tag: String,
}

impl ImageName {
    /// Everything after the last colon.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.tag
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.repository, self.tag)
    }
}

impl FromStr for ImageName {
    type Err = ImageError;

    fn from_str(name: &str) -> Result<Self, ImageError> {
        let refuse = |reason| ImageError::Name { name: name.to_owned(), reason };
        if name.contains('@') {
            return Err(refuse("a digest is computed, not given"));
        }
        let (path, tag) = match name.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, tag),
            _ => (name, "latest"),
        };
        let tag_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        if tag.is_empty() || tag.len() > 128 || !tag.bytes().all(tag_byte) || tag.starts_with(['.', '-']) {
            return Err(refuse("the tag has 1 to 128 of A-Z a-z 0-9 _ . - and starts with none of . -"));
        }
        let is_registry = |first: &str| first.contains(['.', ':']) || first == "localhost";
        let repository = match path.split_once('/') {
            Some((first, _)) if is_registry(first) => path.to_owned(),
            Some(_) => format!("docker.io/{path}"),
            None => format!("docker.io/library/{path}"),
        };
        let mut parts = repository.split('/');
        let registry = parts.next().unwrap_or_default();
        let registry_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':');
        let part_byte = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.' | b'-');
        if registry.is_empty() || !registry.bytes().all(registry_byte) {
            return Err(refuse("the registry is a host name with an optional port"));
        }
        if !parts.all(|part| !part.is_empty() && part.bytes().all(part_byte)) {
            return Err(refuse("each part of the repository has one or more of a-z 0-9 _ . -"));
        }
        Ok(Self { repository, tag: tag.to_owned() })
    }
}
