//! The objective, which is minimised.

use burn::tensor::Tensor;

/// `-(ratio A - beta KL)` per token, with `ratio = p / p_old`. The ratio is clipped as in PPO if `clip` is set;
/// UniGen-1.5 does not clip it (arXiv 2511.14760, section 3.4).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Objective {
    /// Weight of the divergence from the reference policy.
    pub beta: f64,
    /// The ratio is clipped to `1 - clip ..= 1 + clip`; 0 means no clipping.
    pub clip: f64,
}

/// The objective over some tokens, and its parts.
pub struct Terms {
    /// What is minimised, `[1]`.
    pub loss: Tensor<1>,
    /// The weighted sum of the tokens' `KL(policy || reference)`, estimated as `r - ln r - 1` with
    /// `r = p_reference / p` (Schulman's k3), `[1]`.
    pub kl: Tensor<1>,
    /// The ratios, `[tokens]`, without gradient.
    pub ratios: Tensor<1>,
}

impl Objective {
    /// All arguments are `[tokens]`, and only `log_probs` has a gradient. `weights` are the tokens' shares in the
    /// mean: 1 divided by the number of a sample's tokens and by the number of samples, so that they add up to 1 over
    /// the whole batch.
    pub fn terms(
        &self,
        log_probs: Tensor<1>,
        old: Tensor<1>,
        reference: Tensor<1>,
        advantages: Tensor<1>,
        weights: Tensor<1>,
    ) -> Terms {
        let ratio = (log_probs.clone() - old).exp();
        let ratios = ratio.clone().detach();
        let plain = ratio.clone() * advantages.clone();
        let gain = if self.clip > 0.0 {
            plain.min_pair(ratio.clamp(1.0 - self.clip, 1.0 + self.clip) * advantages)
        } else {
            plain
        };
        let away = reference - log_probs;
        let kl = away.clone().exp() - away - 1.0;
        let loss = ((kl.clone() * self.beta - gain) * weights.clone()).sum();
        Terms { loss, kl: (kl * weights).sum(), ratios }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn terms(objective: Objective, log_prob: f32, advantage: f32) -> (f32, f32) {
        let device = Device::flex().autodiff();
        let tensor = |value: f32| Tensor::<1>::from_floats([value], &device);
        let log_probs = tensor(log_prob).require_grad();
        let terms =
            objective.terms(log_probs.clone(), tensor(-1.0), tensor(-1.2), tensor(advantage), tensor(1.0));
        let gradients = terms.loss.clone().backward();
        let gradient = log_probs.grad(&gradients).map_or(0.0, |gradient| gradient.into_scalar::<f32>());
        (terms.loss.into_scalar::<f32>(), gradient)
    }

    fn close(found: f32, wanted: f32) {
        assert!((found - wanted).abs() < 1e-6, "{found}, wanted {wanted}");
    }

    #[test]
    fn what_earns_more_becomes_likelier() {
        let objective = Objective { beta: 0.0, clip: 0.0 };
        for advantage in [2.0, -0.5] {
            let (loss, gradient) = terms(objective, -1.0, advantage);
            close(loss, -advantage);
            // A step against the gradient raises the log-probability if the advantage is positive.
            close(gradient, -advantage);
        }
    }

    #[test]
    fn the_divergence_pulls_back() {
        let objective = Objective { beta: 0.1, clip: 0.0 };
        let (loss, gradient) = terms(objective, -1.0, 0.0);
        let kl = (-0.2_f32).exp() + 0.2 - 1.0;
        close(loss, 0.1 * kl);
        // d KL / d log p = 1 - r.
        close(gradient, 0.1 * (1.0 - (-0.2_f32).exp()));
        close(terms(objective, -1.2, 0.0).1, 0.0);
    }

    #[test]
    fn clipping_stops_what_has_gone_far_enough() {
        let clipped = Objective { beta: 0.0, clip: 0.2 };
        let free = Objective { beta: 0.0, clip: 0.0 };
        let far = -1.0 + 1.5_f32.ln();
        assert_eq!(terms(clipped, far, 1.0).1, 0.0);
        close(terms(clipped, far, 1.0).0, -1.2);
        close(terms(free, far, 1.0).1, -1.5);
        // A ratio that has gone too far in the wrong direction is still pulled back.
        close(terms(clipped, far, -1.0).1, 1.5);
        close(terms(clipped, -1.0 + 1.1_f32.ln(), 1.0).1, -1.1);
    }
}
