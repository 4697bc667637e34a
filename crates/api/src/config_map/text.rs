//! From text to the raw document, and from the YAML reader's complaints to ours.

use super::{
    error::{ConfigError, ConfigErrors, Place, Problem},
    raw::File,
};
use serde_saphyr::{DuplicateKeyPolicy, Error, MergeKeyPolicy, Options};

/// Keys of whole Kubernetes objects, where only the inner YAML belongs.
const OBJECT_KEYS: [&str; 5] = ["apiVersion", "kind", "metadata", "data", "spec"];

/// Reads the text. Nothing, a comment or `null` is an empty file.
pub(crate) fn read(text: &str) -> Result<File, ConfigErrors> {
    let options: Options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Merge,
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options::<Option<File>>(text, options) {
        Ok(file) => Ok(file.unwrap_or_default()),
        Err(error) => {
            let line = error.location().map(|location| location.line()).filter(|&line| line > 0);
            Err(ConfigError { place: Place::Document, line, problem: problem(&error) }.into())
        }
    }
}

fn problem(error: &Error) -> Problem {
    match error {
        Error::WithSnippet { error, .. } | Error::AliasError { error, .. } => problem(error),
        Error::SerdeUnknownField { field, expected, .. } => {
            Problem::UnknownKey { key: field.clone(), known: expected.join(", "), hint: hint(field, expected) }
        }
        Error::DuplicateMappingKey { key, .. } => Problem::DuplicateKey(key.clone().unwrap_or_default()),
        other => {
            let text = other.to_string();
            // The line is told beside it.
            Problem::Syntax(text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text).replace('\n', " "))
        }
    }
}

/// What was probably meant: other spellings of a known key (the sample file of MetalLB 0.12 itself writes `bfdProfile`), keys of older
/// versions, keys of the object around.
fn hint(key: &str, known: &[&str]) -> Option<String> {
    let plain = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let meant = known.iter().find(|known| plain(known) == plain(key));
    if let Some(meant) = meant {
        return Some(format!("write {meant}"));
    }
    match key {
        "cidr" if known.contains(&"addresses") => Some("write addresses (renamed in MetalLB 0.5)".to_owned()),
        "arp-network" => Some("remove it (MetalLB 0.5 dropped it)".to_owned()),
        "advertisements" if known.contains(&"bgp-advertisements") => {
            Some("write bgp-advertisements (renamed in MetalLB 0.3)".to_owned())
        }
        "communities" if known.contains(&"bgp-communities") => {
            Some("write bgp-communities (renamed in MetalLB 0.3)".to_owned())
        }
        _ if OBJECT_KEYS.contains(&key) && known.contains(&"address-pools") => {
            Some("this looks like a whole Kubernetes object: put only what belongs under data.config here".to_owned())
        }
        _ => None,
    }
}
