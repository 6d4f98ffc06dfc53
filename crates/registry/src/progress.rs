//! How a caller watches transfers.

use oci::Digest;

/// One step of a blob or manifest on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// It begins; so many bytes are to come.
    Started {
        /// What.
        digest: Digest,
        /// Its size.
        size: u64,
    },
    /// So many further bytes are through. After a fault some may count twice.
    Moved {
        /// What.
        digest: Digest,
        /// How many.
        bytes: u64,
    },
    /// The registry has it already.
    Existed {
        /// What.
        digest: Digest,
    },
    /// The registry took it from another of its repositories.
    Mounted {
        /// What.
        digest: Digest,
    },
    /// It is through.
    Finished {
        /// What.
        digest: Digest,
    },
}

/// Told of every step, from several tasks at once. Must not block.
pub trait Progress: Send + Sync {
    /// One step.
    fn transfer(&self, transfer: Transfer);
}

impl<F: Fn(Transfer) + Send + Sync> Progress for F {
    fn transfer(&self, transfer: Transfer) {
        self(transfer);
    }
}

/// Watches nothing.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Progress for Silent {
    fn transfer(&self, _: Transfer) {}
}
