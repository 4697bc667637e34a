//! What the commands that read manifests are given.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// The texts that a path stands for, with their names.
pub(crate) fn texts(path: &Path) -> Vec<(String, io::Result<String>)> {
    if path.as_os_str() == "-" {
        let mut text = String::new();
        return vec![("-".to_owned(), io::stdin().read_to_string(&mut text).map(|_| text))];
    }
    if !path.is_dir() {
        return vec![(path.display().to_string(), fs::read_to_string(path))];
    }
    let entries = fs::read_dir(path).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let mut entries: Vec<PathBuf> = match entries {
        Ok(entries) => entries,
        Err(error) => return vec![(path.display().to_string(), Err(error))],
    };
    entries.sort();
    let wanted = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        path.is_dir() || matches!(extension, Some("yaml" | "yml" | "json"))
    };
    entries.iter().filter(|path| wanted(path)).flat_map(|path| texts(path)).collect()
}
