//! The one layer: directories, /etc/passwd and /etc/group, the binaries. Every stamp is zero.

use std::collections::BTreeSet;
use std::io::{self, Write as _};

use super::ImageError;

/// The layer in both forms: the configuration names the plain one, the manifest the compressed one.
pub(super) struct Layer {
    pub(super) plain: Vec<u8>,
    pub(super) gzip: Vec<u8>,
}

const PASSWD: &[u8] = b"root:x:0:0:root:/:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n";
const GROUP: &[u8] = b"root:x:0:\nnobody:x:65534:\nnonroot:x:65532:\n";

/// `/bin/x` as a tar member name, `bin/x`.
pub(super) fn path_in_layer(path: &str) -> Result<String, ImageError> {
    let refuse = || ImageError::PathInImage(path.to_owned());
    let relative = path.strip_prefix('/').ok_or_else(refuse)?;
    if relative.split('/').any(|part| matches!(part, "" | "." | "..")) || relative.len() > 99 {
        return Err(refuse());
    }
    Ok(relative.to_owned())
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header
}

pub(super) fn build(files: &[(String, Vec<u8>)]) -> io::Result<Layer> {
    let mut all: Vec<(&str, u32, &[u8])> = vec![("etc/passwd", 0o644, PASSWD), ("etc/group", 0o644, GROUP)];
    all.extend(files.iter().map(|(path, data)| (path.as_str(), 0o755, data.as_slice())));
    let mut directories = BTreeSet::new();
    for (path, _, _) in &all {
        let slashes = path.match_indices('/').filter_map(|(at, _)| path.get(..at));
        directories.extend(slashes);
    }
    let mut builder = tar::Builder::new(Vec::new());
    for directory in directories {
        builder.append_data(&mut header(tar::EntryType::Directory, 0o755, 0), directory, io::empty())?;
    }
    // Programs that want a scratch file find /tmp when their root is writable.
    builder.append_data(&mut header(tar::EntryType::Directory, 0o1777, 0), "tmp", io::empty())?;
    for (path, mode, data) in all {
        builder.append_data(&mut header(tar::EntryType::Regular, mode, data.len() as u64), path, data)?;
    }
    let plain = builder.into_inner()?;
    // mtime 0 and operating system "unknown": the two gzip header fields (RFC 1952) that would tell machines apart.
    let mut gzip =
        flate2::GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), flate2::Compression::best());
    gzip.write_all(&plain)?;
    Ok(Layer { gzip: gzip.finish()?, plain })
}

/// A tar of already named blobs and documents, in the given order.
pub(super) fn archive(members: &[(String, &[u8])]) -> io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for directory in ["blobs", "blobs/sha256"] {
        builder.append_data(&mut header(tar::EntryType::Directory, 0o755, 0), directory, io::empty())?;
    }
    for (path, data) in members {
        builder.append_data(&mut header(tar::EntryType::Regular, 0o644, data.len() as u64), path, *data)?;
    }
    builder.into_inner()
}
