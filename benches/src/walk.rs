//! A bare walk: what every snapshot has to do at least.

use rootfs::{
    Error, Flow, Metadata, OpenDirectory, Order, Protected, RootDir, RootPath, VisitDirectories,
    WalkOptions, walk_directories,
};

/// A walk that looks at everything and remembers nothing.
struct Bare;

impl VisitDirectories for Bare {
    type Directory = u64;
    type Error = Error;

    fn open(&self, _: &OpenDirectory) -> Result<u64, Error> {
        Ok(0)
    }

    fn entry(
        &self,
        _: &OpenDirectory,
        sum: &mut u64,
        _: &[u8],
        metadata: &Metadata,
    ) -> Result<Flow, Error> {
        *sum = sum.wrapping_add(metadata.ino);
        Ok(Flow::Continue)
    }

    fn close(&self, _: &OpenDirectory, sum: u64) -> Result<(), Error> {
        std::hint::black_box(sum);
        Ok(())
    }
}

/// Looks at every file once, with so many threads.
pub fn stat_walk(root: &RootDir, threads: usize) {
    let options = WalkOptions { order: Order::Any, threads, protected: &Protected::none() };
    walk_directories(root, &RootPath::root(), &options, &Bare).expect("because all of it is ours");
}
