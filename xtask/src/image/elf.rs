//! The few ELF fields that decide whether a program can run on scratch (System V gABI, chapters 4 and 5).

use std::path::Path;

use super::ImageError;

/// A processor architecture, in the words of the OCI image specification (GOARCH).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// x86-64.
    Amd64,
    /// 64-bit Arm.
    Arm64,
}

impl Architecture {
    /// The GOARCH name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }
}

/// Program header type of the path to the dynamic loader.
const PT_INTERP: u32 = 3;

fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(data.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(data.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u64_at(data: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(data.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

/// Architecture of a static 64-bit little-endian ELF program; everything else is refused.
pub(super) fn inspect(data: &[u8], path: &Path) -> Result<Architecture, ImageError> {
    let refuse = |reason| ImageError::NotAProgram { path: path.to_path_buf(), reason };
    if data.get(..6) != Some(&[0x7f, b'E', b'L', b'F', 2, 1]) {
        return Err(refuse("no 64-bit little-endian ELF program"));
    }
    let architecture = match u16_at(data, 18) {
        Some(62) => Architecture::Amd64,
        Some(183) => Architecture::Arm64,
        _ => return Err(refuse("built for an architecture that this tool does not name (amd64 and arm64 are)")),
    };
    let headers = || -> Option<bool> {
        let offset = usize::try_from(u64_at(data, 32)?).ok()?;
        let (size, count) = (usize::from(u16_at(data, 54)?), usize::from(u16_at(data, 56)?));
        for index in 0..count {
            if u32_at(data, offset.checked_add(size.checked_mul(index)?)?)? == PT_INTERP {
                return Some(true);
            }
        }
        Some(false)
    };
    match headers() {
        Some(false) => Ok(architecture),
        Some(true) => Err(ImageError::NotStatic(path.to_path_buf())),
        None => Err(refuse("truncated ELF program headers")),
    }
}
