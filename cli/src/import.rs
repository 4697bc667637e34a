//! `herald import`: what MetalLB's users have becomes objects that can be applied.

use crate::texts::texts;
use herald_api::import::{Note, Options, import};
use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

/// Turn MetalLB's ConfigMap (up to v0.12) into custom resources, and clean objects saved from a cluster
///
/// The objects go to standard output as YAML, to be given to `kubectl apply -f -`; whatever they say differently from the input, or do not
/// say, goes to standard error. Takes ConfigMaps, whole dumps of kubectl, the bare text under data.config, and values of MetalLB's chart
/// (configInline). Exit code 0: everything is carried over; 1: something is not, or a configuration is wrong; 2: something could not be read.
#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    /// Files, folders (their .yaml, .yml and .json files, also in folders below), or - for standard input
    #[arg(default_value = "-", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Namespace of all objects [default: the input's, else metallb-system]
    #[arg(long, short)]
    namespace: Option<String>,
    /// Name of the configuration's ConfigMap, where the input has several
    #[arg(long, default_value = "config")]
    config: String,
}

impl ImportArgs {
    /// Converts; the objects go to `out`, what is to be said about them to `notes`.
    pub(crate) fn run(&self, out: &mut impl Write, notes: &mut impl Write) -> io::Result<ExitCode> {
        let mut files = Vec::new();
        for (name, text) in self.files.iter().flat_map(|path| texts(path)) {
            match text {
                Ok(text) => files.push((name, text)),
                Err(error) => {
                    writeln!(notes, "herald: {name}: {error}")?;
                    return Ok(ExitCode::from(2));
                }
            }
        }
        let options = Options { namespace: self.namespace.clone(), config: self.config.clone() };
        let import = match import(&files, &options) {
            Ok(import) => import,
            Err(error) => {
                writeln!(notes, "herald: {error}")?;
                return Ok(ExitCode::from(1));
            }
        };
        write!(out, "{}", import.to_yaml())?;
        for note in &import.notes {
            writeln!(notes, "{note}")?;
        }
        let lost = import.notes.iter().filter(|note| note.is_loss()).count();
        writeln!(notes, "{} objects, {} notes, {lost} of them losses", import.objects.len(), import.notes.len())?;
        Ok(if import.notes.iter().any(Note::is_loss) { ExitCode::from(1) } else { ExitCode::SUCCESS })
    }
}
