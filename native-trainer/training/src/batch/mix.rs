//! Which sample teaches what: the shares of a mix, spread evenly.

/// What sample `index` teaches: the number of its share in `mix`, and how many samples before it had the same.
///
/// Any window as long as the sum of the shares, which must not be 0, has each share exactly.
pub fn turn<const N: usize>(mix: [u64; N], index: u64) -> (usize, u64) {
    let total: u64 = mix.iter().sum();
    // A step that has no divisor in common with the total visits every place once.
    let step = coprime(total);
    let share = |index: u64| {
        let mut place = index % total * step % total;
        mix.iter().take_while(|&&share| place.checked_sub(share).map(|rest| place = rest).is_some()).count()
    };
    let (mine, round) = (share(index), index / total);
    let before = (round * total..index).filter(|&other| share(other) == mine).count() as u64;
    (mine, round * mix[mine] + before)
}

/// The smallest number above 1 without a common divisor with `total`; 1 where `total` is small.
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
                (start..start + window).for_each(|index| counts[turn(mix, index).0] += 1);
                assert_eq!(counts, mix, "from {start}");
            }
        }
    }

    #[test]
    fn samples_of_a_share_are_numbered() {
        let mut next = [0; 3];
        for index in 0..200 {
            let (share, number) = turn([3, 4, 1], index);
            assert_eq!(number, next[share]);
            next[share] += 1;
        }
        assert_eq!(next, [75, 100, 25]);
    }
}
