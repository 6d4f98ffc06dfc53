//! Values that must not be seen: printed masked, wiped when dropped.

use std::fmt;
use std::sync::atomic::{Ordering, compiler_fence};

/// A password, token or key. Every way of printing it shows `***`.
#[derive(Clone, Default)]
pub struct Secret {
    bytes: Vec<u8>,
}

impl Secret {
    /// Takes over the bytes. The caller's buffer becomes the secret's; nothing is copied.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    /// The value itself, for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.bytes
    }

    /// The value as text, where it is text.
    #[must_use]
    pub fn expose_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok()
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text.into_bytes())
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text.as_bytes().to_vec())
    }
}

impl PartialEq for Secret {
    /// Looks at every byte, so that the time does not tell where the difference is.
    fn eq(&self, other: &Self) -> bool {
        let pairs = self.bytes.iter().zip(&other.bytes);
        let difference = pairs.fold(0, |sum, (left, right)| sum | (left ^ right));
        self.bytes.len() == other.bytes.len() && difference == 0
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        let spare = self.bytes.capacity();
        let start = self.bytes.as_mut_ptr();
        for offset in 0..spare {
            // SAFETY: `start..start + capacity` is the vector's own allocation, and a byte may be
            // written to any of it. Volatile, since nothing reads the zeros again.
            unsafe { start.add(offset).write_volatile(0) };
        }
        compiler_fence(Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_way_of_printing_shows_the_value() {
        let secret = Secret::from("hunter2");
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "*** *** Some(***)");
        assert_eq!(secret.expose_str(), Some("hunter2"));
    }

    #[test]
    fn equality_is_of_the_whole_value() {
        let secret = Secret::from("hunter2");
        assert_eq!(secret, Secret::from("hunter2".to_owned()));
        assert_ne!(secret, Secret::from("hunter"));
        assert_ne!(secret, Secret::from("hunter3"));
        assert!(Secret::default().is_empty());
    }
}
