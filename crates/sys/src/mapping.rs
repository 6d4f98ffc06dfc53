//! Files in memory: the one way to change a file that passes by `write` and its relatives.
//!
//! Snapshots must know whether a file system notices such changes, and find out by making one.

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;

/// The beginning of a file, mapped shared for reading and writing.
///
/// The file must not become shorter meanwhile: touching what is gone ends the program (SIGBUS).
#[derive(Debug)]
pub struct SharedMapping {
    start: NonNull<u8>,
    length: usize,
}

impl SharedMapping {
    /// Maps the first `length` bytes of a file that is open for reading and writing and has that
    /// many.
    pub fn new(file: impl AsFd, length: usize) -> io::Result<SharedMapping> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let fd = file.as_fd().as_raw_fd();
        // SAFETY: the kernel chooses the place, so that nothing that exists is mapped over.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), length, protection, libc::MAP_SHARED, fd, 0)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(SharedMapping { start, length })
    }

    /// The byte at `at`; `None` past the end.
    #[must_use]
    pub fn read(&self, at: usize) -> Option<u8> {
        // SAFETY: `at` is below the length, and the mapping lives as long as `self`. Volatile,
        // because others may write to the file.
        (at < self.length).then(|| unsafe { self.start.add(at).read_volatile() })
    }

    /// Changes the byte at `at`; `None` past the end.
    pub fn write(&mut self, at: usize, byte: u8) -> Option<()> {
        // SAFETY: as for reading.
        (at < self.length).then(|| unsafe { self.start.add(at).write_volatile(byte) })
    }

    /// Brings what was written to the file's storage.
    pub fn sync(&self) -> io::Result<()> {
        // SAFETY: this is the range that was mapped.
        let answer = unsafe { libc::msync(self.address(), self.length, libc::MS_SYNC) };
        if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    fn address(&self) -> *mut c_void {
        self.start.as_ptr().cast()
    }
}

impl Drop for SharedMapping {
    fn drop(&mut self) {
        // SAFETY: this is the range that was mapped, and nobody has a pointer into it any more.
        unsafe { libc::munmap(self.address(), self.length) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mapped_is_the_file() {
        let memory = rustix::fs::memfd_create("mapped", rustix::fs::MemfdFlags::CLOEXEC)
            .expect("because every kernel has it");
        rustix::io::write(&memory, b"abc").expect("because there is room");
        let mut mapping = SharedMapping::new(&memory, 3).expect("because there is room");
        assert_eq!(
            (mapping.read(0), mapping.read(2), mapping.read(3)),
            (Some(b'a'), Some(b'c'), None)
        );
        assert_eq!((mapping.write(1, b'x'), mapping.write(3, b'x')), (Some(()), None));
        mapping.sync().expect("because there is nothing to bring anywhere");
        drop(mapping);
        let mut content = [0; 4];
        rustix::io::pread(&memory, &mut content, 0).expect("because it can be read");
        assert_eq!(&content, b"axc\0");
        assert!(SharedMapping::new(&memory, 0).is_err(), "the kernel maps no empty range");
    }
}
