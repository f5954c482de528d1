//! The attention of sequences.
//!
//! Every query row sees one contiguous range of key rows: text sees from the start of its sequence to itself, a block
//! from the start to its own end.

use super::Sequence;
use crate::ops::AttentionLayout;
use crate::{Error, ErrorKind, Result};
use std::ops::Range;

impl AttentionLayout {
    /// All rows of all sequences: training, prefill, and the naive recompute of every step.
    pub fn full<'a>(sequences: impl IntoIterator<Item = &'a Sequence>) -> Self {
        let mut layout = Self::default();
        for sequence in sequences {
            layout.push(sequence.ends().into_iter().map(|end| 0..end), sequence.len());
        }
        layout
    }

    /// New text rows after cached ones in each of several sequences, as `(cached, new)`: text decoding.
    pub fn extending(sequences: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let mut layout = Self::default();
        for (cached, new) in sequences {
            layout.push((cached..cached + new).map(|row| 0..row + 1), cached + new);
        }
        layout
    }

    /// One sequence from a dense matrix `[rows, columns]`, row-major, true where the row may attend to the
    /// column. Errors: wrong length, a row that sees nothing, or one whose columns are not contiguous.
    pub fn from_allow(allow: &[bool], rows: usize, columns: usize) -> Result<Self> {
        let broken = |what: String| Error::new(ErrorKind::Config, "attention mask", what);
        if rows.checked_mul(columns) != Some(allow.len()) {
            return Err(broken(format!("{} entries for {rows} rows of {columns}", allow.len())));
        }
        let visible: Vec<_> = (0..rows)
            .map(|row| {
                let line = &allow[row * columns..(row + 1) * columns];
                let start = line.iter().position(|&seen| seen);
                let start = start.ok_or_else(|| broken(format!("row {row} sees nothing")))?;
                let end = start + line[start..].iter().take_while(|&&seen| seen).count();
                match line[end..].iter().position(|&seen| seen) {
                    None => Ok(start..end),
                    Some(gap) => {
                        Err(broken(format!("row {row} sees column {} beyond a gap at {end}", end + gap)))
                    }
                }
            })
            .collect::<Result<_>>()?;
        let mut layout = Self::default();
        layout.push(visible, columns);
        Ok(layout)
    }

    /// Several layouts one after another.
    pub fn concat(layouts: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::default();
        for layout in layouts {
            for (queries, keys) in layout.segments {
                let local = layout.visible[queries]
                    .iter()
                    .map(|&[start, end]| start as usize - keys.start..end as usize - keys.start);
                all.push(local, keys.len());
            }
        }
        all
    }

    /// Appends a sequence: for every query its visible keys, counted from the sequence's first key.
    fn push(&mut self, visible: impl IntoIterator<Item = Range<usize>>, keys: usize) {
        let (query, key) = (self.queries(), self.keys());
        let packed = visible.into_iter().map(|r| [(key + r.start) as u32, (key + r.end) as u32]);
        self.visible.extend(packed);
        self.segments.push((query..self.visible.len(), key..key + keys));
    }

    /// The layout of some query rows, given in ascending order; keys stay as they are.
    pub fn pick(&self, rows: &[usize]) -> Self {
        let mut start = 0;
        let segments = self.segments.iter().map(|(queries, keys)| {
            let count = rows.iter().filter(|row| queries.contains(row)).count();
            start += count;
            (start - count..start, keys.clone())
        });
        Self::new(rows.iter().map(|&row| self.visible[row]).collect(), segments.collect())
    }

    /// Number of packed query rows.
    pub fn queries(&self) -> usize {
        self.visible.len()
    }

    /// Number of packed key rows.
    pub fn keys(&self) -> usize {
        self.segments.last().map_or(0, |(_, keys)| keys.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SpecialTokens;
    use crate::sequence::{EditBranch, ImageRows, Layouts, Opener, Piece};
    use crate::text::Template;

    /// A matrix drawn with `x` for "sees", and the layout's mask in the same form.
    fn drawn(text: &str) -> (Vec<bool>, usize, usize) {
        let lines: Vec<&str> = text.split_whitespace().collect();
        (lines.concat().chars().map(|c| c == 'x').collect(), lines.len(), lines[0].len())
    }

    /// Whether the rows of a segment see its keys, `[queries, keys]` row-major.
    fn allow(layout: &AttentionLayout, (queries, keys): &(Range<usize>, Range<usize>)) -> Vec<bool> {
        let rows = layout.visible[queries.clone()].iter();
        let line = |&[start, end]: &[u32; 2]| {
            keys.clone().map(move |key| (start as usize..end as usize).contains(&key))
        };
        rows.flat_map(line).collect()
    }

    fn draw(layout: &AttentionLayout, segment: usize) -> String {
        let segment = &layout.segments[segment];
        let allow = allow(layout, segment);
        let line = |line: &[bool]| line.iter().map(|&sees| if sees { 'x' } else { '.' }).collect::<String>();
        allow.chunks(segment.1.len()).map(line).collect::<Vec<_>>().join(" ")
    }

    /// Two text rows, a block of two, a text row, the target block of two rows and its end.
    fn small() -> Sequence {
        Sequence {
            pieces: vec![
                Piece::Tokens(vec![1, 2]),
                Piece::Semantic(2),
                Piece::Tokens(vec![3]),
                Piece::Target(2),
                Piece::Tokens(vec![4]),
            ],
            blocks: vec![2..4, 5..8],
            target: 5..7,
            answers: vec![],
            prefix_len: 5,
        }
    }

    const SMALL: &str = "x....... xx...... xxxx.... xxxx.... xxxxx... xxxxxxxx xxxxxxxx xxxxxxxx";

    #[test]
    fn small_matrices() {
        let sequence = small();
        assert_eq!(draw(&AttentionLayout::full([&sequence]), 0), SMALL);
        assert_eq!(draw(&AttentionLayout::extending([(2, 3)]), 0), "xxx.. xxxx. xxxxx");
    }

    #[test]
    fn packed_sequences_do_not_meet() {
        let text = Sequence { pieces: vec![Piece::Tokens(vec![9; 3])], prefix_len: 3, ..Default::default() };
        let layout = AttentionLayout::full([&text, &small()]);
        assert_eq!((draw(&layout, 0).as_str(), draw(&layout, 1).as_str()), ("x.. xx. xxx", SMALL));
        assert_eq!(layout.segments[1], (3..11, 3..11));
        assert_eq!(layout.visible[3..6], [[3, 4], [3, 5], [3, 7]]);

        // New rows over rows that are cached.
        let new = AttentionLayout::extending([(5, 1), (2, 2)]);
        assert_eq!(new.segments[1], (1..3, 6..10));
        assert_eq!(new.visible, [[0, 6], [6, 9], [6, 10]]);
        let parts = [(5, 1), (2, 2)].map(|part| AttentionLayout::extending([part]));
        assert_eq!(AttentionLayout::concat(parts), new);
    }

    #[test]
    fn dense_matrices_with_left_pads() {
        // Two pads that see only each other, two text rows, a block.
        let padded = "x..... xx.... ..x... ..xx.. ..xxxx ..xxxx";
        let (allow, rows, columns) = drawn(padded);
        let layout = AttentionLayout::from_allow(&allow, rows, columns).unwrap();
        assert_eq!(draw(&layout, 0), padded);
        assert_eq!(layout.visible[4], [2, 6]);

        let error = |text: &str| {
            let (allow, rows, columns) = drawn(text);
            AttentionLayout::from_allow(&allow, rows, columns).unwrap_err().to_string()
        };
        assert_eq!(error("xx. x.x"), "attention mask: row 1 sees column 2 beyond a gap at 1");
        assert_eq!(error("x.. ..."), "attention mask: row 1 sees nothing");
        assert!(AttentionLayout::from_allow(&[true; 5], 2, 3).is_err());
        assert!(AttentionLayout::from_allow(&[], usize::MAX, 2).is_err());
    }

    /// The rule of attention, pair by pair, for every task, size and opener.
    #[test]
    fn prefix_never_sees_the_target() {
        let special = SpecialTokens::FIRST;
        let template = Template { user: vec![20, 10], assistant: vec![21, 10], newline: vec![10] };
        for opener in [Opener::Prefix, Opener::Block] {
            let layouts = Layouts { special: &special, template: &template, opener };
            for (words, semantic, codes) in
                (0..4).flat_map(|w| (0..4).flat_map(move |s| (0..4).map(move |c| (w, s, c))))
            {
                let text = vec![30; words];
                let branches = [EditBranch::None, EditBranch::Image, EditBranch::Full];
                let mut sequences =
                    branches.map(|b| layouts.edit(b, &text, semantic, codes).unwrap()).to_vec();
                sequences.push(layouts.generate(&text, codes));
                sequences.push(layouts.conversation(ImageRows::Semantic(semantic), [[&text[..], &text]]));
                sequences.push(layouts.describe(ImageRows::Codes(codes), &text));
                sequences.push(layouts.text(&text));
                let full = AttentionLayout::full(&sequences);
                for (i, sequence) in sequences.iter().enumerate() {
                    let len = sequence.len();
                    let allow = allow(&full, &full.segments[i]);
                    let sees = |row: usize, key: usize| allow[row * len + key];
                    for (row, key) in (0..len).flat_map(|row| (0..len).map(move |key| (row, key))) {
                        let together = sequence.blocks.iter().any(|b| b.contains(&row) && b.contains(&key));
                        assert_eq!(sees(row, key), key <= row || together, "{sequence:?} {row} {key}");
                        let leak = row < sequence.prefix_len && key >= sequence.prefix_len;
                        assert!(!(leak && sees(row, key)), "{sequence:?} {row} {key}");
                    }
                }
                let again = full.segments.iter().map(|segment| {
                    AttentionLayout::from_allow(&allow(&full, segment), segment.0.len(), segment.1.len())
                        .unwrap()
                });
                assert_eq!(AttentionLayout::concat(again), full);
            }
        }
    }
}
