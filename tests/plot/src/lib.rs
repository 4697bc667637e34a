//! Plots as SVG text: what the benchmarks and the simulator's programs write into docs/. Pure: numbers in, text out, the same every time.
//!
//! Own code and no plotting crate: two kinds of lines on two kinds of axes need less of it than such a crate's configuration.
//!
//! ```
//! use herald_plot::{Axis, Chart, Series, ecdf};
//! let svg = Chart::new("Take-over", Axis::logarithmic("outage, ms"), Axis::linear("share of trials"))
//!     .with(Series::steps("power loss", ecdf(&[140.0, 151.0, 163.0])))
//!     .mark("budget", 180.0)
//!     .svg();
//! assert!(svg.starts_with("<svg"));
//! ```

mod axis;
mod svg;

pub use axis::Axis;

/// How the points of a series are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Straight lines, with a dot at each point.
    Line,
    /// Horizontal, then up: a cumulative distribution.
    Steps,
}

/// Points that belong together, ascending in x.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// For the legend.
    pub name: String,
    /// x and y.
    pub points: Vec<(f64, f64)>,
    /// How they are joined.
    pub style: Style,
}

impl Series {
    /// Points joined by straight lines.
    #[must_use]
    pub fn line(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points, style: Style::Line }
    }

    /// Points joined by steps.
    #[must_use]
    pub fn steps(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points, style: Style::Steps }
    }
}

/// A plot. Points that its axes cannot show (not finite; not above zero on a logarithmic axis) are left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    pub(crate) title: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) series: Vec<Series>,
    pub(crate) marks: Vec<(String, f64)>,
}

impl Chart {
    /// An empty plot.
    #[must_use]
    pub fn new(title: impl Into<String>, x: Axis, y: Axis) -> Self {
        Self { title: title.into(), x, y, series: Vec::new(), marks: Vec::new() }
    }

    /// With one more series; their colours go round after eight.
    #[must_use]
    pub fn with(mut self, series: Series) -> Self {
        self.series.push(series);
        self
    }

    /// With a vertical line at `x`: a budget, a target.
    #[must_use]
    pub fn mark(mut self, name: impl Into<String>, x: f64) -> Self {
        self.marks.push((name.into(), x));
        self
    }

    /// The SVG document: readable on light and dark pages, no script, no font of its own.
    #[must_use]
    pub fn svg(&self) -> String {
        svg::draw(self)
    }
}

/// Empirical cumulative distribution: for each sample, ascending, the share (0 to 1) of samples that do not exceed it. Begins at zero.
#[must_use]
pub fn ecdf(samples: &[f64]) -> Vec<(f64, f64)> {
    let mut sorted: Vec<f64> = samples.iter().copied().filter(|sample| sample.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let (mut share, mut points) = (0.0, Vec::with_capacity(sorted.len() + 1));
    points.extend(sorted.first().map(|first| (*first, 0.0)));
    #[expect(clippy::cast_precision_loss, reason = "sample counts are far below 2^52")]
    let step = 1.0 / sorted.len().max(1) as f64;
    for sample in sorted {
        share += step;
        points.push((sample, f64::min(share, 1.0)));
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distribution_ends_at_one_and_passes_every_sample() {
        let points = ecdf(&[3.0, 1.0, f64::NAN, 2.0, 2.0]);
        let xs: Vec<f64> = points.iter().map(|(x, _)| *x).collect();
        assert_eq!(xs, [1.0, 1.0, 2.0, 2.0, 3.0]);
        assert_eq!(points.first().map(|(_, share)| *share), Some(0.0));
        assert!((points[2].1 - 0.5).abs() < 1e-9 && (points[4].1 - 1.0).abs() < 1e-9);
        assert_eq!(ecdf(&[]), []);
    }

    #[test]
    fn every_series_and_mark_is_drawn_and_named() {
        let svg = Chart::new("A & B", Axis::logarithmic("ms"), Axis::linear("share"))
            .with(Series::steps("one", ecdf(&[10.0, 200.0])))
            .with(Series::line("two <2>", vec![(1.0, 0.5), (1000.0, 0.25)]))
            .mark("budget", 150.0)
            .svg();
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert_eq!(svg.matches("<circle").count(), 2, "dots of the line only");
        for text in ["A &amp; B", "two &lt;2&gt;", ">one<", ">budget<", ">1000<"] {
            assert!(svg.contains(text), "{text} in {svg}");
        }
        assert!(svg.ends_with("</svg>\n"));
    }

    #[test]
    fn what_an_axis_cannot_show_is_left_out() {
        let points = vec![(0.0, 1.0), (-1.0, 1.0), (f64::INFINITY, 1.0), (5.0, f64::NAN)];
        let chart = |x| Chart::new("", x, Axis::linear("")).with(Series::line("s", points.clone())).svg();
        assert!(!chart(Axis::logarithmic("")).contains("<circle"));
        assert_eq!(chart(Axis::linear("")).matches("<circle").count(), 2);
        for svg in [chart(Axis::logarithmic("")), Chart::new("", Axis::linear(""), Axis::linear("")).svg()] {
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}
