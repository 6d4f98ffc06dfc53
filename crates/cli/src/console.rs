//! Writing to standard output and standard error, whole lines at a time.
//!
//! Standard output is for what was asked for (a plan, a version, the output of RUN steps), standard
//! error for everything else. A closed pipe is no reason to fail a build.
//!
//! Both may be the same pipe or file. Whoever writes to standard output holds standard error as well,
//! so that lines of several threads never run into each other.

use std::io::Write;
use std::process::ExitCode;

use crate::error::Error;
use crate::grammar::Parsed;
use crate::report::{Report, render, usage_error};

/// The flags of a command line, or the end of the program where there is nothing to do: a text that
/// was asked for, or an error, is written first.
///
/// # Errors
/// The status to end with.
pub fn flags_or_end<T>(parsed: Result<Parsed<T>, Error>) -> Result<T, ExitCode> {
    match parsed {
        Ok(Parsed::Run(flags)) => Ok(flags),
        Ok(Parsed::Print(text)) => {
            print(&text);
            Err(ExitCode::SUCCESS)
        }
        Err(error) => {
            print_error(&usage_error(&error));
            Err(ExitCode::FAILURE)
        }
    }
}

/// The end of a program whose work failed, where there is nothing to tell but the error: it is
/// written as the failure of `doing`.
pub fn failed(doing: &str, error: &(dyn std::error::Error + '_)) -> ExitCode {
    let report = Report { doing, error, excerpt: None, hint: None, output: &[] };
    print_error(&render(&report));
    ExitCode::FAILURE
}

/// Writes a text to standard output.
pub fn print(text: &str) {
    write_output(text.as_bytes());
}

/// Writes a text to standard error.
pub fn print_error(text: &str) {
    write(&mut std::io::stderr().lock(), text.as_bytes());
}

/// Passes lines of a step's standard output on, as they are.
pub fn step_output(lines: &[u8]) {
    write_output(lines);
}

/// Passes lines of a step's standard error on, as they are.
pub fn step_error(lines: &[u8]) {
    write(&mut std::io::stderr().lock(), lines);
}

fn write_output(bytes: &[u8]) {
    let _turn = std::io::stderr().lock();
    write(&mut std::io::stdout().lock(), bytes);
}

fn write(out: &mut impl Write, bytes: &[u8]) {
    // Whoever reads may be gone; the build goes on.
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}
