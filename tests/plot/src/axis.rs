//! From values to places along an axis, and where its ticks stand.

/// A dimension of a plot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Axis {
    pub(crate) label: String,
    logarithmic: bool,
}

/// The part of an axis that is shown, in values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Span {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Axis {
    /// From zero (or the lowest value below it) on.
    #[must_use]
    pub fn linear(label: impl Into<String>) -> Self {
        Self { label: label.into(), logarithmic: false }
    }

    /// Whole powers of ten; for values above zero.
    #[must_use]
    pub fn logarithmic(label: impl Into<String>) -> Self {
        Self { label: label.into(), logarithmic: true }
    }

    pub(crate) fn shows(&self, value: f64) -> bool {
        value.is_finite() && (!self.logarithmic || value > 0.0)
    }

    /// The span that holds all these values and begins and ends at ticks.
    pub(crate) fn span(&self, values: impl Iterator<Item = f64>) -> Span {
        let ends = |ends: Option<(f64, f64)>, value: f64| {
            Some(ends.map_or((value, value), |(low, high)| (low.min(value), high.max(value))))
        };
        let found = values.filter(|value| self.shows(*value)).fold(None, ends);
        let logarithmic = self.logarithmic;
        if logarithmic {
            let (low, high) = found.unwrap_or((1.0, 10.0));
            let (low, high) = (low.log10().floor(), high.log10().ceil());
            let high = if high > low { high } else { low + 1.0 };
            Span { low: 10_f64.powf(low), high: 10_f64.powf(high), logarithmic }
        } else {
            let (low, high) = found.unwrap_or((0.0, 1.0));
            let (low, high) = (low.min(0.0), high.max(0.0));
            let high = if high > low { high } else { low + 1.0 };
            let step = step(high - low);
            Span { low: (low / step).floor() * step, high: (high / step).ceil() * step, logarithmic }
        }
    }
}

/// 1, 2 or 5 times a power of ten, so that four to ten of them make the width.
fn step(width: f64) -> f64 {
    let power = 10_f64.powf(width.log10().floor());
    match width / power {
        ratio if ratio <= 1.0 => power / 5.0,
        ratio if ratio <= 2.0 => power / 4.0,
        ratio if ratio <= 5.0 => power / 2.0,
        _ => power,
    }
}

impl Span {
    /// 0 at its low end, 1 at its high end.
    pub(crate) fn place(&self, value: f64) -> f64 {
        if self.logarithmic {
            (value / self.low).log10() / (self.high / self.low).log10()
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }

    /// Where lines across the plot stand; those with `true` are to be labelled.
    pub(crate) fn ticks(&self) -> Vec<(f64, bool)> {
        let mut ticks = Vec::new();
        if self.logarithmic {
            let mut power = self.low;
            while power < self.high * 0.999 {
                ticks.extend((1..10).map(|digit| (power * f64::from(digit), digit == 1)));
                power *= 10.0;
            }
            ticks.push((self.high, true));
        } else {
            let step = step(self.high - self.low);
            let mut at = self.low;
            while at < self.high + step * 0.001 {
                ticks.push((at, true));
                at += step;
            }
        }
        ticks
    }
}

/// As short as it can be said.
pub(crate) fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text.is_empty() || text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decades_hold_the_values() {
        let span = Axis::logarithmic("").span([12.0, 480.0, 0.0, -3.0].into_iter());
        assert_eq!((span.low, span.high), (10.0, 1000.0));
        assert!((span.place(100.0) - 0.5).abs() < 1e-9);
        let labelled: Vec<String> =
            span.ticks().into_iter().filter(|(_, label)| *label).map(|(at, _)| number(at)).collect();
        assert_eq!(labelled, ["10", "100", "1000"]);
        let one = Axis::logarithmic("").span([100.0].into_iter());
        assert!(one.high > one.low);
    }

    #[test]
    fn linear_begins_at_zero_and_ends_at_a_tick() {
        let span = Axis::linear("").span([3.0, 7.2].into_iter());
        assert_eq!((span.low, span.high), (0.0, 8.0));
        assert_eq!(span.ticks().len(), 9);
        let below = Axis::linear("").span([-1.0, 1.0].into_iter());
        assert!(below.low <= -1.0 && (below.place(below.high) - 1.0).abs() < 1e-9);
        let nothing = Axis::linear("").span(std::iter::empty());
        assert!(nothing.high > nothing.low);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([0.25, 10.0, 0.0, -0.0001, 1e6].map(number), ["0.25", "10", "0", "0", "1000000"]);
    }
}
