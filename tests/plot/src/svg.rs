//! The drawing.

use crate::{
    Chart, Series, Style,
    axis::{Span, number},
};
use std::fmt::Write as _;

/// Okabe and Ito's colours: told apart by everybody, in print, and on white.
const COLOURS: [&str; 8] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8a8a00"];

const WIDTH: f64 = 860.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 250.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 56.0;
const LINE: f64 = 18.0;
/// Of the area that the axes span, at least.
const PLOT: f64 = 300.0;

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Where things stand.
struct Frame {
    height: f64,
    x: Span,
    y: Span,
}

impl Frame {
    fn x(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        self.bottom() - self.y.place(value) * (self.bottom() - TOP)
    }

    const fn bottom(&self) -> f64 {
        self.height - BOTTOM
    }
}

// Writing to a String cannot fail: every result below is dropped.

fn text(out: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let _ = writeln!(out, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{}</text>"#, escaped(text));
}

fn line(out: &mut String, from: (f64, f64), to: (f64, f64), style: &str) {
    let _ = writeln!(out, r#"<line x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}" {style}/>"#, from.0, from.1, to.0, to.1);
}

fn grid(out: &mut String, chart: &Chart, frame: &Frame) {
    let style = |labelled| if labelled { r##"stroke="#cccccc""## } else { r##"stroke="#eeeeee""## };
    let (right, bottom) = (WIDTH - RIGHT, frame.bottom());
    for (value, labelled) in frame.x.ticks() {
        let x = frame.x(value);
        line(out, (x, TOP), (x, bottom), style(labelled));
        if labelled {
            text(out, x, bottom + LINE, "middle", &number(value));
        }
    }
    for (value, labelled) in frame.y.ticks() {
        let y = frame.y(value);
        line(out, (LEFT, y), (right, y), style(labelled));
        if labelled {
            text(out, LEFT - 6.0, y + 4.0, "end", &number(value));
        }
    }
    text(out, (LEFT + right) / 2.0, frame.height - 14.0, "middle", &chart.x.label);
    let (x, y) = (18.0, (TOP + bottom) / 2.0);
    let _ = writeln!(
        out,
        r#"<text transform="translate({x:.1} {y:.1}) rotate(-90)" text-anchor="middle">{}</text>"#,
        escaped(&chart.y.label)
    );
}

fn series(out: &mut String, chart: &Chart, frame: &Frame, series: &Series, colour: &str) {
    let shown = |(x, y): &&(f64, f64)| chart.x.shows(*x) && chart.y.shows(*y);
    let places: Vec<(f64, f64)> = series.points.iter().filter(shown).map(|(x, y)| (frame.x(*x), frame.y(*y))).collect();
    let mut path = String::new();
    let mut last: Option<f64> = None;
    for (x, y) in &places {
        if let (Style::Steps, Some(before)) = (series.style, last) {
            let _ = write!(path, "{x:.1},{before:.1} ");
        }
        let _ = write!(path, "{x:.1},{y:.1} ");
        last = Some(*y);
    }
    let _ = writeln!(out, r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"/>"#, path.trim_end());
    if series.style == Style::Line {
        for (x, y) in places {
            let _ = writeln!(out, r#"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="{colour}"/>"#);
        }
    }
}

pub(crate) fn draw(chart: &Chart) -> String {
    let points = || chart.series.iter().flat_map(|series| series.points.iter().copied());
    let marks = chart.marks.iter().map(|(_, x)| *x);
    #[expect(clippy::cast_precision_loss, reason = "a legend has few lines")]
    let legend = (chart.series.len() + chart.marks.len()) as f64 * LINE;
    let frame = Frame {
        height: TOP + BOTTOM + legend.max(PLOT),
        x: chart.x.span(points().map(|(x, _)| x).chain(marks)),
        y: chart.y.span(points().map(|(_, y)| y)),
    };
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{0}\" viewBox=\"0 0 {WIDTH} {0}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
        frame.height
    );
    let _ = writeln!(out, r#"<text x="{LEFT}" y="24" font-size="15">{}</text>"#, escaped(&chart.title));
    grid(&mut out, chart, &frame);
    let mut key = TOP + 10.0;
    let at = WIDTH - RIGHT + 16.0;
    for (one, colour) in chart.series.iter().zip(COLOURS.iter().cycle()) {
        series(&mut out, chart, &frame, one, colour);
        line(&mut out, (at, key - 4.0), (at + 20.0, key - 4.0), &format!(r#"stroke="{colour}" stroke-width="2""#));
        text(&mut out, at + 26.0, key, "start", &one.name);
        key += LINE;
    }
    for ((name, value), colour) in chart.marks.iter().zip(COLOURS.iter().rev().cycle()) {
        let style = format!(r#"stroke="{colour}" stroke-width="1.5" stroke-dasharray="6 4""#);
        if chart.x.shows(*value) {
            line(&mut out, (frame.x(*value), TOP), (frame.x(*value), frame.bottom()), &style);
        }
        line(&mut out, (at, key - 4.0), (at + 20.0, key - 4.0), &style);
        text(&mut out, at + 26.0, key, "start", name);
        key += LINE;
    }
    out.push_str("</svg>\n");
    out
}
