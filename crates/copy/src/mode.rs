//! `--chmod`: an octal mode, or symbolic changes to each file's own mode. No umask applies.

use crate::{Error, Result};

const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;
const STICKY: u32 = 0o1000;

/// The value of `--chmod`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModeChange(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Octal(u32),
    Symbolic(Vec<Action>),
}

/// `who op what`: one step of a symbolic mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Action {
    who: Who,
    operator: Operator,
    what: What,
}

/// Whose bits, as flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Who {
    user: bool,
    group: bool,
    other: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Add,
    Remove,
    Set,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// Letters of `rwxXst`.
    Letters { bits: u32, conditional_execute: bool, set_id: bool, sticky: bool },
    /// The bits of one class as they are: shift of `u`, `g` or `o`.
    CopyOf(u32),
}

impl ModeChange {
    /// Reads `0755`, `u=rwX,go-w`, `+x`, `g=u` and so on.
    pub fn parse(text: &str) -> Result<Self> {
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            let octal = text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
            let mode = u32::from_str_radix(text, 8).ok().filter(|&mode| octal && mode <= 0o7777);
            let mode = mode.ok_or_else(|| Error::OctalMode { text: text.to_owned() })?;
            return Ok(Self(Kind::Octal(mode)));
        }
        let actions = symbolic(text).ok_or_else(|| Error::SymbolicMode { text: text.to_owned() });
        Ok(Self(Kind::Symbolic(actions?)))
    }

    /// The mode of a copy, from the mode of its source.
    pub fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        match &self.0 {
            Kind::Octal(mode) => *mode,
            Kind::Symbolic(actions) => {
                let executable = is_dir || mode & 0o111 != 0;
                actions.iter().fold(mode, |now, action| action.apply(now, executable))
            }
        }
    }

    /// The mode of directories that a copy needs and no source describes.
    pub(crate) fn implied_directory(change: Option<&Self>) -> u32 {
        match change {
            Some(Self(Kind::Octal(mode))) => mode & 0o777,
            Some(Self(Kind::Symbolic(_))) | None => 0o755,
        }
    }
}

fn symbolic(text: &str) -> Option<Vec<Action>> {
    let mut actions = Vec::new();
    for clause in text.split(',') {
        let start = clause.find(['+', '-', '='])?;
        let who = Who::parse(&clause[..start])?;
        let mut rest = &clause[start..];
        while let Some(sign) = rest.chars().next() {
            let operator = match sign {
                '+' => Operator::Add,
                '-' => Operator::Remove,
                '=' => Operator::Set,
                _ => return None,
            };
            rest = &rest[1..];
            let end = rest.find(['+', '-', '=']).unwrap_or(rest.len());
            let what = What::parse(&rest[..end])?;
            actions.push(Action { who, operator, what });
            rest = &rest[end..];
        }
    }
    Some(actions)
}

impl Who {
    fn parse(text: &str) -> Option<Self> {
        let all = text.is_empty();
        let mut who = Self { user: all, group: all, other: all };
        for letter in text.chars() {
            match letter {
                'u' => who.user = true,
                'g' => who.group = true,
                'o' => who.other = true,
                'a' => who = Self { user: true, group: true, other: true },
                _ => return None,
            }
        }
        Some(who)
    }

    /// The permission bits that belong to it.
    fn mask(self) -> u32 {
        let part = |on: bool, bits: u32| if on { bits } else { 0 };
        part(self.user, 0o700) | part(self.group, 0o070) | part(self.other, 0o007)
    }

    fn set_id(self) -> u32 {
        let part = |on: bool, bits: u32| if on { bits } else { 0 };
        part(self.user, SETUID) | part(self.group, SETGID)
    }
}

impl What {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "u" => return Some(Self::CopyOf(6)),
            "g" => return Some(Self::CopyOf(3)),
            "o" => return Some(Self::CopyOf(0)),
            _ => {}
        }
        let (mut bits, mut conditional_execute, mut set_id, mut sticky) = (0, false, false, false);
        for letter in text.chars() {
            match letter {
                'r' => bits |= 0o444,
                'w' => bits |= 0o222,
                'x' => bits |= 0o111,
                'X' => conditional_execute = true,
                's' => set_id = true,
                't' => sticky = true,
                _ => return None,
            }
        }
        Some(Self::Letters { bits, conditional_execute, set_id, sticky })
    }

    fn bits(self, who: Who, now: u32, executable: bool) -> u32 {
        match self {
            Self::CopyOf(shift) => (((now >> shift) & 0o7) * 0o111) & who.mask(),
            Self::Letters { mut bits, conditional_execute, set_id, sticky } => {
                if conditional_execute && executable {
                    bits |= 0o111;
                }
                bits &= who.mask();
                if set_id {
                    bits |= who.set_id();
                }
                if sticky && (who.user || who.group) {
                    bits |= STICKY;
                }
                bits
            }
        }
    }
}

impl Action {
    fn apply(self, now: u32, executable: bool) -> u32 {
        let bits = self.what.bits(self.who, now, executable);
        match self.operator {
            Operator::Add => now | bits,
            Operator::Remove => now & !bits,
            Operator::Set => {
                let everyone = self.who == Who { user: true, group: true, other: true };
                let sticky = if everyone { STICKY } else { 0 };
                (now & !(self.who.mask() | self.who.set_id() | sticky)) | bits
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `change` applied to a file and a directory of mode `mode`.
    fn check(change: &str, mode: u32, file: u32, directory: u32) {
        let change = ModeChange::parse(change).expect("because the case is valid");
        assert_eq!(format!("{:04o}", change.apply(mode, false)), format!("{file:04o}"));
        assert_eq!(format!("{:04o}", change.apply(mode, true)), format!("{directory:04o}"));
    }

    fn refused(change: &str, expected: &str) {
        let error = ModeChange::parse(change).expect_err("because the case is invalid");
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn octal_replaces() {
        check("0", 0o644, 0, 0);
        check("755", 0o4600, 0o755, 0o755);
        check("7777", 0o600, 0o7777, 0o7777);
    }

    #[test]
    fn symbolic_changes_the_mode_of_the_source() {
        check("+x", 0o644, 0o755, 0o755);
        check("a-w", 0o755, 0o555, 0o555);
        check("u=rwX,go=rX", 0o600, 0o644, 0o755);
        check("u=rwX,go=rX", 0o711, 0o755, 0o755);
        check("g=u", 0o740, 0o770, 0o770);
        check("go=", 0o777, 0o700, 0o700);
        check("u+s", 0o755, 0o4755, 0o4755);
        check("g+s,o+t", 0o755, 0o2755, 0o2755);
        check("+t", 0o755, 0o1755, 0o1755);
        check("u+x-w", 0o644, 0o544, 0o544);
        check("u=rw", 0o4755, 0o655, 0o655);
        check("o=g-x", 0o750, 0o754, 0o754);
    }

    #[test]
    fn nonsense_is_refused() {
        let octal =
            "invalid chmod parameter: '64a'. it should be octal string and between 0 and 07777";
        refused("64a", octal);
        refused("8", &octal.replace("64a", "8"));
        refused("10000", &octal.replace("64a", "10000"));
        refused("", "invalid syntax in chmod parameter ``");
        refused("rwx", "invalid syntax in chmod parameter `rwx`");
        refused("u+q", "invalid syntax in chmod parameter `u+q`");
        refused("u+x,", "invalid syntax in chmod parameter `u+x,`");
        refused("u=rwu", "invalid syntax in chmod parameter `u=rwu`");
    }
}
