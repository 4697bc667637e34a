//! Which links are never used: regular expressions for their names, in the format of MetalLB's `excludel2.yaml`.

use regex_lite::Regex;
use serde::Deserialize;
use std::sync::Arc;
use tokio::sync::watch;

/// Links that carry pods, not the LAN: MetalLB's default list. By name and never by kind, because a bridge or veth may well be the node's
/// only way out. Its `^lo$` is missing: loopback is known by its flag.
pub const DEFAULT_EXCLUDED: [&str; 13] = [
    "^docker.*",
    "^cbr.*",
    "^dummy.*",
    "^virbr.*",
    "^lxcbr.*",
    "^veth.*",
    "^cali.*",
    "^tunl.*",
    "^flannel.*",
    "^kube-ipvs.*",
    "^cni.*",
    "^nodelocaldns.*",
    "^lxc.*",
];

/// Names of links that are never used: those that one of the expressions matches, anywhere in the name unless it says `^`.
#[derive(Debug, Clone, Default)]
pub struct Exclude(Vec<Regex>);

/// Why a list of expressions cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExcludeError {
    /// Not an expression.
    #[error("{pattern:?} is no regular expression ({error}): correct it")]
    Pattern {
        /// What stands there.
        pattern: String,
        /// What is wrong with it.
        error: String,
    },
    /// Not the file's format.
    #[error("not a list of expressions under announcedInterfacesToExclude: {0}")]
    File(String),
}

/// MetalLB's file.
#[derive(Deserialize)]
struct File {
    #[serde(rename = "announcedInterfacesToExclude", default)]
    patterns: Vec<String>,
}

impl Exclude {
    /// From expressions.
    ///
    /// # Errors
    /// The first that is none.
    pub fn new<P: AsRef<str>>(patterns: impl IntoIterator<Item = P>) -> Result<Self, ExcludeError> {
        let compile = |pattern: P| {
            let pattern = pattern.as_ref();
            Regex::new(pattern)
                .map_err(|error| ExcludeError::Pattern { pattern: pattern.to_owned(), error: error.to_string() })
        };
        patterns.into_iter().map(compile).collect::<Result<_, _>>().map(Self)
    }

    /// From the text of MetalLB's `excludel2.yaml`.
    ///
    /// # Errors
    /// Another format, or an expression that is none.
    pub fn from_yaml(text: &str) -> Result<Self, ExcludeError> {
        let file: File = serde_saphyr::from_str(text).map_err(|error| ExcludeError::File(error.to_string()))?;
        Self::new(file.patterns)
    }

    /// As a list that never changes.
    #[must_use]
    pub fn fixed(self) -> watch::Receiver<Arc<Self>> {
        watch::channel(Arc::new(self)).1
    }

    /// Its expressions.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(Regex::as_str)
    }

    /// The expression that excludes a link of this name.
    #[must_use]
    pub fn matching(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|pattern| pattern.is_match(name)).map(Regex::as_str)
    }
}

impl PartialEq for Exclude {
    fn eq(&self, other: &Self) -> bool {
        self.patterns().eq(other.patterns())
    }
}

impl Eq for Exclude {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metallbs_file_and_default_list() {
        let default = Exclude::new(DEFAULT_EXCLUDED).unwrap();
        for (name, by) in [
            ("docker0", Some("^docker.*")),
            ("veth12ab", Some("^veth.*")),
            ("lxc1", Some("^lxc.*")),
            ("eth0", None),
            ("mydocker0", None),
            ("local1", None),
        ] {
            assert_eq!(default.matching(name), by, "{name}");
        }
        let file = "announcedInterfacesToExclude: ['^eth[1-3]$', 'wg']\n";
        let exclude = Exclude::from_yaml(file).unwrap();
        assert_eq!(exclude.matching("eth2"), Some("^eth[1-3]$"));
        assert_eq!(exclude.matching("eth20"), None);
        assert_eq!(exclude.matching("my-wg0"), Some("wg"), "anywhere unless anchored, as MetalLB's");
        assert_eq!(exclude, Exclude::new(["^eth[1-3]$", "wg"]).unwrap());
        assert_ne!(exclude, default);
    }

    #[test]
    fn an_empty_list_excludes_nothing_and_a_wrong_one_is_refused() {
        assert_eq!(Exclude::from_yaml("announcedInterfacesToExclude: []").unwrap().matching("docker0"), None);
        assert!(matches!(Exclude::new(["["]), Err(ExcludeError::Pattern { pattern, .. }) if pattern == "["));
        assert!(matches!(Exclude::from_yaml("announcedInterfacesToExclude: docker"), Err(ExcludeError::File(_))));
    }
}
