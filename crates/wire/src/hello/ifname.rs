//! Names of network interfaces.

use std::fmt;

/// The name of a network interface: 1 to 15 bytes of printable ASCII without `/` (Linux: IFNAMSIZ, `dev_valid_name`). In place, as every
/// hello carries some.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IfName {
    // Zeroes behind the name keep equality and order right.
    bytes: [u8; Self::MAX_LEN],
    len: u8,
}

impl IfName {
    /// Longest name in bytes.
    pub const MAX_LEN: usize = 15;

    /// `None` for what is no such name. Linux allows bytes beyond ASCII, too; nobody configures by them.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let valid = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
        let mut bytes = [0; Self::MAX_LEN];
        bytes.get_mut(..name.len()).filter(|_| valid)?.copy_from_slice(name.as_bytes());
        Some(Self { bytes, len: u8::try_from(name.len()).ok()? })
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let name = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        std::str::from_utf8(name).unwrap_or_default()
    }
}

impl fmt::Debug for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
