//! How long things take, side by side.

use std::time::{Duration, Instant};

/// How long `work` took, and what it gave.
pub fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let result = work();
    (start.elapsed(), result)
}

/// Does `round` so many times and gives the median of each of its times. What is to be compared
/// belongs into one round: whatever disturbs the machine hits all of it alike.
pub fn medians<const N: usize>(
    rounds: usize,
    mut round: impl FnMut() -> [Duration; N],
) -> [Duration; N] {
    let rounds: Vec<[Duration; N]> = (0..rounds.max(1)).map(|_| round()).collect();
    std::array::from_fn(|index| {
        let mut times: Vec<Duration> = rounds.iter().map(|times| times[index]).collect();
        times.sort_unstable();
        times[times.len() / 2]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_own_median() {
        let mut next = [3, 9, 1, 7, 5].into_iter();
        let [one, other] = medians(5, || {
            let millis = next.next().expect("because there are five rounds");
            [Duration::from_millis(millis), Duration::from_millis(10 - millis)]
        });
        assert_eq!((one.as_millis(), other.as_millis()), (5, 5));
    }
}
