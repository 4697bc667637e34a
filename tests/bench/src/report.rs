//! Figures, their targets, the JSON files and the table.

use crate::{Error, Result, image::ImageFacts, machine::Machine, stats::Distribution};
use serde::{Deserialize, Serialize};
use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Milliseconds.
    #[serde(rename = "ms")]
    Millis,
    /// Microseconds.
    #[serde(rename = "us")]
    Micros,
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// 2^20 bytes.
    #[serde(rename = "MiB")]
    Mebibytes,
    /// Percent.
    #[serde(rename = "%")]
    Percent,
    /// A multiple of something.
    #[serde(rename = "x")]
    Times,
    /// Pieces.
    #[serde(rename = "")]
    Pieces,
}

impl Unit {
    /// As it stands behind a number.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Millis => "ms",
            Self::Micros => "us",
            Self::Seconds => "s",
            Self::Mebibytes => "MiB",
            Self::Percent => "%",
            Self::Times => "x",
            Self::Pieces => "",
        }
    }
}

/// The part of a distribution that a target is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stat {
    /// The median.
    P50,
    /// The 99th percentile.
    P99,
    /// The worst.
    Max,
}

/// A figure to reach: the part of the distribution is to be at most the limit, in the figure's unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// Which part.
    pub stat: Stat,
    /// Its limit.
    pub limit: f64,
}

impl Target {
    fn met(&self, distribution: &Distribution) -> bool {
        let value = match self.stat {
            Stat::P50 => distribution.p50,
            Stat::P99 => distribution.p99,
            Stat::Max => distribution.max,
        };
        value <= self.limit
    }

    fn text(&self, unit: Unit) -> String {
        let stat = match self.stat {
            Stat::P50 => "p50",
            Stat::P99 => "p99",
            Stat::Max => "max",
        };
        format!("{stat} <= {} {}", self.limit, unit.label()).trim_end().to_owned()
    }
}

/// One measured quantity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What.
    pub name: String,
    /// In which unit.
    pub unit: Unit,
    /// The samples.
    pub distribution: Distribution,
    /// What is to be reached; nothing where it is only to be known.
    pub targets: Vec<Target>,
}

impl Figure {
    /// A figure of these samples.
    ///
    /// # Errors
    /// [`Error::NotSeen`] when there is no sample.
    pub fn new(name: impl Into<String>, unit: Unit, samples: &[f64]) -> Result<Self> {
        let name = name.into();
        let distribution = Distribution::of(samples).ok_or_else(|| Error::NotSeen(format!("a sample of: {name}")))?;
        Ok(Self { name, unit, distribution, targets: Vec::new() })
    }

    /// With a target.
    #[must_use]
    pub fn target(mut self, stat: Stat, limit: f64) -> Self {
        self.targets.push(Target { stat, limit });
        self
    }

    /// The targets in words.
    #[must_use]
    pub fn targets(&self) -> String {
        self.targets.iter().map(|target| target.text(self.unit)).collect::<Vec<_>>().join(", ")
    }

    /// Whether it explains the figure before it and is none of its own.
    #[must_use]
    pub fn is_detail(&self) -> bool {
        self.name.starts_with("- ")
    }

    /// Whether the targets were met.
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        if self.targets.is_empty() {
            "-"
        } else if self.targets.iter().all(|target| target.met(&self.distribution)) {
            "ok"
        } else {
            "MISSED"
        }
    }
}

/// The result of one benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its name, as `--only` takes it.
    pub benchmark: String,
    /// What it is about, for people.
    pub title: String,
    /// How it was measured.
    pub method: String,
    /// What was found.
    pub figures: Vec<Figure>,
    /// Where.
    pub machine: Machine,
    /// Of which image.
    pub image: ImageFacts,
    /// When it began, RFC 3339.
    pub began: String,
    /// How long it took, in seconds.
    pub seconds: f64,
}

fn file(folder: &Path, benchmark: &str) -> PathBuf {
    folder.join(format!("{benchmark}.json"))
}

impl Record {
    /// Writes it into `folder`, as `NAME.json`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).map_err(Error::file("creating", folder))?;
        let path = file(folder, &self.benchmark);
        let partial = path.with_extension("partial");
        let text = serde_json::to_vec_pretty(self).map_err(Error::json("the record"))?;
        fs::write(&partial, text).map_err(Error::file("writing", &partial))?;
        fs::rename(&partial, &path).map_err(Error::file("renaming", &partial))
    }

    /// The record of a benchmark from an earlier run; `None` when there is none that can be read.
    #[must_use]
    pub fn read(folder: &Path, benchmark: &str) -> Option<Self> {
        serde_json::from_slice(&fs::read(file(folder, benchmark)).ok()?).ok()
    }
}

/// Three digits that matter; whole numbers as they are.
#[must_use]
pub fn number(value: f64) -> String {
    let digits = if value.fract() == 0.0 {
        0
    } else if value.abs() < 10.0 {
        2
    } else if value.abs() < 100.0 {
        1
    } else {
        0
    };
    format!("{value:.digits$}")
}

/// All figures as text.
#[must_use]
pub fn table(records: &[Record]) -> String {
    let header = ["figure", "unit", "n", "min", "p50", "p90", "p99", "max", "target", ""].map(str::to_owned);
    let mut rows = vec![header];
    for figure in records.iter().flat_map(|record| &record.figures) {
        let d = &figure.distribution;
        rows.push([
            figure.name.clone(),
            figure.unit.label().to_owned(),
            d.count.to_string(),
            number(d.min),
            number(d.p50),
            number(d.p90),
            number(d.p99),
            number(d.max),
            figure.targets(),
            figure.verdict().to_owned(),
        ]);
    }
    let mut widths = [0; 10];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            // Writing to a String cannot fail.
            let _ = match column {
                2..=7 => write!(line, "{cell:>width$}  "),
                _ => write!(line, "{cell:<width$}  "),
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    for record in records {
        let _ = writeln!(text, "\n{}: {}", record.benchmark, record.method);
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn record() -> Record {
        let figures = vec![
            Figure::new("gap", Unit::Millis, &[400.0, 380.0, 900.0])
                .unwrap()
                .target(Stat::P50, 450.0)
                .target(Stat::Max, 800.0),
            Figure::new("size", Unit::Mebibytes, &[5.888]).unwrap().target(Stat::Max, 10.0),
            Figure::new("share", Unit::Millis, &[12.25]).unwrap(),
        ];
        Record {
            benchmark: "takeover".into(),
            title: "Take-over".into(),
            method: "as it was done".into(),
            figures,
            machine: Machine::default(),
            image: ImageFacts::default(),
            began: String::new(),
            seconds: 1.0,
        }
    }

    #[test]
    fn one_missed_target_is_missed() {
        let table = table(&[record()]);
        let line = |name: &str| table.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(line("gap").ends_with("p50 <= 450 ms, max <= 800 ms  MISSED"), "{table}");
        assert!(line("size").contains("5.89") && line("size").ends_with("ok"), "{table}");
        assert!(line("share").ends_with('-'), "{table}");
        assert!(table.contains("takeover: as it was done"));
    }

    #[test]
    fn records_survive_their_file() {
        let folder = std::env::temp_dir().join(format!("herald-bench-{}", std::process::id()));
        record().write(&folder).unwrap();
        assert_eq!(Record::read(&folder, "takeover"), Some(record()));
        assert_eq!(Record::read(&folder, "other"), None);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn no_sample_is_an_error() {
        assert!(matches!(Figure::new("gap", Unit::Millis, &[]), Err(Error::NotSeen(_))));
    }
}
