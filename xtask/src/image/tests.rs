use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use serde_json::Value;

use super::*;

/// A minimal static ELF: header and one PT_LOAD program header (or PT_INTERP when `dynamic`).
fn elf(machine: u16, dynamic: bool) -> Vec<u8> {
    let mut data = vec![0_u8; 64 + 56];
    data[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1]);
    data[18..20].copy_from_slice(&machine.to_le_bytes());
    data[32..40].copy_from_slice(&64_u64.to_le_bytes());
    data[54..56].copy_from_slice(&56_u16.to_le_bytes());
    data[56..58].copy_from_slice(&1_u16.to_le_bytes());
    data[64..68].copy_from_slice(&(if dynamic { 3_u32 } else { 1 }).to_le_bytes());
    data
}

fn file(directory: &Path, name: &str, data: &[u8]) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, data).unwrap();
    path
}

fn image(binary: PathBuf) -> Image {
    Image {
        names: vec!["herald-lab/echo".parse().unwrap(), "registry.k8s.io/pause:3.10".parse().unwrap()],
        binaries: vec![("/usr/bin/echo".into(), binary)],
        user: Some("65532:65532".into()),
        cmd: vec!["--x".into()],
        ..Image::default()
    }
}

fn members(tar: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(tar);
    let read = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_string_lossy().into_owned();
        assert_eq!(entry.header().mtime().unwrap(), 0, "{path}");
        let mut data = Vec::new();
        entry.read_to_end(&mut data).unwrap();
        (path, data)
    };
    archive.entries().unwrap().map(read).collect()
}

fn blob<'a>(all: &'a BTreeMap<String, Vec<u8>>, descriptor: &Value) -> &'a [u8] {
    let digest = descriptor["digest"].as_str().unwrap();
    let data = &all[&digest.replace("sha256:", "blobs/sha256/")];
    assert_eq!(descriptor["size"].as_u64().unwrap(), data.len() as u64);
    data
}

#[test]
fn twice_is_byte_identical_whatever_the_file_times() {
    let directory = tempfile::tempdir().unwrap();
    let binary = file(directory.path(), "echo", &elf(62, false));
    let (one, two) = (directory.path().join("one.tar"), directory.path().join("sub/two.tar"));
    let first = image(binary.clone()).write(&one).unwrap();
    let stamp = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    std::fs::File::options().write(true).open(&binary).unwrap().set_modified(stamp).unwrap();
    let second = image(binary).write(&two).unwrap();
    assert_eq!(first, second);
    assert_eq!(std::fs::read(one).unwrap(), std::fs::read(two).unwrap());
}

#[test]
fn documents_point_at_each_other_and_name_the_image() {
    let directory = tempfile::tempdir().unwrap();
    let binary = file(directory.path(), "echo", &elf(183, false));
    let (tar, summary) = image(binary).to_tar().unwrap();
    let all = members(&tar);
    let index: Value = serde_json::from_slice(&all["index.json"]).unwrap();
    let names: Vec<_> = index["manifests"].as_array().unwrap().iter().map(|m| &m["annotations"]).collect();
    assert_eq!(names[0]["io.containerd.image.name"], "docker.io/herald-lab/echo:latest");
    assert_eq!(names[1]["io.containerd.image.name"], "registry.k8s.io/pause:3.10");
    assert_eq!(names[1]["org.opencontainers.image.ref.name"], "3.10");
    assert_eq!(index["manifests"][1]["digest"], summary.digest.as_str());
    let manifest: Value = serde_json::from_slice(blob(&all, &index["manifests"][0])).unwrap();
    let config: Value = serde_json::from_slice(blob(&all, &manifest["config"])).unwrap();
    assert_eq!(config["architecture"], "arm64");
    assert_eq!(config["config"]["Entrypoint"][0], "/usr/bin/echo");
    assert_eq!(config["config"]["User"], "65532:65532");
    let mut layer = Vec::new();
    flate2::read::GzDecoder::new(blob(&all, &manifest["layers"][0])).read_to_end(&mut layer).unwrap();
    let layer = members(&layer);
    assert_eq!(layer["usr/bin/echo"], elf(183, false));
    assert!(layer.contains_key("etc/passwd") && layer.contains_key("usr/bin"));
}

#[test]
fn refuses_what_could_not_run() {
    let directory = tempfile::tempdir().unwrap();
    let dynamic = file(directory.path(), "dynamic", &elf(62, true));
    assert!(matches!(image(dynamic).to_tar(), Err(ImageError::NotStatic(_))));
    let script = file(directory.path(), "script", b"#!/bin/sh\n");
    assert!(matches!(image(script).to_tar(), Err(ImageError::NotAProgram { .. })));
    let truncated = file(directory.path(), "truncated", &elf(62, false)[..64]);
    assert!(matches!(image(truncated).to_tar(), Err(ImageError::NotAProgram { .. })));
    let mut mixed = image(file(directory.path(), "a", &elf(62, false)));
    mixed.binaries.push(("/b".into(), file(directory.path(), "b", &elf(183, false))));
    assert!(matches!(mixed.to_tar(), Err(ImageError::MixedArchitectures { .. })));
    let mut outside = image(file(directory.path(), "c", &elf(62, false)));
    outside.binaries[0].0 = "/../c".into();
    assert!(matches!(outside.to_tar(), Err(ImageError::PathInImage(_))));
    assert!(matches!(Image::default().to_tar(), Err(ImageError::NoName)));
}

#[test]
fn names_are_completed_like_docker_does() {
    let full = |name: &str| name.parse::<ImageName>().map(|n| n.to_string());
    for (short, long) in [
        ("echo", "docker.io/library/echo:latest"),
        ("herald-lab/echo:1", "docker.io/herald-lab/echo:1"),
        ("localhost/echo", "localhost/echo:latest"),
        ("localhost:5000/echo", "localhost:5000/echo:latest"),
        ("ghcr.io/a/b:v1.2", "ghcr.io/a/b:v1.2"),
    ] {
        assert_eq!(full(short).unwrap(), long);
    }
    for bad in ["", "a//b", "Echo", "a:", "a:-x", "a@sha256:00", "a b"] {
        assert!(matches!(full(bad), Err(ImageError::Name { .. })), "{bad}");
    }
}
