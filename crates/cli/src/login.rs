//! `executor login`: its command line, and the password on standard input.
//!
//! Does not store anything; the executor does.

use std::ffi::OsString;
use std::io::Read;

use sys::Secret;

use crate::error::Error;
use crate::grammar::{LOGIN, Parsed, Values, parse};
use crate::log::LogFlags;
use crate::table;

/// No password is longer.
const PASSWORD_LIMIT: u64 = 1 << 20;

/// What `login` is asked for.
#[derive(Debug, Clone)]
pub struct LoginFlags {
    /// The registry, as typed.
    pub registry: String,
    /// `--username`.
    pub user: String,
    /// `--password`; on standard input if `None`.
    pub password: Option<Secret>,
    /// How to log.
    pub log: LogFlags,
}

/// Reads the command line of `login`.
///
/// # Errors
/// [`Error`] where something is missing or too much.
pub fn login_flags(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Parsed<LoginFlags>, Error> {
    match parse(LOGIN, table::LOGIN, arguments)? {
        Parsed::Print(text) => Ok(Parsed::Print(text)),
        Parsed::Run(values) => interpret(&values).map(Parsed::Run),
    }
}

fn interpret(values: &Values) -> Result<LoginFlags, Error> {
    let [registry] = values.words.as_slice() else {
        let (count, form) = (values.words.len(), "executor login REGISTRY -u USER");
        return Err(Error::OneArgument { count, form });
    };
    let user = values.text("username").ok_or(Error::NoUser)?;
    let password = match (values.is_given("password"), values.is_set("password-stdin")) {
        (true, true) => return Err(Error::TwoPasswords),
        (false, false) => return Err(Error::NoPassword),
        (true, false) => Some(values.text("password").ok_or(Error::BlankPassword)?.into()),
        (false, true) => None,
    };
    let log = LogFlags::from_values(values)?;
    Ok(LoginFlags { registry: registry.clone(), user, password, log })
}

/// The password on an input: all of it, but for the end of its last line.
///
/// # Errors
/// Where there is none, or it is no text.
pub fn password(input: impl Read) -> Result<Secret, Error> {
    let mut bytes = Vec::new();
    let failed = |error: std::io::Error| {
        Error::Grammar(format!("cannot read the password from standard input: {error}"))
    };
    input.take(PASSWORD_LIMIT + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > PASSWORD_LIMIT {
        return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
    }
    for end in [b'\n', b'\r'] {
        if bytes.last() == Some(&end) {
            bytes.pop();
        }
    }
    let secret = Secret::new(bytes);
    match secret.expose_str() {
        None => Err(failed(std::io::ErrorKind::InvalidData.into())),
        Some("") => Err(Error::BlankPassword),
        Some(_) => Ok(secret),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn command_lines() {
        let check = |text: &str, expected: &str| {
            let found = match login_flags(line(text)) {
                Ok(Parsed::Run(flags)) => {
                    assert!(!format!("{flags:?}").contains("s3cret"), "{flags:?}");
                    let password = flags.password.as_ref().and_then(Secret::expose_str);
                    format!("{} {} {password:?}", flags.registry, flags.user)
                }
                Ok(Parsed::Print(text)) => text.lines().nth(1).unwrap_or_default().to_owned(),
                Err(error) => error.to_string(),
            };
            assert_eq!(found, expected, "{text}");
        };
        check("r.example -u kim -p s3cret", "r.example kim Some(\"s3cret\")");
        check("--username=kim --password-stdin r.example", "r.example kim None");
        check("--help", "  executor login REGISTRY [flags]");
        check("-u kim -p word", "accepts 1 arg(s), received 0");
        check("a b -u kim -p word", "accepts 1 arg(s), received 2");
        check("r -p word", "username required");
        check("r -u kim", "a password must be supplied via --password or --password-stdin");
        check(
            "r -u kim -p word --password-stdin",
            "only one of --password and --password-stdin can be used",
        );
        check("r -u kim --password=", "password is blank");
        check("r -u kim --no-push", "unknown flag: --no-push");
    }

    #[test]
    fn passwords_on_standard_input() {
        let check = |text: &[u8], expected: &str| {
            let found = match password(text) {
                Ok(secret) => format!("{:?}", secret.expose_str().unwrap_or_default()),
                Err(error) => error.to_string(),
            };
            assert_eq!(found, expected);
        };
        check(b"word", "\"word\"");
        check(b"word\n", "\"word\"");
        check(b"word\r\n", "\"word\"");
        check(b"word\n\n", "\"word\\n\"");
        check(b" word \n\r\n", "\" word \\n\"");
        check(b"\r\n", "password is blank");
        check(b"", "password is blank");
        check(b"\xff", "cannot read the password from standard input: invalid data");
    }
}
