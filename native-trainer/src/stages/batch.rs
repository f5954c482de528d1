//! Several sequences packed without pads, ready for the decoder.

use anyhow::{Context, Result};
use burn::tensor::{Device, Int, Tensor};
use std::ops::Range;
use unigen_core::decoder::Wanted;
use unigen_core::image_tokenizer::CodeGroups;
use unigen_core::model::UniGen;
use unigen_core::ops;
use unigen_core::sequence::{AttentionLayout, Row, Sequence};

/// One sequence with its image codes.
pub struct Example {
    pub sequence: Sequence,
    /// Codes of the source image, one a source row.
    pub source: Vec<u32>,
    /// Codes of the image to be made, one a target row.
    pub target: Vec<u32>,
    /// Which of them are masked.
    pub masked: Vec<bool>,
}

impl Example {
    /// The rows that predict something: those of masked codes, or those before the answer's tokens.
    ///
    /// # Errors
    /// Where the mask does not fit the target.
    fn loss_rows(&self) -> Result<Vec<usize>> {
        let mut rows = self.sequence.masked_rows(&self.masked)?;
        rows.extend(self.sequence.answer_labels().iter().map(|(row, _)| row));
        Ok(rows)
    }
}

/// The final hidden states of the rows of a batch that predict something.
pub struct Hidden {
    /// `[rows, width]`, one example after another.
    pub rows: Tensor<2>,
    /// The first row of each example, and the number of all.
    pub starts: Vec<usize>,
}

/// Runs the decoder over whole sequences.
///
/// # Errors
/// Where an example lacks codes for its rows, or its mask does not fit them.
pub fn hidden(model: &UniGen, examples: &[Example], device: &Device) -> Result<Hidden> {
    // Tokens and codes are embedded apart and then put in order.
    let (mut ids, mut codes) = (Vec::<i32>::new(), Vec::<Option<u32>>::new());
    let (mut order, mut places) = (Vec::<Place>::new(), Vec::new());
    let (mut wanted, mut starts) = (Vec::new(), vec![0]);
    for example in examples {
        let first = places.len();
        wanted.extend(example.loss_rows()?.iter().map(|row| first + row));
        starts.push(wanted.len());
        for (place, row) in example.sequence.rows().enumerate() {
            places.push(place);
            let code = match row {
                Row::Token(id) => {
                    order.push(Place::Token(ids.len()));
                    ids.push(id as i32);
                    continue;
                }
                Row::Source(i) => example.source.get(i).copied().map(Some),
                Row::Target(i) => {
                    let masked = example.masked.get(i).copied().unwrap_or(false);
                    example.target.get(i).map(|&code| (!masked).then_some(code))
                }
                Row::Semantic(_) => None,
            };
            order.push(Place::Code(codes.len()));
            codes.push(code.with_context(|| format!("no code for row {place} of a sequence"))?);
        }
    }
    let order: Vec<i32> = order.iter().map(|place| place.index(ids.len()) as i32).collect();
    let mut parts = vec![model.llm.embed(Tensor::<1, Int>::from_ints(ids.as_slice(), device))];
    if !codes.is_empty() {
        parts.push(model.embed_codes(&codes, device));
    }
    let x = Tensor::cat(parts, 0).select(0, Tensor::<1, Int>::from_ints(order.as_slice(), device));
    let layout = AttentionLayout::full(examples.iter().map(|example| &example.sequence));
    let positions = model.llm.positions(&places, device);
    let wanted = Wanted::new(&wanted, &positions, &layout, device);
    Ok(Hidden { rows: model.llm.forward_wanted(x, &positions, &layout, &wanted), starts })
}

/// Where a row's embedding is before they are put in order.
enum Place {
    Token(usize),
    Code(usize),
}

impl Place {
    fn index(&self, tokens: usize) -> usize {
        match self {
            Self::Token(index) => *index,
            Self::Code(index) => tokens + index,
        }
    }
}

impl Hidden {
    fn of(&self, examples: Range<usize>) -> Option<Tensor<2>> {
        let rows = self.starts[examples.start]..self.starts[examples.end];
        (!rows.is_empty()).then(|| self.rows.clone().slice([rows]))
    }

    /// Cross-entropy of the masked codes of some of the batch's examples: the mean over the codes of the sum over the
    /// groups. None where nothing is masked.
    pub fn code_loss(&self, model: &UniGen, examples: &[Example], of: Range<usize>) -> Option<Tensor<1>> {
        let rows = self.of(of.clone())?;
        let groups = CodeGroups::new(model.config().code_groups.clone());
        let mut labels = vec![Vec::new(); groups.bits().len()];
        for example in &examples[of] {
            for (&code, _) in example.target.iter().zip(&example.masked).filter(|(_, masked)| **masked) {
                let classes = groups.split_code(code);
                labels.iter_mut().zip(classes).for_each(|(labels, class)| labels.push(class));
            }
        }
        let logits = model.code_logits(rows);
        let [count, _] = logits.dims();
        let mut first = 0;
        let losses = groups.classes().zip(labels).map(|(classes, labels)| {
            first += classes;
            ops::cross_entropy(logits.clone().slice([0..count, first - classes..first]), labels)
        });
        losses.reduce(|a, b| a + b)
    }

    /// Cross-entropy of the answers' tokens in some of the batch's examples, the mean over them. None without any.
    pub fn answer_loss(&self, model: &UniGen, examples: &[Example], of: Range<usize>) -> Option<Tensor<1>> {
        let rows = self.of(of.clone())?;
        let answers = examples[of].iter().flat_map(|example| example.sequence.answer_labels());
        let labels = answers.map(|(_, token)| token).collect();
        Some(ops::cross_entropy(model.llm.logits(rows, 0..model.config().text_vocab), labels))
    }
}
