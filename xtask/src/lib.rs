//! Build tasks: OCI images without Docker, generated manifests, architecture rules.

pub mod arch;
pub mod generate;
pub mod image;
