//! Logging to stderr, for people or for machines.

use std::{fmt, io::IsTerminal as _, str::FromStr};
use tracing_subscriber::{
    filter::{ParseError, Targets},
    fmt as layer,
    util::TryInitError,
};

/// How lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// A log format that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("log format {0:?} does not exist: use human or json")]
pub struct UnknownFormat(String);

impl FromStr for LogFormat {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "human" | "text" => Ok(Self::Human),
            "json" => Ok(Self::Json),
            other => Err(UnknownFormat(other.to_owned())),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Human => "human",
            Self::Json => "json",
        })
    }
}

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Neither a MetalLB level name nor a tracing directive.
    #[error("log level {level:?} is not understood ({source}): use all, debug, info, warn, error or none")]
    Level {
        /// What was given.
        level: String,
        /// What the filter says.
        source: ParseError,
    },
    /// Somebody else was first.
    #[error("logging was started twice: {0}")]
    Twice(#[from] TryInitError),
}

/// The filter of a level: MetalLB's names (all, debug, info, warn, error, none), or levels by target
/// (`info,herald_core=debug`). Not `EnvFilter`: it would bring a regex engine into every node's memory.
fn filter(level: &str) -> Result<Targets, ParseError> {
    // Below debug the libraries say a line for every packet and every TLS record: only Herald's own crates go that far.
    let directive = match level.trim() {
        "all" => {
            "debug,herald=trace,herald_api=trace,herald_controller=trace,herald_core=trace,herald_runtime=trace,\
                  herald_speaker=trace,herald_wire=trace,h2=info,hyper_util=info,rustls=info"
        }
        "debug" => "debug,h2=info,hyper_util=info,rustls=info,tower=info,kube_client=info,kube_runtime=info",
        "" | "info" => "info",
        "warn" => "warn",
        "error" => "error",
        "none" => "off",
        other => other,
    };
    directive.parse()
}

/// Starts logging to stderr for the whole process. Once.
///
/// # Errors
/// A level that is not understood, or logging that was started before.
pub fn init(format: LogFormat, level: &str) -> Result<(), LogError> {
    use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};
    let filter = filter(level).map_err(|source| LogError::Level { level: level.to_owned(), source })?;
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Human => {
            let colours = std::io::stderr().is_terminal();
            registry.with(layer::layer().with_ansi(colours).with_writer(std::io::stderr)).try_init()?;
        }
        LogFormat::Json => {
            registry.with(layer::layer().json().flatten_event(true).with_writer(std::io::stderr)).try_init()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_name_of_metallb_is_understood() {
        for level in ["all", "debug", "info", "warn", "error", "none"] {
            assert!(filter(level).is_ok(), "{level}");
        }
    }

    #[test]
    fn a_wrong_level_is_refused_and_named() {
        assert!(filter("info,herald_core=loud").is_err());
    }

    #[test]
    fn formats_round_trip() {
        for format in [LogFormat::Human, LogFormat::Json] {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert_eq!("xml".parse::<LogFormat>(), Err(UnknownFormat("xml".to_owned())));
    }
}
