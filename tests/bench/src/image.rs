//! The image: which one, and how large it travels.

use crate::{
    Error, Result,
    report::{Figure, Stat, Unit},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

/// Larger entries of the tar are layers, which need not be read.
const DOCUMENT: u64 = 1 << 20;

/// Which image was measured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageFacts {
    /// SHA-256 of the tar.
    pub digest: String,
    /// Bytes that a registry would send: manifest, configuration and compressed layers.
    pub compressed: u64,
}

/// The tar to use: `HERALD_IMAGE_TAR`, or `dist/herald.tar` of the checkout.
#[must_use]
pub fn tar_path(workspace: &Path) -> PathBuf {
    std::env::var_os("HERALD_IMAGE_TAR").map_or_else(|| workspace.join("dist/herald.tar"), PathBuf::from)
}

fn bad(path: &Path, why: &str) -> Error {
    Error::Image(format!("{}: {why}", path.display()))
}

/// Sizes of all entries, and the contents of the small ones.
type Entries = BTreeMap<String, (u64, Vec<u8>)>;

fn entries(path: &Path, bytes: &[u8]) -> Result<Entries> {
    let mut archive = tar::Archive::new(bytes);
    let mut all = Entries::new();
    for entry in archive.entries().map_err(|error| bad(path, &error.to_string()))? {
        let mut entry = entry.map_err(|error| bad(path, &error.to_string()))?;
        let name = entry.path().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut content = Vec::new();
        if entry.size() <= DOCUMENT {
            entry.read_to_end(&mut content).map_err(|error| bad(path, &error.to_string()))?;
        }
        all.insert(name, (entry.size(), content));
    }
    Ok(all)
}

fn document(path: &Path, all: &Entries, name: &str) -> Result<Value> {
    let (_, content) = all.get(name).ok_or_else(|| bad(path, &format!("no {name} in it")))?;
    serde_json::from_slice(content).map_err(Error::json(format!("{name} of {}", path.display())))
}

/// The blob that a descriptor of the image specification points to.
fn blob(descriptor: &Value) -> Option<String> {
    let (algorithm, digest) = descriptor["digest"].as_str()?.split_once(':')?;
    Some(format!("blobs/{algorithm}/{digest}"))
}

/// Reads an OCI-layout tar.
///
/// # Errors
/// [`Error::Image`] when it is missing or something else.
pub fn facts(path: &Path) -> Result<ImageFacts> {
    let bytes = fs::read(path).map_err(|error| bad(path, &error.to_string()))?;
    let all = entries(path, &bytes)?;
    let index = document(path, &all, "index.json")?;
    let manifest_name = blob(&index["manifests"][0]).ok_or_else(|| bad(path, "no manifest in its index"))?;
    let manifest = document(path, &all, &manifest_name)?;
    let parts = std::iter::once(&manifest["config"]).chain(manifest["layers"].as_array().into_iter().flatten());
    let names = std::iter::once(Some(manifest_name)).chain(parts.map(blob));
    let mut compressed = 0;
    for name in names {
        let size = name.as_ref().and_then(|name| all.get(name)).map(|(size, _)| *size);
        compressed += size.ok_or_else(|| bad(path, "a blob is missing"))?;
    }
    let digest = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(ImageFacts { digest, compressed })
}

/// Writes the program out of the image's layers into this folder, and says where it is.
///
/// # Errors
/// [`Error::Image`]; the folder cannot be written to.
pub fn unpack(path: &Path, program: &str, folder: &Path) -> Result<PathBuf> {
    let io = |error: std::io::Error| bad(path, &error.to_string());
    let bytes = fs::read(path).map_err(io)?;
    for layer in tar::Archive::new(bytes.as_slice()).entries().map_err(io)? {
        let layer = layer.map_err(io)?;
        if layer.size() <= DOCUMENT {
            continue;
        }
        for entry in tar::Archive::new(flate2::read::GzDecoder::new(layer)).entries().map_err(io)? {
            let mut entry = entry.map_err(io)?;
            if entry.path().is_ok_and(|name| name.file_name().is_some_and(|name| name == program)) {
                let target = folder.join(program);
                entry.set_preserve_permissions(true);
                entry.unpack(&target).map_err(Error::file("writing", &target))?;
                return Ok(target);
            }
        }
    }
    Err(bad(path, &format!("no program {program} in its layers")))
}

/// How it is measured.
pub const METHOD: &str =
    "manifest, configuration and compressed layers as a registry would send them, from the OCI layout";

/// The figure.
///
/// # Errors
/// [`Error::NotSeen`].
pub fn measure(facts: &ImageFacts) -> Result<Vec<Figure>> {
    #[expect(clippy::cast_precision_loss, reason = "an image has far fewer than 2^52 bytes")]
    let mebibytes = facts.compressed as f64 / f64::from(1 << 20);
    Ok(vec![Figure::new("image, compressed", Unit::Mebibytes, &[mebibytes])?.target(Stat::Max, 10.0)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar(files: &[(&str, &[u8])]) -> PathBuf {
        let path = std::env::temp_dir().join(format!("herald-bench-{}-{}.tar", std::process::id(), files.len()));
        let mut builder = tar::Builder::new(fs::File::create(&path).unwrap());
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder.append_data(&mut header, name, *content).unwrap();
        }
        builder.finish().unwrap();
        path
    }

    #[test]
    fn what_the_manifest_names_is_counted_and_nothing_else() {
        let manifest = br#"{"config": {"digest": "sha256:c"}, "layers": [{"digest": "sha256:l"}]}"#;
        let path = tar(&[
            ("index.json", br#"{"manifests": [{"digest": "sha256:m"}]}"#),
            ("blobs/sha256/m", manifest),
            ("blobs/sha256/c", b"{}"),
            ("blobs/sha256/l", &[7; 5000]),
            ("blobs/sha256/stranger", &[7; 999]),
        ]);
        let facts = facts(&path).unwrap();
        assert_eq!(facts.compressed, manifest.len() as u64 + 2 + 5000);
        assert_eq!(facts.digest.len(), 64);
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_missing_layer_is_an_error() {
        let path = tar(&[
            ("index.json", br#"{"manifests": [{"digest": "sha256:m"}]}"#),
            ("blobs/sha256/m", br#"{"config": {"digest": "sha256:c"}, "layers": []}"#),
        ]);
        assert!(matches!(facts(&path), Err(Error::Image(_))));
        assert!(matches!(facts(Path::new("/nowhere.tar")), Err(Error::Image(_))));
        fs::remove_file(path).unwrap();
    }
}
