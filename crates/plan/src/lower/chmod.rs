//! `--chmod`: whether a mode is one, octal or symbolic. What it does is for those who apply it.

use crate::error::ErrorKind;

/// Refuses what is no mode.
pub(super) fn check(mode: &str) -> Result<(), ErrorKind> {
    let octal = || ErrorKind::ChmodOctal(mode.to_owned());
    if mode.starts_with(|c: char| c.is_ascii_digit()) {
        let valid = mode.bytes().all(|b| matches!(b, b'0'..=b'7'));
        let value = u32::from_str_radix(mode, 8).ok().filter(|value| valid && *value <= 0o7777);
        return value.map(|_| ()).ok_or_else(octal);
    }
    if is_symbolic(mode) { Ok(()) } else { Err(ErrorKind::ChmodSymbolic(mode.to_owned())) }
}

/// Clauses with commas between them: who, then at least one of an operator with its permissions.
fn is_symbolic(mode: &str) -> bool {
    mode.split(',').all(|clause| {
        let actions = clause.trim_start_matches(['u', 'g', 'o', 'a']);
        let mut rest = actions;
        while let Some(after) = rest.strip_prefix(['+', '-', '=']) {
            rest = after.trim_start_matches(['r', 'w', 'x', 'X', 's', 't', 'u', 'g', 'o']);
        }
        rest.is_empty() && !actions.is_empty()
    })
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn modes() {
        let octal = |mode: &str| {
            format!(
                "invalid chmod parameter: '{mode}'. it should be octal string and between 0 and \
                 07777"
            )
        };
        for (mode, expected) in [
            ("0", None),
            ("755", None),
            ("07777", None),
            ("10000", Some(octal("10000"))),
            ("64a", Some(octal("64a"))),
            ("999", Some(octal("999"))),
            ("u=rwX,go=rX", None),
            ("+x", None),
            ("g=u", None),
            ("a-w", None),
            ("u+s,+t", None),
            ("u=", None),
            ("u+r-w", None),
            ("ug+rw", None),
            ("-1", Some("invalid syntax".to_owned())),
            ("z=r", Some("invalid syntax".to_owned())),
            ("u", Some("invalid syntax".to_owned())),
            ("u+r,", Some("invalid syntax".to_owned())),
            ("u+q", Some("invalid syntax".to_owned())),
        ] {
            assert_eq!(check(mode).err().map(|error| error.to_string()), expected, "{mode}");
        }
    }
}
