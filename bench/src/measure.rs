//! Samples of a quantity, their summary, and their display.

use serde::{Deserialize, Serialize};

/// The unit of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Unit {
    /// Seconds of wall clock time.
    Seconds,
    /// Bytes.
    Bytes,
    /// A plain count.
    Count,
    /// A fraction: 1.0 is displayed as 100 %.
    Share,
    /// US dollars.
    Dollars,
}

impl Unit {
    /// Formats a number with its unit for people.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::Seconds if value < 0.0995 => format!("{:.1} ms", value * 1e3),
            Self::Seconds if value < 0.9995 => format!("{:.0} ms", value * 1e3),
            Self::Seconds if value < 1000.0 => format!("{value:.2} s"),
            Self::Seconds => format!("{:.1} min", value / 60.0),
            Self::Bytes => show_bytes(value),
            Self::Count if value.fract() == 0.0 => format!("{value:.0}"),
            Self::Count => format!("{value:.1}"),
            Self::Share => format!("{:.1} %", value * 100.0),
            Self::Dollars => format!("${value:.2}"),
        }
    }
}

/// Uses decimal units (1 kB is 1000 bytes), as disks, networks and bills do.
fn show_bytes(bytes: f64) -> String {
    match bytes {
        bytes if bytes < 1e3 => format!("{bytes:.0} B"),
        bytes if bytes < 1e6 => format!("{:.1} kB", bytes / 1e3),
        bytes if bytes < 1e9 => format!("{:.1} MB", bytes / 1e6),
        bytes => format!("{:.2} GB", bytes / 1e9),
    }
}

/// The samples of one quantity, one per run, in run order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Samples(Vec<f64>);

/// Median and range of some samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct SampleSummary {
    /// The middle sample, or the mean of the two middle samples.
    pub(crate) median: f64,
    /// The smallest sample.
    pub(crate) min: f64,
    /// The largest sample.
    pub(crate) max: f64,
}

impl Samples {
    /// Appends the sample of a run.
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The number of samples.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns median and range, or `None` if there are no samples.
    pub(crate) fn summary(&self) -> Option<SampleSummary> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Some(SampleSummary { median, min, max })
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<T: IntoIterator<Item = f64>>(values: T) -> Self {
        Self(values.into_iter().collect())
    }
}

impl SampleSummary {
    /// The ratio of the medians, or `None` if the reference is zero.
    pub(crate) fn ratio_to(&self, reference: &Self) -> Option<f64> {
        (reference.median > 0.0).then(|| self.median / reference.median)
    }
}

/// Formats a ratio with two significant digits, including small ratios.
pub(crate) fn show_ratio(ratio: f64) -> String {
    match ratio {
        ratio if ratio < 0.0995 => format!("{ratio:.3}x"),
        ratio if ratio < 9.95 => format!("{ratio:.2}x"),
        ratio => format!("{ratio:.0}x"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(values: &[f64]) -> SampleSummary {
        let samples: Samples = values.iter().copied().collect();
        samples.summary().unwrap()
    }

    #[test]
    fn the_median_is_the_middle_whatever_the_order_of_the_runs() {
        let odd = summary(&[9.0, 1.0, 2.0]);
        assert_eq!((odd.median, odd.min, odd.max), (2.0, 1.0, 9.0));
        let even = summary(&[4.0, 1.0, 2.0, 100.0]);
        assert_eq!((even.median, even.min, even.max), (3.0, 1.0, 100.0));
        let one = summary(&[5.0]);
        assert_eq!((one.median, one.min, one.max), (5.0, 5.0, 5.0));
        assert_eq!(Samples::default().summary(), None);
    }

    #[test]
    fn a_ratio_is_of_medians_and_never_of_nothing() {
        let ours = summary(&[1.0, 2.0, 30.0]);
        let theirs = summary(&[8.0, 4.0, 2.0]);
        assert_eq!(ours.ratio_to(&theirs), Some(0.5));
        assert_eq!(ours.ratio_to(&summary(&[0.0])), None);
    }

    #[test]
    fn numbers_are_shown_in_the_unit_that_fits() {
        let seconds = [0.00123, 0.0994, 0.0996, 0.9994, 0.9996, 12.345];
        let shown = seconds.map(|value| Unit::Seconds.show(value));
        let wanted = ["1.2 ms", "99.4 ms", "100 ms", "999 ms", "1.00 s", "12.35 s"];
        assert_eq!(shown, wanted.map(str::to_owned));
        let bytes = [0.0, 999.0, 1500.0, 124_960_000.0, 2.5e9];
        let shown = bytes.map(|value| Unit::Bytes.show(value));
        let wanted = ["0 B", "999 B", "1.5 kB", "125.0 MB", "2.50 GB"];
        assert_eq!(shown, wanted.map(str::to_owned));
        let others = [
            Unit::Seconds.show(1500.0),
            Unit::Count.show(3.0),
            Unit::Count.show(2.25),
            Unit::Share.show(0.123),
            Unit::Dollars.show(1.5),
        ];
        assert_eq!(others, ["25.0 min", "3", "2.2", "12.3 %", "$1.50"]);
        let ratios = [0.0123, 0.5, 9.9, 31.6].map(show_ratio);
        assert_eq!(
            ratios,
            ["0.012x", "0.50x", "9.90x", "32x"].map(str::to_owned)
        );
    }
}
