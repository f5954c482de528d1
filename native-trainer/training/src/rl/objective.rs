//! The objective, which is minimised.

use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

/// What samples teach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Objective {
    /// `-(ratio A - beta KL)`, with `ratio = p / p_old`. The ratio is clipped as in PPO if `clip` is set; UniGen-1.5 does
    /// not clip it (arXiv 2511.14760, section 3.4).
    Policy {
        /// Weight of the divergence from the reference policy.
        beta: f64,
        /// The ratio is clipped to `1 - clip ..= 1 + clip`; 0 means no clipping.
        clip: f64,
        ratio: Ratio,
    },
    /// `-log p` of the samples that are kept: best-of-n distillation, which needs neither ratio nor divergence.
    Distillation,
}

/// What the ratio of probabilities is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ratio {
    /// Each token has its own ratio, as in GRPO (arXiv 2402.03300).
    Token,
    /// The tokens that a sample predicts together have one ratio, that of their mean log-probability, as in UDM-GRPO.
    /// It moves little, so a `clip` of 1e-4 is usual.
    Mean,
}

/// The tokens of a pass, one value each.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// Log-probabilities by the policy that drew; `None` if that is the policy itself.
    pub old: Option<Vec<f32>>,
    /// Log-probabilities by the reference policy.
    pub reference: Vec<f32>,
    pub advantages: Vec<f32>,
    /// The tokens' shares in the mean: 1 divided by the number of a sample's tokens and by the number of samples, so
    /// that they add up to 1 over the whole batch.
    pub weights: Vec<f32>,
    /// For each token the number of the prediction that it belongs to, ascending from 0.
    pub spans: Vec<usize>,
}

/// The objective over some tokens, and its parts.
pub struct Terms {
    /// What is minimised, `[1]`.
    pub loss: Tensor<1>,
    /// The weighted sum of the tokens' `KL(policy || reference)`, estimated as `r - ln r - 1` with
    /// `r = p_reference / p` (Schulman's k3), `[1]`.
    pub kl: Tensor<1>,
    /// The ratios, `[tokens]` or one for each prediction, without gradient.
    pub ratios: Tensor<1>,
}

impl Objective {
    /// The terms of `tokens` with the log-probabilities `log_probs`, `[tokens]`, which alone have a gradient.
    pub fn terms(self, log_probs: Tensor<1>, tokens: &Tokens) -> Terms {
        let device = log_probs.device();
        let of = |values: &[f32]| Tensor::<1>::from_floats(values, &device);
        let weights = of(&tokens.weights);
        let old = tokens.old.as_ref().map_or_else(|| log_probs.clone().detach(), |old| of(old));
        let moved = log_probs.clone() - old;
        let (beta, clip, ratio) = match self {
            Self::Policy { beta, clip, ratio } => (beta, clip, ratio),
            Self::Distillation => {
                let loss = (log_probs * weights).sum().neg();
                return Terms { kl: loss.clone().detach() * 0.0, ratios: moved.detach().exp(), loss };
            }
        };
        let (moved, advantages, shares) = match ratio {
            Ratio::Token => (moved, of(&tokens.advantages), weights.clone()),
            Ratio::Mean => {
                let Spans { mean, advantages, weights } = Spans::of(tokens);
                let [count, width] = [advantages.len(), tokens.spans.len()];
                let mean = Tensor::<2>::from_data(TensorData::new(mean, [count, width]), &device);
                let moved = mean.matmul(moved.unsqueeze_dim::<2>(1)).reshape([count]);
                (moved, of(&advantages), of(&weights))
            }
        };
        let ratio = moved.exp();
        let ratios = ratio.clone().detach();
        let plain = ratio.clone() * advantages.clone();
        let gain =
            if clip > 0.0 { plain.min_pair(ratio.clamp(1.0 - clip, 1.0 + clip) * advantages) } else { plain };
        let away = of(&tokens.reference) - log_probs;
        let kl = ((away.clone().exp() - away - 1.0) * weights).sum();
        let loss = kl.clone() * beta - (gain * shares).sum();
        Terms { loss, kl, ratios }
    }
}

/// The predictions of a pass.
struct Spans {
    /// The matrix that takes the mean over each prediction's tokens, `[predictions, tokens]`, row-major.
    mean: Vec<f32>,
    advantages: Vec<f32>,
    /// The sum of the tokens' weights.
    weights: Vec<f32>,
}

impl Spans {
    fn of(tokens: &Tokens) -> Self {
        let (width, count) = (tokens.spans.len(), tokens.spans.last().map_or(0, |last| last + 1));
        let mut sizes = vec![0.0; count];
        tokens.spans.iter().for_each(|&span| sizes[span] += 1.0);
        let mut found =
            Self { mean: vec![0.0; count * width], advantages: vec![0.0; count], weights: vec![0.0; count] };
        for (token, &span) in tokens.spans.iter().enumerate() {
            found.mean[span * width + token] = 1.0 / sizes[span];
            found.advantages[span] = tokens.advantages[token];
            found.weights[span] += tokens.weights[token];
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn policy(beta: f64, clip: f64) -> Objective {
        Objective::Policy { beta, clip, ratio: Ratio::Token }
    }

    /// The loss of some tokens and its gradient by their log-probabilities.
    fn of(objective: Objective, log_probs: &[f32], tokens: &Tokens) -> (f32, Vec<f32>) {
        let device = Device::flex().autodiff();
        let log_probs = Tensor::<1>::from_floats(log_probs, &device).require_grad();
        let terms = objective.terms(log_probs.clone(), tokens);
        let gradients = terms.loss.clone().backward();
        let gradient = log_probs.grad(&gradients).expect("a gradient");
        (terms.loss.into_scalar::<f32>(), gradient.into_data().try_to_vec().unwrap())
    }

    fn terms(objective: Objective, log_prob: f32, advantage: f32) -> (f32, f32) {
        let tokens = Tokens {
            old: Some(vec![-1.0]),
            reference: vec![-1.2],
            advantages: vec![advantage],
            weights: vec![1.0],
            spans: vec![0],
        };
        let (loss, gradient) = of(objective, &[log_prob], &tokens);
        (loss, gradient[0])
    }

    /// Two predictions, of two tokens and of one.
    fn three() -> Tokens {
        Tokens {
            old: Some(vec![-1.0, -2.0, -0.5]),
            reference: vec![-1.0, -2.0, -0.5],
            advantages: vec![2.0, 2.0, -1.0],
            weights: vec![0.25, 0.25, 0.5],
            spans: vec![0, 0, 1],
        }
    }

    #[test]
    fn a_prediction_has_the_ratio_of_its_mean() {
        let mean = |beta, clip| Objective::Policy { beta, clip, ratio: Ratio::Mean };
        let log_probs = [-0.8, -2.4, -0.2];
        let (loss, gradient) = of(mean(0.0, 0.0), &log_probs, &three());
        let ratios = [(-0.1_f32).exp(), 0.3_f32.exp()];
        close(loss, -(ratios[0] * 2.0 * 0.5 - ratios[1] * 0.5));
        // The gradient of a prediction is shared equally by its tokens.
        for (found, wanted) in gradient.iter().zip([-ratios[0] * 0.5, -ratios[0] * 0.5, ratios[1] * 0.5]) {
            close(*found, wanted);
        }
        // The first prediction is worse than before and is pulled back; the second has gone too far already.
        let (_, gradient) = of(mean(0.0, 0.2), &[-0.8, -2.4, -0.9], &three());
        close(gradient[0], -ratios[0] * 0.5);
        assert_eq!(gradient[2], 0.0);
        // By token the two tokens of the first prediction differ.
        let (_, by_token) = of(policy(0.0, 0.0), &log_probs, &three());
        close(by_token[0], -(0.2_f32).exp() * 0.5);
        close(by_token[1], -(-0.4_f32).exp() * 0.5);
    }

    #[test]
    fn a_policy_that_drew_just_now_has_ratio_one() {
        let tokens = Tokens { old: None, ..three() };
        for ratio in [Ratio::Token, Ratio::Mean] {
            let (_, gradient) =
                of(Objective::Policy { beta: 0.0, clip: 1e-4, ratio }, &[-3.0, -4.0, -5.0], &tokens);
            for (found, wanted) in gradient.iter().zip([-0.5, -0.5, 0.5]) {
                close(*found, wanted);
            }
        }
    }

    #[test]
    fn distillation_is_cross_entropy() {
        let (loss, gradient) = of(Objective::Distillation, &[-1.5, -2.0, -0.25], &three());
        close(loss, 1.5 * 0.25 + 2.0 * 0.25 + 0.25 * 0.5);
        assert_eq!(gradient, [-0.25, -0.25, -0.5]);
    }

    fn close(found: f32, wanted: f32) {
        assert!((found - wanted).abs() < 1e-6, "{found}, wanted {wanted}");
    }

    #[test]
    fn what_earns_more_becomes_likelier() {
        let objective = policy(0.0, 0.0);
        for advantage in [2.0, -0.5] {
            let (loss, gradient) = terms(objective, -1.0, advantage);
            close(loss, -advantage);
            // A step against the gradient raises the log-probability if the advantage is positive.
            close(gradient, -advantage);
        }
    }

    #[test]
    fn the_divergence_pulls_back() {
        let objective = policy(0.1, 0.0);
        let (loss, gradient) = terms(objective, -1.0, 0.0);
        let kl = (-0.2_f32).exp() + 0.2 - 1.0;
        close(loss, 0.1 * kl);
        // d KL / d log p = 1 - r.
        close(gradient, 0.1 * (1.0 - (-0.2_f32).exp()));
        close(terms(objective, -1.2, 0.0).1, 0.0);
    }

    #[test]
    fn clipping_stops_what_has_gone_far_enough() {
        let clipped = policy(0.0, 0.2);
        let free = policy(0.0, 0.0);
        let far = -1.0 + 1.5_f32.ln();
        assert_eq!(terms(clipped, far, 1.0).1, 0.0);
        close(terms(clipped, far, 1.0).0, -1.2);
        close(terms(free, far, 1.0).1, -1.5);
        // A ratio that has gone too far in the wrong direction is still pulled back.
        close(terms(clipped, far, -1.0).1, 1.5);
        close(terms(clipped, -1.0 + 1.1_f32.ln(), 1.0).1, -1.1);
    }
}
