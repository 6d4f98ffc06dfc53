//! Names that stand for an absence: `.wh.name`, and `.wh..wh..opq` for all a directory had.

/// What a name begins with that is not a file but a whiteout.
pub(crate) const PREFIX: &[u8] = b".wh.";
/// The name that hides all that lower layers have in its directory.
pub(crate) const OPAQUE: &[u8] = b".wh..wh..opq";
/// What begins the names that the aufs file system kept for itself.
const AUFS: &[u8] = b".wh..wh.";

/// What a file name means in a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whiteout<'a> {
    /// An ordinary name.
    No,
    /// The path of this name is gone.
    Of(&'a [u8]),
    /// What lower layers have in this directory is gone.
    Opaque,
    /// A leftover of aufs without meaning.
    Ignored,
    /// A whiteout of nothing, of `.` or of `..`: no layer may have it.
    Invalid,
}

impl<'a> Whiteout<'a> {
    /// Reads the last component of a path.
    #[must_use]
    pub fn parse(name: &'a [u8]) -> Self {
        if name == OPAQUE {
            return Self::Opaque;
        }
        if name.starts_with(AUFS) {
            return Self::Ignored;
        }
        match name.strip_prefix(PREFIX) {
            None => Self::No,
            Some(b"" | b"." | b"..") => Self::Invalid,
            Some(hidden) => Self::Of(hidden),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Whiteout;

    #[test]
    fn names_that_are_whiteouts() {
        let check = |name: &[u8], expected| assert_eq!(Whiteout::parse(name), expected);
        check(b"a", Whiteout::No);
        check(b".wh", Whiteout::No);
        check(b"a.wh.b", Whiteout::No);
        check(b".wh.a", Whiteout::Of(b"a"));
        check(b".wh..a", Whiteout::Of(b".a"));
        check(b".wh..wh..opq", Whiteout::Opaque);
        check(b".wh..wh.plnk", Whiteout::Ignored);
        check(b".wh..wh.aufs", Whiteout::Ignored);
        check(b".wh.", Whiteout::Invalid);
        check(b".wh..", Whiteout::Invalid);
        check(b".wh...", Whiteout::Invalid);
    }
}
