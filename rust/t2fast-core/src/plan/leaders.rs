//! The best points of a grid so far, under a total order that no number of threads can change.

use std::cmp::Ordering;

use crate::law::Sense;

/// A point of the grid: its place on the axes, its value and its cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) value: f64,
    pub(super) flops: f64,
    pub(super) place: [usize; 3],
}

impl Candidate {
    /// Best first: the better value, then the smaller cost, then the earlier place.
    fn compare(&self, other: &Self, sense: Sense) -> Ordering {
        let value = match sense {
            Sense::Least => self.value.total_cmp(&other.value),
            Sense::Most => other.value.total_cmp(&self.value),
        };
        value.then(self.flops.total_cmp(&other.flops)).then(self.place.cmp(&other.place))
    }
}

/// How far, relative to the value, rounding may make a law depart from being monotone.
pub(super) const ROUNDING: f64 = 1e-13;

/// The best candidates so far, best first, never more than asked for.
pub(super) struct Leaders {
    pub(super) list: Vec<Candidate>,
    most: usize,
    sense: Sense,
}

impl Leaders {
    pub(super) fn new(most: usize, sense: Sense) -> Self {
        // No room is set aside: `most` may be far more than there are points.
        Self { list: Vec::new(), most, sense }
    }

    /// Whether something no better than `value`, but for rounding, and no cheaper than `flops` could enter the list.
    ///
    /// The laws are monotone, their rounding is not. Without the margin, what is looked at, and so the outcome, would
    /// depend on what the list holds already, hence on the number of threads.
    #[inline]
    pub(super) fn welcomes(&self, value: f64, flops: f64, rounding: f64) -> bool {
        let Some(last) = self.list.get(self.most - 1) else {
            return true;
        };
        let margin = rounding * last.value.abs();
        let near = value == last.value || (value - last.value).abs() < margin;
        self.sense.better(value, last.value) || (near && (rounding > 0.0 || flops <= last.flops))
    }

    /// Enters the candidate if it is good enough, and says whether it was.
    pub(super) fn offer(&mut self, candidate: Candidate) -> bool {
        let place = self.list.partition_point(|leader| leader.compare(&candidate, self.sense) == Ordering::Less);
        if place == self.most {
            return false;
        }
        self.list.insert(place, candidate);
        self.list.truncate(self.most);
        true
    }

    pub(super) fn merge(mut self, other: &Self) -> Self {
        for &candidate in &other.list {
            if !self.offer(candidate) {
                break;
            }
        }
        self
    }
}
