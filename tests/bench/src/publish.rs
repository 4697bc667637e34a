//! What is published: `results.json`, `README.md` with the table, and a plot of every distribution.

use crate::{
    Error, Result,
    image::ImageFacts,
    machine::Machine,
    report::{Figure, Record, Stat, Unit, number},
};
use herald_plot::{Axis, Chart, Series, ecdf};
use serde::Serialize;
use std::{fmt::Write as _, fs, path::Path};

/// Everything of one image.
#[derive(Debug, Clone, Serialize)]
pub struct Results {
    /// What was measured, e.g. `Herald 0.1.0`.
    pub subject: String,
    /// Version of Kubernetes.
    pub kubernetes: String,
    /// The image.
    pub image: ImageFacts,
    /// The machine.
    pub machine: Machine,
    /// In the order of measuring.
    pub records: Vec<Record>,
    /// Benchmarks that could not be measured, with the reason.
    pub missing: Vec<(String, String)>,
}

/// Distributions of fewer samples say nothing.
const PLOTTED: usize = 3;

/// A figure of time with enough samples for a curve.
fn is_plotted(figure: &Figure) -> bool {
    figure.distribution.samples.len() >= PLOTTED && matches!(figure.unit, Unit::Millis | Unit::Micros)
}

fn curve(name: &str, figure: &Figure) -> Series {
    Series::steps(name, ecdf(&figure.distribution.samples))
}

fn chart(title: &str, unit: Unit) -> Chart {
    Chart::new(title, Axis::logarithmic(unit.label()), Axis::linear("share of samples at most so long"))
}

impl Record {
    /// Its distributions of the unit of the first one, with the targets of that.
    fn plot(&self) -> Option<String> {
        let plotted: Vec<&Figure> = self.figures.iter().filter(|figure| is_plotted(figure)).collect();
        let first = plotted.first()?;
        let mut chart = chart(&self.title, first.unit);
        for figure in plotted.iter().filter(|figure| figure.unit == first.unit) {
            chart = chart.with(curve(figure.name.trim_start_matches("- "), figure));
        }
        for target in &first.targets {
            let stat = match target.stat {
                Stat::P50 => "p50",
                Stat::P99 => "p99",
                Stat::Max => "max",
            };
            chart = chart.mark(format!("budget of {stat}: {}", target.limit), target.limit);
        }
        Some(chart.svg())
    }
}

impl Results {
    /// The first distribution of every benchmark whose name is among these, in one plot.
    fn overview(&self, title: &str, names: &[&str]) -> Option<String> {
        let all = self.records.iter().filter(|record| names.contains(&record.benchmark.as_str()));
        let first = all.filter_map(|record| Some((record, record.figures.iter().find(|figure| is_plotted(figure))?)));
        let first: Vec<_> = first.filter(|(_, figure)| figure.unit == Unit::Millis).collect();
        let drawn = |chart: Chart, (record, figure): &(&Record, &Figure)| chart.with(curve(&record.benchmark, figure));
        (!first.is_empty()).then(|| first.iter().fold(chart(title, Unit::Millis), drawn).svg())
    }

    /// The page.
    fn markdown(&self, has_overview: bool) -> String {
        let mut text = String::from(
            "# Figures\n\nWritten by `make bench`. What is measured, and how to read it: [benchmarks.md](../benchmarks.md).\n\n",
        );
        let began = self.records.iter().map(|record| record.began.as_str()).min().unwrap_or_default();
        let seconds: f64 = self.records.iter().map(|record| record.seconds).sum();
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(
            text,
            "- {}, image sha256 `{}`; Kubernetes {}\n- {}\n- began {began}, measured for {:.0} minutes\n",
            self.subject,
            self.image.digest.get(..16).unwrap_or_default(),
            self.kubernetes,
            self.machine.line(),
            seconds / 60.0
        );
        text.push_str(
            "| Benchmark | Figure | n | p50 | p99 | max | | Budget | |\n|---|---|--:|--:|--:|--:|---|---|---|\n",
        );
        for record in &self.records {
            for (at, figure) in record.figures.iter().enumerate() {
                let d = &figure.distribution;
                let name = if at == 0 { format!("`{}`", record.benchmark) } else { String::new() };
                let verdict = match figure.verdict() {
                    "MISSED" => "**missed**",
                    "ok" => "met",
                    _ => "",
                };
                let _ = writeln!(
                    text,
                    "| {name} | {} | {} | {} | {} | {} | {} | {} | {verdict} |",
                    if figure.is_detail() { format!("&nbsp;&nbsp;{}", figure.name) } else { figure.name.clone() },
                    d.count,
                    number(d.p50),
                    number(d.p99),
                    number(d.max),
                    figure.unit.label(),
                    figure.targets().replace("<=", "≤"),
                );
            }
        }
        for (name, reason) in &self.missing {
            let _ = writeln!(text, "| `{name}` | not measured: {} | | | | | | | |", reason.replace(['|', '\n'], " "));
        }
        text.push_str("\np99 of fewer than 100 samples is the maximum. No warm-up and no outlier was left out.\n");
        if has_overview {
            text.push_str("\n## Outage that a client sees\n\n![Outage by fault](outage.svg)\n");
        }
        text.push_str("\n## How each was measured\n");
        for record in &self.records {
            let _ = writeln!(text, "\n### {}\n\n`{}`: {}.", record.title, record.benchmark, record.method);
            if record.plot().is_some() {
                let _ = writeln!(text, "\n![{}]({}.svg)", record.title, record.benchmark);
            }
        }
        text
    }

    /// Writes all of it into `folder`; `failures` are the benchmarks of the overview.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, folder: &Path, failures: &[&str]) -> Result<()> {
        fs::create_dir_all(folder).map_err(Error::file("creating", folder))?;
        let put = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).map_err(Error::file("writing", &path))
        };
        let overview = self.overview("Outage that a client sees, by fault", failures);
        put("README.md", &self.markdown(overview.is_some()))?;
        overview.map_or(Ok(()), |svg| put("outage.svg", &svg))?;
        for record in &self.records {
            record.plot().map_or(Ok(()), |svg| put(&format!("{}.svg", record.benchmark), &svg))?;
        }
        let mut json = serde_json::to_string_pretty(self).map_err(Error::json("the results"))?;
        json.push('\n');
        put("results.json", &json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::record;

    fn results() -> Results {
        Results {
            subject: "Herald 0".into(),
            kubernetes: "1.34".into(),
            image: ImageFacts::default(),
            machine: Machine::default(),
            records: vec![record()],
            missing: vec![("moves".into(), "not seen: a | b\nc".into())],
        }
    }

    #[test]
    fn the_table_says_what_was_met_missed_and_not_measured() {
        let text = results().markdown(true);
        assert!(
            text.contains("| `takeover` | gap | 3 | 400 | 900 | 900 | ms | p50 ≤ 450 ms, max ≤ 800 ms | **missed** |"),
            "{text}"
        );
        assert!(text.contains("|  | size | 1 | 5.89 | 5.89 | 5.89 | MiB | max ≤ 10 MiB | met |"), "{text}");
        assert!(text.contains("| `moves` | not measured: not seen: a   b c |"), "{text}");
        assert!(text.contains("![Take-over](takeover.svg)"));
    }

    #[test]
    fn only_distributions_of_time_are_plotted_with_their_budget() {
        let svg = record().plot().unwrap();
        assert_eq!(svg.matches("<polyline").count(), 1, "one sample, or a size, is no curve");
        assert!(svg.contains("budget of p50: 450") && svg.contains("budget of max: 800"));
        assert!(results().overview("all", &["takeover"]).is_some());
        assert_eq!(results().overview("all", &["other"]), None);
    }

    #[test]
    fn everything_is_written() {
        let folder = std::env::temp_dir().join(format!("herald-publish-{}", std::process::id()));
        results().write(&folder, &["takeover"]).unwrap();
        for name in ["README.md", "results.json", "takeover.svg", "outage.svg"] {
            assert!(folder.join(name).is_file(), "{name}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
