//! What can go wrong, and waiting for what has to come.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// Result of everything in the kit.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A step that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The lab or a command in it.
    #[error(transparent)]
    Lab(#[from] herald_lab::Error),
    /// No image to install.
    #[error(
        "there is no image at {0}: make it with `make image` (PROFILE=lab is quicker), or name one with HERALD_IMAGE_TAR"
    )]
    NoImage(PathBuf),
    /// A socket or a file.
    #[error("{what}: {source}")]
    Io {
        /// The operation.
        what: String,
        /// The cause.
        source: std::io::Error,
    },
    /// Something did not come in time.
    #[error("waited {} s for {what}; last seen: {seen}", timeout.as_secs())]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        timeout: Duration,
        /// What was there instead.
        seen: String,
    },
    /// Something is not as it has to be.
    #[error("{0}")]
    Unexpected(String),
}

impl Error {
    /// An I/O error with what was being done.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// An expectation: the text says what was expected, and what came instead.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err($crate::Error::Unexpected(format!($($text)+)));
        }
    };
}

/// What a look at something gave: there, or what is there instead (for the message when time is over).
pub type Look<T> = std::result::Result<T, String>;

/// Looks again every 50 ms until it is there.
///
/// # Errors
/// [`Error::Timeout`] with what was seen last, or the first error of the look itself.
pub fn eventually<T>(what: &str, timeout: Duration, mut look: impl FnMut() -> Result<Look<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        match look()? {
            Ok(value) => return Ok(value),
            Err(seen) if start.elapsed() >= timeout => {
                return Err(Error::Timeout { what: what.to_owned(), timeout, seen });
            }
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_with_the_value_or_with_what_was_seen_last() {
        let mut looks = 0;
        let got = eventually("three looks", Duration::from_secs(60), || {
            looks += 1;
            Ok(if looks == 3 { Ok(looks) } else { Err(format!("look {looks}")) })
        });
        assert_eq!(got.unwrap(), 3);
        let never = eventually("it", Duration::ZERO, || Ok(Look::<()>::Err("nothing".into())));
        assert!(matches!(never, Err(Error::Timeout { seen, .. }) if seen == "nothing"));
        let broken =
            eventually("it", Duration::from_secs(60), || Result::<Look<()>>::Err(Error::Unexpected("broken".into())));
        assert!(matches!(broken, Err(Error::Unexpected(_))));
    }
}
