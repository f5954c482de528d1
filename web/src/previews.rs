//! At which steps of a drawing its page sees the pictures so far: they may take at most a tenth of the drawing.

/// The part of a drawing's time that its previews may take.
const SHARE: f64 = 0.1;

/// What earlier drawings with a model have shown about the cost of a preview.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Of a preview, in decoding steps; none before the first one.
    steps: Option<f64>,
}

/// The previews of one drawing.
#[derive(Debug)]
pub struct Previews {
    cost: Cost,
    began: f64,
    shown: usize,
    /// Milliseconds of all previews so far.
    spent: f64,
}

impl Previews {
    /// A drawing begins at `now`, in milliseconds.
    pub fn begin(cost: Cost, now: f64) -> Self {
        Self { cost, began: now, shown: 0, spent: 0.0 }
    }

    /// Whether to show the pictures after `step` of `steps`: as often as there is time for, at even distances. A first drawing
    /// shows them once, in its middle. The last step shows nothing, since the pictures follow at once.
    pub fn are_due(&self, step: usize, steps: usize) -> bool {
        let all = steps as f64;
        let count = match self.cost.steps {
            Some(cost) => (SHARE * all / cost).floor().min(all),
            None => 1.0,
        };
        step < steps
            && (self.shown as f64) < count
            && step as f64 * (count + 1.0) >= all * (self.shown as f64 + 1.0)
    }

    /// A preview took so many milliseconds.
    pub fn showed(&mut self, milliseconds: f64) {
        self.shown += 1;
        self.spent += milliseconds;
    }

    /// What is known about the cost when all `steps` are done at `now`.
    pub fn end(&self, steps: usize, now: f64) -> Cost {
        let step = (now - self.began - self.spent) / steps.max(1) as f64;
        match self.shown {
            // Clocks of browsers may be coarse.
            1.. if step > 0.0 => Cost { steps: Some((self.spent / self.shown as f64 / step).max(1e-3)) },
            _ => self.cost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A drawing of `steps` steps of `step` milliseconds with previews of `preview` milliseconds: the steps that show one, the
    /// part of its time that they take, and what is known about their cost in the end.
    fn draw(cost: Cost, steps: usize, step: f64, preview: f64) -> (Vec<usize>, f64, Cost) {
        let (mut previews, mut now, mut shown) = (Previews::begin(cost, 5.0), 5.0, vec![]);
        for at in 1..=steps {
            now += step;
            if previews.are_due(at, steps) {
                now += preview;
                previews.showed(preview);
                shown.push(at);
            }
        }
        let share = shown.len() as f64 * preview / (now - 5.0);
        (shown, share, previews.end(steps, now))
    }

    #[test]
    fn a_first_drawing_has_one_preview_and_those_after_it_as_many_as_are_cheap() {
        for (steps, step, preview, wanted) in [
            (24, 100.0, 100.0, vec![8, 16]),
            (24, 100.0, 400.0, vec![]),
            (24, 100.0, 50.0, vec![5, 10, 15, 20]),
            (12, 100.0, 100.0, vec![6]),
            (12, 100.0, 10.0, (1..12).collect()),
            (4, 100.0, 10.0, vec![1, 2, 3]),
            (4, 10.0, 100.0, vec![]),
            (1, 10.0, 1.0, vec![]),
        ] {
            let (first, _, cost) = draw(Cost::default(), steps, step, preview);
            assert_eq!(first.len(), usize::from(steps > 1), "{steps}");
            let (shown, share, again) = draw(cost, steps, step, preview);
            assert_eq!(shown, wanted, "{steps} steps of {step}, previews of {preview}");
            assert!(share <= SHARE, "{share}");
            // What is known stays where there is nothing to learn.
            assert!((again.steps.unwrap_or(1.0) - cost.steps.unwrap_or(1.0)).abs() < 1e-9);
        }
    }

    #[test]
    fn a_clock_that_stands_still_teaches_nothing() {
        let (shown, _, cost) = draw(Cost::default(), 8, 0.0, 0.0);
        assert_eq!((shown, cost), (vec![4], Cost::default()));
    }
}
