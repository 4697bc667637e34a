//! Build tasks: OCI images without Docker, generated manifests, architecture rules.

pub mod image;
