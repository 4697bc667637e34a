//! `xtask image`: the command line of the image builder.

use std::path::PathBuf;

use super::{Image, ImageError, ImageName, ImageSummary};

/// Writes a reproducible image tar (OCI layout, also `docker load`) of static binaries on scratch.
#[derive(Debug, clap::Args)]
pub struct ImageArgs {
    /// Name of the image; repeat for more names. Short names are completed with docker.io and latest.
    #[arg(long = "name", required = true)]
    names: Vec<ImageName>,
    /// PATH_IN_IMAGE=FILE; repeatable. The first is the entrypoint unless --entrypoint says otherwise.
    #[arg(long = "binary", required = true, value_parser = parse_binary)]
    binaries: Vec<(String, PathBuf)>,
    /// Program and leading arguments, one word per use.
    #[arg(long)]
    entrypoint: Vec<String>,
    /// Default arguments, one word per use.
    #[arg(long, allow_hyphen_values = true)]
    cmd: Vec<String>,
    /// uid[:gid], or root, nobody, nonroot.
    #[arg(long)]
    user: Option<String>,
    /// KEY=VALUE label; repeatable.
    #[arg(long = "label", value_parser = parse_label)]
    labels: Vec<(String, String)>,
    /// The tar to write.
    #[arg(long)]
    out: PathBuf,
}

fn parse_binary(text: &str) -> Result<(String, PathBuf), &'static str> {
    let (inside, file) = text.split_once('=').ok_or("expected PATH_IN_IMAGE=FILE")?;
    Ok((inside.to_owned(), PathBuf::from(file)))
}

fn parse_label(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl ImageArgs {
    /// Builds and writes the image.
    ///
    /// # Errors
    /// Every [`ImageError`].
    pub fn run(self) -> Result<(PathBuf, ImageSummary), ImageError> {
        let image = Image {
            names: self.names,
            binaries: self.binaries,
            entrypoint: self.entrypoint,
            cmd: self.cmd,
            user: self.user,
            labels: self.labels.into_iter().collect(),
        };
        let summary = image.write(&self.out)?;
        Ok((self.out, summary))
    }
}
