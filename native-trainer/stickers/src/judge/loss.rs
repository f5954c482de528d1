//! The detector's targets for scenes, and its loss.

use anyhow::{Result, ensure};
use burn::tensor::{Int, Tensor, TensorData, activation::softplus, s};
use unigen_core::ops::cross_entropy;
use unigen_training::train::Loss;

use super::net::{BOX, OBJECT, STRIDE, logits};
use crate::world::{Color, Truth};

/// Standard deviation of the soft edge around a middle, as a share of the box's side (Liu et al. 2020, arXiv
/// 1909.00700), and its least value in cells. A middle on the border of two cells may be found in either.
const SPREAD: f32 = 0.09;
const LEAST_SPREAD: f32 = 0.8;
/// The weight of the box loss. A cell is 4 pixels.
const BOX_WEIGHT: f64 = 1.0;

/// The network's targets for a batch.
struct Targets {
    /// For each cell: 1 if it contains an object's middle, else 0.
    middles: Vec<f32>,
    /// For each cell: the weight of a false alarm, from 0 at a middle to 1 far from all middles.
    penalties: Vec<f32>,
    /// The indices of the cells at and next to middles, among all cells of the batch. The following fields are their
    /// targets.
    cells: Vec<i32>,
    boxes: Vec<f32>,
    classes: Vec<u32>,
    colors: Vec<u32>,
}

impl Targets {
    /// The targets of pictures with `rows` x `columns` cells.
    fn new(scenes: &[Vec<Truth>], rows: usize, columns: usize) -> Self {
        let all = scenes.len() * rows * columns;
        let (middles, penalties) = (vec![0.; all], vec![1.; all]);
        let (cells, boxes, classes, colors) = (vec![], vec![], vec![], vec![]);
        let mut targets = Self { middles, penalties, cells, boxes, classes, colors };
        for (image, scene) in scenes.iter().enumerate() {
            targets.add(image * rows * columns, scene, rows, columns);
        }
        targets
    }

    /// Adds one picture. `first` is the index of its first cell.
    fn add(&mut self, first: usize, scene: &[Truth], rows: usize, columns: usize) {
        // Middle and size in cells.
        let boxes: Vec<[f32; 4]> = scene
            .iter()
            .map(|truth| {
                let [left, top, right, bottom] = truth.bbox.map(|side| side / STRIDE as f32);
                [(left + right) / 2., (top + bottom) / 2., right - left, bottom - top]
            })
            .collect();
        for row in 0..rows {
            for column in 0..columns {
                let cell = first + row * columns + column;
                let offset = |b: &[f32; 4]| [b[0] - column as f32 - 0.5, b[1] - row as f32 - 0.5];
                for b in &boxes {
                    let scaled =
                        [0, 1].map(|axis| offset(b)[axis] / (SPREAD * b[2 + axis]).max(LEAST_SPREAD));
                    let near = (-(scaled[0].powi(2) + scaled[1].powi(2)) / 2.).exp();
                    self.penalties[cell] = self.penalties[cell].min((1. - near).powi(4));
                    if offset(b).iter().all(|along| (-0.5..0.5).contains(along)) {
                        self.middles[cell] = 1.;
                    }
                }
                if self.middles[cell] > 0. {
                    self.penalties[cell] = 0.;
                }
                let reach = |b: &[f32; 4]| offset(b)[0].abs().max(offset(b)[1].abs());
                let nearest = (0..boxes.len()).min_by(|&i, &j| reach(&boxes[i]).total_cmp(&reach(&boxes[j])));
                if let Some(i) = nearest.filter(|&i| reach(&boxes[i]) < 1.5) {
                    let [_, _, width, height] = boxes[i];
                    let [right, below] = offset(&boxes[i]);
                    self.cells.push(cell as i32);
                    self.boxes.extend([right, below, width.ln(), height.ln()]);
                    self.classes.push(scene[i].class.index() as u32);
                    self.colors.push(scene[i].color.map_or(Color::ALL.len(), |color| color.index()) as u32);
                }
            }
        }
    }
}

/// The loss of `output` `[b, rows, columns, 96]` on the objects of each picture. Fails if no picture has an object.
///
/// Objects as points (Zhou et al. 2019, arXiv 1904.07850): a penalty-reduced cross-entropy of the places of middles,
/// without the focal factor, so that scores are probabilities and GenEval's thresholds apply. Added to it are the
/// losses of class, colour and box in the cells at and next to the middles.
pub fn loss(output: Tensor<4>, scenes: &[Vec<Truth>]) -> Result<Loss> {
    let [batch, rows, columns, channels] = output.dims();
    let device = output.device();
    let Targets { middles, penalties, cells, boxes, classes, colors } = Targets::new(scenes, rows, columns);
    let (count, near) = (middles.iter().sum::<f32>(), cells.len());
    ensure!(
        batch == scenes.len() && count > 0.,
        "the detector's batch needs one scene per picture and at least one object"
    );

    let output = output.reshape([batch * rows * columns, channels]);
    let constant =
        |values: Vec<f32>, shape: [usize; 2]| Tensor::<2>::from_data(TensorData::new(values, shape), &device);
    let there = output.clone().slice(s![.., OBJECT..OBJECT + 1]);
    let cost = constant(middles, there.dims()) * softplus(-there.clone(), 1.0)
        + constant(penalties, there.dims()) * softplus(there, 1.0);
    let object = cost.sum() / count;

    let at = output.select(0, Tensor::<1, Int>::from_ints(cells.as_slice(), &device));
    let [of_class, of_color] = logits(channels);
    let class = cross_entropy(at.clone().slice(s![.., of_class]), classes)?;
    let color = cross_entropy(at.clone().slice(s![.., of_color]), colors)?;
    let place = (at.slice(s![.., BOX]) - constant(boxes, [near, BOX.len()])).abs().sum() / near as f64;
    Ok(Loss {
        total: object.clone() + class.clone() + color.clone() + place.clone() * BOX_WEIGHT,
        parts: vec![("object", object), ("class", class), ("color", color), ("box", place)],
    })
}
