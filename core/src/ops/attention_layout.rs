//! Who attends to whom, as ranges: two numbers per query row replace the dense mask.

#[cfg(feature = "wgpu")]
use burn::tensor::{Int, Tensor};
use std::ops::Range;
#[cfg(feature = "wgpu")]
use std::sync::OnceLock;

/// Which keys each query sees, for packed rows: sequences one after another, without pads.
///
/// [`crate::sequence`] makes the layouts of its sequences.
#[derive(Clone, Debug, Default)]
pub struct AttentionLayout {
    /// For each query row the keys `[start, end)` that it sees, counted over all keys.
    pub visible: Vec<[u32; 2]>,
    /// Ranges of query rows with the key rows that they can see at all; each pair is computed independently. The query ranges
    /// follow one another and cover all rows. Key ranges may be shared, except where gradients are wanted.
    pub segments: Vec<(Range<usize>, Range<usize>)>,
    /// The same for the GPU device's shaders, once they were asked for.
    #[cfg(feature = "wgpu")]
    pub(super) tables: OnceLock<[Tensor<2, Int>; 3]>,
}

impl PartialEq for AttentionLayout {
    fn eq(&self, other: &Self) -> bool {
        (&self.visible, &self.segments) == (&other.visible, &other.segments)
    }
}

impl Eq for AttentionLayout {}

impl AttentionLayout {
    /// A layout of `visible` keys and `segments`; see the fields.
    pub fn new(visible: Vec<[u32; 2]>, segments: Vec<(Range<usize>, Range<usize>)>) -> Self {
        Self {
            visible,
            segments,
            #[cfg(feature = "wgpu")]
            tables: OnceLock::new(),
        }
    }

    /// Causal self-attention inside each of the sequences of `lengths` rows, one after another.
    pub fn causal(lengths: &[usize]) -> Self {
        let mut rows = Self::default();
        for &length in lengths {
            let (start, end) = (rows.visible.len(), rows.visible.len() + length);
            rows.visible.extend((start..end).map(|row| [start as u32, row as u32 + 1]));
            rows.segments.push((start..end, start..end));
        }
        rows
    }

    /// One group of `queries` query rows and `keys` key rows for each number in `seen`, which says how many of the group's keys
    /// its queries see. The keys after them are padding.
    pub fn padded(queries: usize, keys: usize, seen: &[usize]) -> Self {
        let mut rows = Self::default();
        for (group, &seen) in seen.iter().enumerate() {
            let first = group * keys;
            rows.visible.extend(vec![[first as u32, (first + seen.min(keys)) as u32]; queries]);
            rows.segments.push((group * queries..(group + 1) * queries, first..first + keys));
        }
        rows
    }

    /// The keys among `keys` that query `row` sees.
    pub(super) fn visible_in(&self, row: usize, keys: &Range<usize>) -> Range<usize> {
        let [start, end] = self.visible[row];
        let start = (start as usize).clamp(keys.start, keys.end);
        start..(end as usize).clamp(start, keys.end)
    }

    /// # Panics
    /// If the segments do not cover `queries` rows in order, or name keys beyond `keys`.
    pub(super) fn check(&self, queries: usize, keys: usize) {
        let mut next = 0;
        for (rows, columns) in &self.segments {
            assert!(
                rows.start == next && rows.end >= next && columns.start <= columns.end && columns.end <= keys,
                "attention segment {rows:?} x {columns:?} does not follow row {next} or fit {keys} keys"
            );
            next = rows.end;
        }
        assert_eq!(next, queries, "attention segments do not cover the query rows");
        assert_eq!(self.visible.len(), queries, "attention needs one visible range a query row");
    }
}
