//! Keeps glibc's name services from loading code out of the image.
//!
//! A static glibc program still loads `libnss_*.so` when it looks up a host or a user and
//! `/etc/nsswitch.conf` asks for it. Where the root of the program is the image being built, that
//! is the image's file and the image's code.

/// Fixes the name services to those that are part of libc itself. Call it first in `main`.
///
/// Other C libraries than glibc have no such plug-ins; nothing is done there.
pub fn pin() {
    #[cfg(target_env = "gnu")]
    glibc::pin();
}

#[cfg(target_env = "gnu")]
mod glibc {
    use std::ffi::{c_char, c_int};

    unsafe extern "C" {
        fn __nss_configure_lookup(database: *const c_char, services: *const c_char) -> c_int;
    }

    pub(super) fn pin() {
        let databases = [
            (c"hosts", c"files dns"),
            (c"passwd", c"files"),
            (c"group", c"files"),
            (c"shadow", c"files"),
            (c"networks", c"files"),
            (c"services", c"files"),
            (c"protocols", c"files"),
        ];
        for (database, services) in databases {
            // SAFETY: both are strings of the program itself that end in NUL; glibc copies what it
            // keeps. An unknown database is refused with -1, and then there is nothing to pin.
            unsafe { __nss_configure_lookup(database.as_ptr(), services.as_ptr()) };
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn pinning_twice_does_no_harm() {
        super::pin();
        super::pin();
    }
}
