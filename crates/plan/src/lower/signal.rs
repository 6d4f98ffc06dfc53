//! `STOPSIGNAL`: a name as Linux has it, with or without `SIG`, or a number that is not 0.

const NAMES: &[&str] = &[
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
    "PIPE", "POLL", "PROF", "PWR", "QUIT", "RTMAX", "RTMIN", "SEGV", "STKFLT", "STOP", "SYS",
    "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU",
    "XFSZ",
];

/// Whether a text names a signal. Numbers are not checked against a kernel: it is the one of the
/// machine the image will run on that counts.
pub(super) fn is_signal(text: &str) -> bool {
    if let Some(number) = integer(text) {
        return number != 0;
    }
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    NAMES.contains(&name) || is_realtime(name)
}

/// Go's `strconv.Atoi`.
fn integer(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// `RTMIN+1` to `RTMIN+15`, `RTMAX-1` to `RTMAX-14`.
fn is_realtime(name: &str) -> bool {
    let within = |rest: Option<&str>, last: u32| {
        rest.filter(|digits| !digits.starts_with(['0', '+']))
            .and_then(|digits| digits.parse::<u32>().ok())
            .is_some_and(|number| (1..=last).contains(&number))
    };
    within(name.strip_prefix("RTMIN+"), 15) || within(name.strip_prefix("RTMAX-"), 14)
}

#[cfg(test)]
mod tests {
    use super::is_signal;

    #[test]
    fn names_and_numbers() {
        for (text, expected) in [
            ("SIGTERM", true),
            ("term", true),
            ("SigKill", true),
            ("RTMIN+3", true),
            ("SIGRTMAX-14", true),
            ("RTMIN+16", false),
            ("RTMIN+0", false),
            ("RTMAX-15", false),
            ("RTMIN", true),
            ("9", true),
            ("999", true),
            ("-1", true),
            ("0", false),
            ("", false),
            ("FOO", false),
            ("SIGSIGTERM", false),
            ("SIGTERM SIGINT", false),
            ("9x", false),
        ] {
            assert_eq!(is_signal(text), expected, "{text}");
        }
    }
}
