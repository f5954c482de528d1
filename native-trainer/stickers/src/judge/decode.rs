//! Turns the network's output into detections.

use unigen_evaluation::geneval::THRESHOLD;

use super::Detection;
use super::boxes::iou;
use super::net::{BOX, OBJECT, STRIDE, logits};
use crate::world::{Class, Color};

/// Boxes with a larger intersection over union than this are one object.
const SAME: f32 = 0.5;

/// The objects in one picture, most confident first, with boxes in pixels. An object is a cell whose probability of a
/// middle exceeds that of its eight neighbours (Zhou et al. 2019, section 4). Its score is the probability of the
/// object times that of its class. Only scores above GenEval's threshold count.
///
/// `output` is `[rows, columns, channels]`, row-major.
pub fn decode(output: &[f32], dims: [usize; 3]) -> Vec<Detection> {
    let mut detections: Vec<Detection> = peaks(output, dims)
        .map(|(row, column)| detection(cell(output, dims, row, column), row, column))
        .filter(|detection| detection.score > THRESHOLD)
        .collect();
    detections.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept: Vec<Detection> = Vec::new();
    for detection in detections {
        if kept.iter().all(|better| iou(&better.bbox, &detection.bbox) <= SAME) {
            kept.push(detection);
        }
    }
    kept
}

/// The `ranks` most probable classes of each of the `objects` most probable objects, however uncertain they are.
/// `output` is as in [`decode`].
pub fn ranked(output: &[f32], dims: [usize; 3], objects: usize, ranks: usize) -> Vec<Vec<Class>> {
    let mut cells: Vec<&[f32]> =
        peaks(output, dims).map(|(row, column)| cell(output, dims, row, column)).collect();
    cells.sort_by(|a, b| b[OBJECT].total_cmp(&a[OBJECT]));
    let classes = |cell: &&[f32]| {
        let logits = &cell[logits(cell.len())[0].clone()];
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
        order.into_iter().take(ranks).map(|index| Class::all()[index]).collect()
    };
    cells.iter().take(objects).map(classes).collect()
}

fn cell(output: &[f32], [_, columns, channels]: [usize; 3], row: usize, column: usize) -> &[f32] {
    &output[(row * columns + column) * channels..][..channels]
}

/// The cells, as row and column, that are more probable to hold a middle than their neighbours. Among equal cells, the
/// first is the peak.
fn peaks(output: &[f32], dims: [usize; 3]) -> impl Iterator<Item = (usize, usize)> {
    let [rows, columns, _] = dims;
    let logit = move |row, column| cell(output, dims, row, column)[OBJECT];
    let is_peak = move |&(row, column): &(usize, usize)| {
        let mut around = (row.saturating_sub(1)..(row + 2).min(rows))
            .flat_map(|r| (column.saturating_sub(1)..(column + 2).min(columns)).map(move |c| (r, c)));
        around.all(|(r, c)| match (r, c) < (row, column) {
            true => logit(r, c) < logit(row, column),
            false => logit(r, c) <= logit(row, column),
        })
    };
    (0..rows).flat_map(move |row| (0..columns).map(move |column| (row, column))).filter(is_peak)
}

fn detection(cell: &[f32], row: usize, column: usize) -> Detection {
    let [classes, colors] = logits(cell.len());
    let (class, certainty) = best(&cell[classes]);
    let (color, _) = best(&cell[colors]);
    let [right, below, width, height] = std::array::from_fn(|i| cell[BOX][i]);
    let [x, y] = [column as f32 + 0.5 + right, row as f32 + 0.5 + below];
    let [width, height] = [width, height].map(|log| log.exp() / 2.);
    Detection {
        class: Class::all()[class],
        score: certainty / (1. + (-cell[OBJECT]).exp()),
        color: Color::ALL.get(color).copied(),
        bbox: [x - width, y - height, x + width, y + height].map(|side| side * STRIDE as f32),
    }
}

/// The largest logit's index and its probability.
fn best(logits: &[f32]) -> (usize, f32) {
    let (index, largest) = logits
        .iter()
        .enumerate()
        .fold((0, f32::MIN), |best, (index, &logit)| if logit > best.1 { (index, logit) } else { best });
    (index, 1. / logits.iter().map(|logit| (logit - largest).exp()).sum::<f32>())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANNELS: usize = 96;

    fn put(output: &mut [f32], columns: usize, [row, column]: [usize; 2], logit: f32, class: usize) {
        let cell = &mut output[(row * columns + column) * CHANNELS..][..CHANNELS];
        cell[OBJECT] = logit;
        // A quarter of a cell to the right; 2 x 4 cells.
        cell[BOX].copy_from_slice(&[0.25, 0., 2f32.ln(), 4f32.ln()]);
        let [classes, colors] = logits(CHANNELS);
        cell[classes][class] = 12.;
        cell[colors][Color::Blue.index()] = 3.;
    }

    #[test]
    fn peaks_become_boxes() {
        let (rows, columns) = (8, 12);
        let mut output = vec![-6.; rows * columns * CHANNELS];
        put(&mut output, columns, [3, 2], 4., 7);
        put(&mut output, columns, [3, 3], 3., 8); // next to a better one
        put(&mut output, columns, [3, 4], 2., 9); // no neighbour of it, but nearly the same box once moved
        put(&mut output, columns, [6, 10], 4., 9);
        put(&mut output, columns, [0, 11], -2., 9); // unlikely
        output[(3 * columns + 4) * CHANNELS + BOX.start] = -1.5;
        output[(6 * columns + 10) * CHANNELS + CHANNELS - 1] = 9.;
        let found = decode(&output, [rows, columns, CHANNELS]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!((found[0].class.index(), found[0].color), (7, Some(Color::Blue)));
        assert!((found[0].score - 0.982).abs() < 1e-3);
        let wanted = [7., 6., 15., 22.];
        assert!(found[0].bbox.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-3), "{found:?}");
        assert_eq!((found[1].class.index(), found[1].color), (9, None));
    }

    #[test]
    fn classes_are_ranked_by_object() {
        let (rows, columns) = (8, 12);
        let mut output = vec![-6.; rows * columns * CHANNELS];
        put(&mut output, columns, [1, 2], 1., 7);
        put(&mut output, columns, [6, 10], 2., 9);
        let [classes, _] = logits(CHANNELS);
        output[(6 * columns + 10) * CHANNELS + classes.start + 4] = 11.;
        let found = ranked(&output, [rows, columns, CHANNELS], 2, 2);
        let indices: Vec<Vec<usize>> =
            found.iter().map(|classes| classes.iter().map(|class| class.index()).collect()).collect();
        assert_eq!(indices[0], [9, 4]);
        assert_eq!((indices.len(), indices[1][0]), (2, 7));
    }

    #[test]
    fn a_flat_output_has_one_peak() {
        let mut output = vec![0.; 4 * 4 * CHANNELS];
        for row in 0..4 {
            (0..4).for_each(|column| put(&mut output, 4, [row, column], 1., 3));
        }
        assert_eq!(decode(&output, [4, 4, CHANNELS]).len(), 1);
    }
}
