//! How far an image is: layers and bytes, in a line of the log now and then.

use std::sync::atomic::{AtomicU64, Ordering};

use registry::{Progress, Transfer};

/// Counts what comes.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    started: AtomicU64,
    finished: AtomicU64,
    existed: AtomicU64,
    bytes: AtomicU64,
    expected: AtomicU64,
}

impl Meter {
    /// Where it stands; nothing before a layer is on its way.
    pub(crate) fn so_far(&self) -> Option<String> {
        let [started, finished, bytes, expected] =
            [&self.started, &self.finished, &self.bytes, &self.expected]
                .map(|counter| counter.load(Ordering::Relaxed));
        let (bytes, expected) = (shown(bytes.min(expected)), shown(expected));
        (started > 0)
            .then(|| format!("{finished} of {started} layers on their way, {bytes} of {expected}"))
    }

    /// What came in all, in words that follow the size of the image.
    pub(crate) fn in_all(&self) -> String {
        let (fetched, existed) = (&self.finished, &self.existed);
        let [fetched, existed] = [fetched, existed].map(|counter| counter.load(Ordering::Relaxed));
        match (fetched, existed) {
            (_, 0) => "all fetched".to_owned(),
            (0, _) => "none had to be fetched".to_owned(),
            (fetched, existed) => format!("{fetched} fetched, {existed} were there"),
        }
    }
}

impl Progress for Meter {
    fn transfer(&self, transfer: Transfer) {
        let add = |counter: &AtomicU64, by| {
            counter.fetch_add(by, Ordering::Relaxed);
        };
        match transfer {
            Transfer::Started { size, .. } => {
                add(&self.started, 1);
                add(&self.expected, size);
            }
            Transfer::Moved { bytes, .. } => add(&self.bytes, bytes),
            Transfer::Existed { .. } | Transfer::Mounted { .. } => add(&self.existed, 1),
            Transfer::Finished { .. } => add(&self.finished, 1),
        }
    }
}

/// A size for people.
pub(crate) fn shown(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let mut unit = 0;
    let mut size = bytes as f64;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{size:.1} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (3 << 30, "3.0 GiB"),
            (1 << 42, "4096.0 GiB"),
        ] {
            assert_eq!(shown(bytes), expected);
        }
    }

    #[test]
    fn a_meter_counts_layers_and_bytes() {
        let digest = || oci::Digest::sha256_of(b"x");
        let meter = Meter::default();
        assert_eq!(meter.so_far(), None);
        meter.transfer(Transfer::Existed { digest: digest() });
        assert_eq!(meter.in_all(), "none had to be fetched");
        meter.transfer(Transfer::Started { digest: digest(), size: 2048 });
        // A layer that was fetched twice is not more than all.
        meter.transfer(Transfer::Moved { digest: digest(), bytes: 4096 });
        let expected = "0 of 1 layers on their way, 2.0 KiB of 2.0 KiB";
        assert_eq!(meter.so_far().as_deref(), Some(expected));
        meter.transfer(Transfer::Finished { digest: digest() });
        assert_eq!(meter.in_all(), "1 fetched, 1 were there");
    }
}
