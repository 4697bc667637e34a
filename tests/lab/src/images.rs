//! The lab's own images: built from this repository, named as the classic lab names them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use herald_xtask::image::{Image, ImageName};

use crate::error::{Error, Result};
use crate::place::Place;
use crate::run::run;

/// Names of the echo image: without a tag of its own, with one (whose default pull policy is IfNotPresent), and the one
/// that the classic lab's commands use.
pub const ECHO_IMAGES: [&str; 3] =
    ["docker.io/herald-lab/echo:latest", "docker.io/herald-lab/echo:1", "docker.io/sysnet4admin/echo-hname:latest"];
/// Name of the sandbox image.
pub const PAUSE_IMAGE: &str = "registry.k8s.io/pause:3.10";

/// Root of the checkout that this crate was built from.
pub(crate) fn workspace() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own).to_path_buf()
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|data| data.modified()).ok()
}

/// Newest change below `dir`.
fn newest(dir: &Path) -> Option<SystemTime> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| if entry.path().is_dir() { newest(&entry.path()) } else { modified(&entry.path()) })
        .max()
}

/// This machine's glibc target.
fn target() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

/// Builds the images when they are older than their sources; returns their tars, the sandbox image first.
pub(crate) fn build() -> Result<Vec<PathBuf>> {
    let workspace = workspace();
    let sources = workspace.join("tests/workloads");
    let out = workspace.join("target/static");
    let tars = [out.join("images/00-pause.tar"), out.join("images/echo.tar")];
    // Not in a checkout any more: what was built before serves.
    let changed = newest(&sources);
    if tars.iter().all(|tar| modified(tar).is_some_and(|made| changed.is_none_or(|changed| made > changed))) {
        return Ok(tars.into());
    }
    let target = target();
    let flags = format!("CARGO_TARGET_{}_RUSTFLAGS", target.to_uppercase().replace('-', "_"));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run(Command::new(cargo)
        .current_dir(&workspace)
        .args(["build", "-p", "herald-workloads", "--profile", "lab", "--target", &target, "--target-dir"])
        .arg(&out)
        // Set for the whole build, these would win over the variable of the target.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env(flags, "-C target-feature=+crt-static"))?;
    let programs = out.join(target).join("lab");
    let image = |names: &[&str], program: &str| -> Result<Image> {
        let names = names.iter().map(|name| name.parse::<ImageName>()).collect::<Result<_, _>>()?;
        let binaries = vec![(format!("/{program}"), programs.join(program))];
        Ok(Image { names, binaries, ..Image::default() })
    };
    image(&[PAUSE_IMAGE], "pause")?.write(&tars[0])?;
    image(&ECHO_IMAGES, "echo")?.write(&tars[1])?;
    Ok(tars.into())
}

/// Puts a tar where every node finds it when it boots; returns its new path.
pub(crate) fn adopt(place: &Place, tar: &Path) -> Result<PathBuf> {
    let images = place.images();
    fs::create_dir_all(&images).map_err(Error::io("creating", &images))?;
    let at = images.join(tar.file_name().unwrap_or_default()).with_extension("tar");
    if let (Ok(old), Ok(new)) = (fs::metadata(&at), fs::metadata(tar))
        && old.len() == new.len()
        && old.modified().ok() == new.modified().ok()
    {
        return Ok(at);
    }
    let partial = at.with_extension("partial");
    // A copy: the build may replace its output while a node reads.
    fs::copy(tar, &partial).map_err(Error::io("copying", tar))?;
    let stamp = modified(tar).unwrap_or_else(SystemTime::now);
    let file = fs::File::options().write(true).open(&partial).map_err(Error::io("opening", &partial))?;
    file.set_modified(stamp).map_err(Error::io("dating", &partial))?;
    fs::rename(&partial, &at).map_err(Error::io("renaming", &partial))?;
    Ok(at)
}
