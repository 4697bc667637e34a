//! `herald validate`: what the controller and the speakers would say about manifests, without a cluster.

use crate::texts::texts;
use herald_api::{
    manifest::{self, Document},
    sources::{Fault, InForce, ObjectId, Problem, Reason, Sources},
};
use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

/// Check configuration manifests: the ConfigMap and objects of metallb.io
///
/// One line for each problem on standard output. All files count together: a pool in one of them may overlap with one in another.
/// Exit code 0: valid; 1: there are problems; 2: something could not be read.
#[derive(Debug, clap::Args)]
pub(crate) struct ValidateArgs {
    /// Files, folders (their .yaml, .yml and .json files, also in folders below), or - for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Namespace that Herald runs in; objects that name none are taken to be in it
    #[arg(long, short, default_value = "metallb-system")]
    namespace: String,
    /// Name of the configuration's ConfigMap
    #[arg(long, default_value = "config")]
    config: String,
    /// Exit with 1 also when all problems are references to objects that may be created later
    #[arg(long)]
    strict: bool,
}

/// What was found.
#[derive(Debug, Default)]
struct Findings {
    sources: Sources,
    /// Where each object stands.
    files: BTreeMap<ObjectId, String>,
    /// With the place of their file in the order of reading.
    lines: Vec<(usize, String)>,
    order: Vec<String>,
    errors: usize,
    transient: usize,
    unread: bool,
}

impl ValidateArgs {
    /// Checks; the answer goes to `out`, what is beside the point to `notes`.
    pub(crate) fn run(&self, out: &mut impl Write, notes: &mut impl Write) -> io::Result<ExitCode> {
        let mut findings = Findings::default();
        for path in &self.files {
            for (name, text) in texts(path) {
                findings.order.push(name.clone());
                match text {
                    Ok(text) => self.file(&name, &text, &mut findings, notes)?,
                    Err(error) => {
                        findings.unread = true;
                        writeln!(notes, "herald: {name}: {error}")?;
                    }
                }
            }
        }
        findings.merge();
        findings.lines.sort_by_key(|(file, _)| *file);
        for (_, line) in &findings.lines {
            writeln!(out, "{line}")?;
        }
        let problems = findings.errors + findings.transient;
        writeln!(notes, "{} objects in {} files, {problems} problems", findings.files.len(), findings.order.len())?;
        Ok(if findings.unread {
            ExitCode::from(2)
        } else if findings.errors > 0 || (self.strict && findings.transient > 0) {
            ExitCode::from(1)
        } else {
            ExitCode::SUCCESS
        })
    }

    fn file(&self, name: &str, text: &str, findings: &mut Findings, notes: &mut impl Write) -> io::Result<()> {
        for document in manifest::read(text, &self.config) {
            match document {
                Document::Object { id, namespace, source, faults } => {
                    let namespace = namespace.filter(|is| *is != self.namespace);
                    let namespace = namespace.map(|is| Reason::Namespace { is, should: self.namespace.clone() });
                    let elsewhere = namespace.is_some();
                    for fault in namespace.map(Fault::whole).into_iter().chain(faults) {
                        findings.problem(name, &problem(&id, fault));
                    }
                    if elsewhere {
                        // Nobody reads it there, so it conflicts with nothing.
                        continue;
                    }
                    match findings.files.get(&id).cloned() {
                        Some(first) => {
                            findings.problem(name, &problem(&id, Fault::whole(Reason::DefinedTwice { first })));
                        }
                        None => {
                            findings.files.insert(id.clone(), name.to_owned());
                            findings.sources.set(id, Some(*source));
                        }
                    }
                }
                Document::Skipped { object, reason } => writeln!(notes, "{name}: {object}: skipped: {reason}")?,
                Document::Broken { line, reason } => {
                    findings.errors += 1;
                    findings.line(name, &format!("document at line {line}: {reason}"));
                }
            }
        }
        Ok(())
    }
}

fn problem(object: &ObjectId, fault: Fault) -> Problem {
    Problem { object: object.clone(), uid: Arc::default(), fault, in_force: InForce::Nothing, nodes: Vec::new() }
}

impl Findings {
    fn problem(&mut self, file: &str, problem: &Problem) {
        let later = if problem.is_transient() {
            self.transient += 1;
            " (it may come later)"
        } else {
            self.errors += 1;
            ""
        };
        self.line(file, &format!("{problem}{later}"));
    }

    fn line(&mut self, file: &str, text: &str) {
        let place = self.order.iter().position(|name| name == file).unwrap_or_default();
        // One line, whatever an object's text brings along.
        self.lines.push((place, format!("{file}: {text}").replace('\n', " ")));
    }

    /// All objects together.
    fn merge(&mut self) {
        let problems = std::mem::take(&mut self.sources).merge().problems.clone();
        for problem in problems {
            let file = self.files.get(&problem.object).cloned().unwrap_or_default();
            self.problem(&file, &problem);
        }
    }
}
