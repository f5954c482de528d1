//! Assigns tasks to samples: the shares of a mix, spread evenly.

/// The task of sample `index`, as a position in `mix`, and the number of earlier samples that have the same task.
///
/// The sum of `mix` must not be 0. Every window of that many samples contains exactly each task's share.
pub fn task_of<const N: usize>(mix: [u64; N], index: u64) -> (usize, u64) {
    let total: u64 = mix.iter().sum();
    // A stride that is coprime to the total visits every place once.
    let step = coprime(total);
    let share = |index: u64| {
        let mut place = index % total * step % total;
        mix.iter().take_while(|&&share| place.checked_sub(share).map(|rest| place = rest).is_some()).count()
    };
    let (mine, round) = (share(index), index / total);
    let before = (round * total..index).filter(|&other| share(other) == mine).count() as u64;
    (mine, round * mix[mine] + before)
}

/// The smallest number above 1 that is coprime to `total`; 1 if `total` is small.
fn coprime(total: u64) -> u64 {
    fn divisor(a: u64, b: u64) -> u64 {
        if b == 0 { a } else { divisor(b, a % b) }
    }
    (2..total).find(|&step| divisor(step, total) == 1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_window_has_the_shares_of_the_mix() {
        for mix in [[3, 2, 1], [3, 4, 1], [1, 1, 0], [0, 0, 1], [5, 0, 2], [10, 4, 1]] {
            let window: u64 = mix.iter().sum();
            for start in 0..3 * window {
                let mut counts = [0; 3];
                (start..start + window).for_each(|index| counts[task_of(mix, index).0] += 1);
                assert_eq!(counts, mix, "from {start}");
            }
        }
    }

    #[test]
    fn samples_of_a_share_are_numbered() {
        let mut next = [0; 3];
        for index in 0..200 {
            let (share, number) = task_of([3, 4, 1], index);
            assert_eq!(number, next[share]);
            next[share] += 1;
        }
        assert_eq!(next, [75, 100, 25]);
    }
}
