//! The documents around the layer (OCI image-spec 1.0: image-layout, index, manifest, config).

use std::path::PathBuf;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::layer::{Layer, archive};
use super::{Architecture, Image, ImageError, ImageSummary};

/// A date that every build shares.
const EPOCH: &str = "1970-01-01T00:00:00Z";
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

fn sha256(data: &[u8]) -> String {
    Sha256::digest(data).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

pub(super) fn assemble(
    image: &Image,
    entrypoint: &[String],
    architecture: Architecture,
    layer: &Layer,
) -> Result<(Vec<u8>, ImageSummary), ImageError> {
    let layer_digest = sha256(&layer.gzip);
    let mut settings = json!({
        "Entrypoint": entrypoint,
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        "WorkingDir": "/",
    });
    if let Some(settings) = settings.as_object_mut() {
        if !image.cmd.is_empty() {
            settings.insert("Cmd".into(), json!(image.cmd));
        }
        if let Some(user) = &image.user {
            settings.insert("User".into(), json!(user));
        }
        if !image.labels.is_empty() {
            settings.insert("Labels".into(), json!(image.labels));
        }
    }
    let config = serde_json::to_vec(&json!({
        "architecture": architecture.as_str(),
        "config": settings,
        "created": EPOCH,
        "history": [{"created": EPOCH, "created_by": "herald-xtask image"}],
        "os": "linux",
        "rootfs": {"diff_ids": [format!("sha256:{}", sha256(&layer.plain))], "type": "layers"},
    }))?;
    let config_digest = sha256(&config);
    let manifest = serde_json::to_vec(&json!({
        "config": {
            "digest": format!("sha256:{config_digest}"),
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "size": config.len(),
        },
        "layers": [{
            "digest": format!("sha256:{layer_digest}"),
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
            "size": layer.gzip.len(),
        }],
        "mediaType": MANIFEST_TYPE,
        "schemaVersion": 2,
    }))?;
    let manifest_digest = sha256(&manifest);
    // One descriptor a name: containerd names an image by io.containerd.image.name, others by the tag in ref.name.
    let descriptors: Vec<Value> = image
        .names
        .iter()
        .map(|name| {
            json!({
                "annotations": {
                    "io.containerd.image.name": name.to_string(),
                    "org.opencontainers.image.ref.name": name.tag(),
                },
                "digest": format!("sha256:{manifest_digest}"),
                "mediaType": MANIFEST_TYPE,
                "platform": {"architecture": architecture.as_str(), "os": "linux"},
                "size": manifest.len(),
            })
        })
        .collect();
    let index = serde_json::to_vec(&json!({
        "manifests": descriptors,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "schemaVersion": 2,
    }))?;
    let blob = |digest: &str| format!("blobs/sha256/{digest}");
    // For `docker load` before Docker 25; readers of the layout ignore it.
    let docker = serde_json::to_vec(&json!([{
        "Config": blob(&config_digest),
        "Layers": [blob(&layer_digest)],
        "RepoTags": image.names.iter().map(ToString::to_string).collect::<Vec<_>>(),
    }]))?;
    let bytes = archive(&[
        ("oci-layout".into(), br#"{"imageLayoutVersion":"1.0.0"}"#),
        ("index.json".into(), &index),
        ("manifest.json".into(), &docker),
        (blob(&manifest_digest), &manifest),
        (blob(&config_digest), &config),
        (blob(&layer_digest), &layer.gzip),
    ])
    .map_err(|source| ImageError::Io { path: PathBuf::from("image tar"), source })?;
    let summary = ImageSummary {
        digest: format!("sha256:{manifest_digest}"),
        config_digest: format!("sha256:{config_digest}"),
        layer_size: layer.gzip.len() as u64,
        size: bytes.len() as u64,
        architecture,
    };
    Ok((bytes, summary))
}
