//! What MetalLB's users have -> objects that can be applied: the ConfigMap of MetalLB up to 0.12 becomes custom resources, objects saved from a
//! cluster lose what the cluster added. Nothing is changed in silence: whatever the result says differently, or does not say, is a [`Note`].
//!
//! Differences to MetalLB's own converter: a configuration that MetalLB refused is refused, not half converted; pool names that are valid
//! object names stay as they are (it cuts leading digits off and dots out); two names that become equal get a number instead of one of them
//! replacing the other; misspelt and unknown keys are told.

mod clean;
mod convert;
mod input;
mod names;
mod note;

pub use note::Note;

use crate::{
    config_map::{self, ConfigErrors, Problem, raw, text},
    manifest::{self, Document},
    sources::{Fault, InForce, ObjectId, Problem as Refused, Sources},
};
use serde_json::Value;
use std::sync::Arc;

/// The namespace where neither the input nor the user names one: MetalLB's.
pub const DEFAULT_NAMESPACE: &str = "metallb-system";

/// What the user wants.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Namespace of all objects; otherwise each one's own.
    pub namespace: Option<String>,
    /// Name of the configuration's ConfigMap, where there are several ConfigMaps.
    pub config: String,
}

/// The result.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Import {
    /// Objects in an order in which each may be applied: what others refer to comes first.
    pub objects: Vec<Value>,
    /// What the objects say differently, or do not say; in the order of the input.
    pub notes: Vec<Note>,
}

/// Why there is no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// MetalLB refused it as well: it never was in force.
    #[error("{file}: {error}")]
    Configuration {
        /// Where it stands.
        file: String,
        /// All mistakes.
        error: ConfigErrors,
    },
    /// Not YAML, or something else than an object or a configuration.
    #[error("{file}: document at line {line}: {reason}")]
    Document {
        /// Where it stands.
        file: String,
        /// Line at which it begins, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// Several configurations, none of them in the ConfigMap of the given name.
    #[error("{0} configurations, none in a ConfigMap named {1:?}: name it with --config, or give one")]
    Several(usize, String),
    /// Nothing to import.
    #[error("there is neither a MetalLB configuration nor an object of metallb.io in the input")]
    Nothing,
}

impl Import {
    /// The objects as YAML documents.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let options = serde_saphyr::ser_options! { compact_list_indent: true };
        let mut all = String::new();
        for object in &self.objects {
            let mut text = String::new();
            // JSON values are always YAML; a formatter that refuses to write into a text does not exist.
            if serde_saphyr::to_fmt_writer_with_options(&mut text, object, options.clone()).is_ok() {
                all.push_str("---\n");
                all.push_str(text.trim_end());
                all.push('\n');
            }
        }
        all
    }
}

/// Converts texts, each with the name of its file.
///
/// # Errors
/// Nothing is converted when something cannot be read, or was refused by MetalLB as well.
pub fn import(files: &[(String, String)], options: &Options) -> Result<Import, ImportError> {
    let mut found = input::Found::default();
    for (file, text) in files {
        found.read(file, text)?;
    }
    let configurations = found.configurations(&options.config)?;
    let mut result = Import { objects: Vec::new(), notes: found.notes };
    let mut names = names::Names::of(&found.objects);
    for configuration in &configurations {
        let raw = checked(configuration, &mut result.notes)?;
        let namespace = options.namespace.as_deref().or(configuration.namespace.as_deref());
        let namespace = namespace.unwrap_or(DEFAULT_NAMESPACE);
        convert::file(raw, namespace, &mut names, &mut result);
    }
    for mut object in found.objects {
        if let Some(namespace) = &options.namespace {
            input::set_namespace(&mut object, namespace);
        }
        result.objects.push(object);
    }
    if result.objects.is_empty() && configurations.is_empty() {
        return Err(ImportError::Nothing);
    }
    let refused = problems(&result, options);
    result.notes.extend(refused);
    Ok(result)
}

/// The configuration, valid. Keys that it may not have are removed, and told, only when it cannot be read with them.
fn checked(configuration: &input::Configuration, notes: &mut Vec<Note>) -> Result<raw::File, ImportError> {
    let refused = |error| ImportError::Configuration { file: configuration.origin.clone(), error };
    let read = |text: &str| config_map::parse(text).and_then(|_| text::read(text));
    match read(&configuration.text) {
        Ok(raw) => Ok(raw),
        Err(error) => {
            let cleaned = error
                .all()
                .iter()
                .any(|error| matches!(error.problem, Problem::UnknownKey { .. } | Problem::Protocol(_)));
            let Some(cleaned) = cleaned.then(|| clean::clean(&configuration.text)).flatten() else {
                return Err(refused(error));
            };
            let raw = read(&cleaned.text).map_err(refused)?;
            notes.extend(cleaned.notes);
            Ok(raw)
        }
    }
}

/// What Herald would say about the result.
fn problems(result: &Import, options: &Options) -> Vec<Note> {
    let mut sources = Sources::default();
    let mut notes = Vec::new();
    let refused = |object: &ObjectId, fault: Fault| {
        Note::Refused(Box::new(Refused {
            object: object.clone(),
            uid: Arc::default(),
            fault,
            in_force: InForce::Nothing,
            nodes: Vec::new(),
        }))
    };
    for document in manifest::read(&result.to_yaml(), &options.config) {
        if let Document::Object { id, source, faults, .. } = document {
            notes.extend(faults.into_iter().map(|fault| refused(&id, fault)));
            sources.set(id, Some(*source));
        }
    }
    notes.extend(sources.merge().problems.iter().cloned().map(|problem| Note::Refused(Box::new(problem))));
    notes
}

#[cfg(test)]
mod tests;
