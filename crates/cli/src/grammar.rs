//! kaniko's flag grammar (Go's pflag) on clap: from arguments to checked values per flag.
//!
//! `--name=value`, `--name value`, `-n value`, `-nvalue`, `-n=value`; a boolean takes a value only
//! after `=`; a scalar given twice keeps the last; a value may begin with a dash. clap finds the
//! flags, this file decides what they may hold and speaks in pflag's words. It does not know what
//! a flag means: `executor.rs` and `warmer.rs` do.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::error::Error;
use crate::flag::{Flag, Status, Value};
use crate::subcommand::Subcommand;
use crate::value::{self, parse_bool, parse_number};
use crate::{VERSION, not_yet};

/// The subcommand with flags of its own, as a program.
pub(crate) const LOGIN: &str = "executor login";
/// Another one.
pub(crate) const PUSH: &str = "executor push";
/// A third, which has one of its own: `gc`.
pub(crate) const CACHE: &str = "executor cache";

/// What a command line asks for.
#[derive(Debug)]
pub enum Parsed<T> {
    /// To do the program's work with these flags.
    Run(T),
    /// To print this text on standard output and succeed.
    Print(String),
}

/// The values of one command line, by the flags' main names.
#[derive(Debug, Default)]
pub(crate) struct Values {
    given: BTreeMap<&'static str, Vec<String>>,
    defaults: BTreeMap<&'static str, &'static str>,
    /// The words that belong to no flag.
    pub(crate) words: Vec<String>,
    /// Lines for the person: deprecated spellings, flags without effect.
    pub(crate) notices: Vec<String>,
}

impl Values {
    /// The last value given, or the default; `None` where there is neither.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        let given = self.given.get(name).and_then(|values| values.last()).map(String::as_str);
        given
            .or(self.defaults.get(name).copied())
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    }

    /// All values given.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        self.given.get(name).cloned().unwrap_or_default()
    }

    /// The boolean given, or its default.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.text(name).is_some_and(|text| parse_bool(&text).unwrap_or(false))
    }

    /// The number given, or its default.
    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        self.text(name).and_then(|text| parse_number(&text).ok())
    }

    /// Whether the flag stands on the command line.
    pub(crate) fn is_given(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }
}

/// Reads a command line (without the program's name) by a table of flags.
pub(crate) fn parse(
    program: &'static str,
    table: &[Flag],
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Parsed<Values>, Error> {
    let arguments: Vec<String> = arguments
        .into_iter()
        .map(|argument| {
            argument
                .into_string()
                .map_err(|raw| Error::NotUnicode { argument: raw.to_string_lossy().into_owned() })
        })
        .collect::<Result<_, _>>()?;
    let matches = command(program, table)
        .try_get_matches_from(&arguments)
        .map_err(|error| translate(&error, table, &arguments))?;
    if let Some(text) = informational(program, table, &matches, &arguments)? {
        return Ok(Parsed::Print(text));
    }
    let words = words(&matches);
    collect(table, &matches).map(|values| Parsed::Run(Values { words, ..values }))
}

/// The words that belong to no flag.
fn words(matches: &ArgMatches) -> Vec<String> {
    matches.get_many::<String>(WORDS).into_iter().flatten().cloned().collect()
}

fn command(program: &'static str, table: &[Flag]) -> Command {
    let mut command = Command::new(program)
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .arg(Arg::new(WORDS).num_args(0..).action(ArgAction::Append));
    for flag in table {
        let mut arg = Arg::new(flag.name).long(flag.name).action(ArgAction::Append);
        if let Some(short) = flag.short {
            arg = arg.short(short);
        }
        arg = match flag.value {
            Value::Bool => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
            _ => arg.num_args(1).allow_hyphen_values(true),
        };
        command = command.arg(arg);
    }
    command
}

/// The id under which words that belong to no flag are kept; no flag has a space in its name.
const WORDS: &str = "other words";

/// Answers `help`, `version` and their flags; refuses every other word.
fn informational(
    program: &'static str,
    table: &[Flag],
    matches: &ArgMatches,
    arguments: &[String],
) -> Result<Option<String>, Error> {
    let given = |name: &str| matches.try_get_many::<String>(name).ok().flatten().is_some();
    if given("help") {
        return Ok(Some(usage(program, table)));
    }
    let version = format!("Kaniko version :  v{VERSION}\n");
    if given("version") {
        return Ok(Some(version));
    }
    let words = words(matches);
    let Some(word) = words.first().filter(|_| ![LOGIN, PUSH, CACHE].contains(&program)) else {
        return Ok(None);
    };
    match word.as_str() {
        "help" => Ok(Some(usage(program, table))),
        "version" => Ok(Some(version)),
        "doctor" if program == "executor" && words.len() == 1 => Ok(None),
        name if program == "executor" && Subcommand::is_name(name) => {
            Err(Error::Grammar(format!("`{name}` comes before its flags")))
        }
        name if program == "executor" && not_yet::SUBCOMMANDS.contains(&name) => {
            Err(Error::CommandNotYet { name: name.to_owned() })
        }
        _ => Err(Error::UnknownCommand {
            word: word.clone(),
            program,
            bool_flag: bool_before(word, table, arguments),
        }),
    }
}

/// The boolean flag that stands right before a word which looks like its value.
fn bool_before(word: &str, table: &[Flag], arguments: &[String]) -> Option<String> {
    parse_bool(word).ok()?;
    let before = arguments.iter().position(|argument| argument == word)?.checked_sub(1)?;
    let name = arguments[before].strip_prefix("--")?;
    let is_bool = table.iter().any(|flag| flag.name == name && flag.value == Value::Bool);
    is_bool.then(|| arguments[before].clone())
}

fn collect(table: &[Flag], matches: &ArgMatches) -> Result<Values, Error> {
    // Positions decide between two spellings of one flag, so values are sorted by them.
    let mut found: BTreeMap<&'static str, Vec<(usize, String)>> = BTreeMap::new();
    let mut values = Values::default();
    for flag in table {
        if !flag.default.is_empty() {
            values.defaults.insert(flag.name, flag.default);
        }
        let Some(texts) = matches.get_many::<String>(flag.name) else { continue };
        let texts: Vec<String> = texts.cloned().collect();
        for text in &texts {
            value::check(flag.value, flag.name, text).map_err(|reason| Error::InvalidValue {
                value: text.clone(),
                flag: spelling(flag),
                reason,
            })?;
        }
        let name = match flag.status {
            Status::NotYet(what) => {
                refuse_unless_default(flag, what, &texts)?;
                continue;
            }
            Status::Alias(name) => {
                values.notices.push(format!(
                    "Flag --{} has been deprecated, Please use {name} instead.",
                    flag.name
                ));
                name
            }
            Status::NoEffect(why) => {
                if texts.iter().any(|text| !is_default(flag, text)) {
                    values.notices.push(format!(
                        "flag --{} has no effect in this implementation: {why}",
                        flag.name
                    ));
                }
                flag.name
            }
            Status::Implemented => flag.name,
        };
        let positions = matches.indices_of(flag.name).into_iter().flatten();
        found.entry(name).or_default().extend(positions.zip(texts));
    }
    for (name, mut entries) in found {
        entries.sort_by_key(|(position, _)| *position);
        values.given.insert(name, entries.into_iter().map(|(_, text)| text).collect());
    }
    Ok(values)
}

fn refuse_unless_default(flag: &Flag, what: &'static str, texts: &[String]) -> Result<(), Error> {
    if texts.iter().all(|text| is_default(flag, text)) {
        return Ok(());
    }
    Err(Error::NotYet { name: flag.name, what })
}

fn is_default(flag: &Flag, text: &str) -> bool {
    match flag.value {
        Value::Bool => parse_bool(text) == parse_bool(flag.default),
        _ => text == flag.default && !text.is_empty(),
    }
}

/// A flag as pflag names it in messages: `-v, --verbosity`.
fn spelling(flag: &Flag) -> String {
    match flag.short {
        Some(short) => format!("-{short}, --{}", flag.name),
        None => format!("--{}", flag.name),
    }
}

fn translate(error: &clap::Error, table: &[Flag], arguments: &[String]) -> Error {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => texts.first().cloned(),
        _ => None,
    };
    let argument = context(ContextKind::InvalidArg).unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument => match argument.strip_prefix("--") {
            Some(name) => Error::UnknownFlag {
                name: name.split('=').next().unwrap_or(name).to_owned(),
                similar: context(ContextKind::SuggestedArg)
                    .map(|text| text.trim_start_matches('-').to_owned()),
            },
            None => unknown_shorthand(&argument, arguments),
        },
        ErrorKind::InvalidValue | ErrorKind::WrongNumberOfValues | ErrorKind::TooFewValues => {
            missing_value(&argument, table, arguments)
        }
        _ => Error::Grammar(error.to_string().lines().next().unwrap_or_default().to_owned()),
    }
}

fn unknown_shorthand(argument: &str, arguments: &[String]) -> Error {
    let letter = argument.chars().find(|c| *c != '-').unwrap_or('-');
    // clap names the letter only; pflag shows the whole argument it stands in.
    let whole = arguments.iter().find(|candidate| {
        candidate.starts_with('-') && !candidate.starts_with("--") && candidate.contains(letter)
    });
    let argument = whole.cloned().unwrap_or_else(|| argument.to_owned());
    Error::UnknownShorthand { letter, argument }
}

fn missing_value(argument: &str, table: &[Flag], arguments: &[String]) -> Error {
    // clap's text is `--context <context>`; the flag may have been given by its letter.
    let name = argument.trim_start_matches('-').split([' ', '=']).next().unwrap_or_default();
    let short = table.iter().find(|flag| flag.name == name).and_then(|flag| flag.short);
    let last = arguments.last().map(String::as_str).unwrap_or_default();
    let flag = match short {
        Some(letter) if last == format!("-{letter}") => format!("'{letter}' in -{letter}"),
        _ => format!("--{name}"),
    };
    Error::MissingValue { flag }
}

/// The usage text, in the layout of kaniko's.
pub(crate) fn usage(program: &str, table: &[Flag]) -> String {
    let forms = match program {
        LOGIN => "  executor login REGISTRY [flags]\n".to_owned(),
        PUSH => "  executor push PATH [flags]\n".to_owned(),
        CACHE => "  executor cache gc [flags]\n".to_owned(),
        "executor" => "  executor [flags]\n  executor doctor [flags]\n  executor login REGISTRY \
                       [flags]\n  executor push PATH [flags]\n  executor cache gc [flags]\n  \
                       executor version\n"
            .to_owned(),
        other => format!("  {other} [flags]\n  {other} version\n"),
    };
    let mut text = format!("Usage:\n{forms}\nFlags:\n");
    let shown: Vec<(String, &Flag)> = table
        .iter()
        .filter(|flag| matches!(flag.status, Status::Implemented | Status::NoEffect(_)))
        .map(|flag| (usage_name(flag), flag))
        .collect();
    let width = shown.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    for (name, flag) in &shown {
        text.push_str(&format!("{name:width$}   {}", flag.help));
        match (flag.default, flag.value) {
            ("" | "false", _) => {}
            (default, Value::Text | Value::Choice(_)) => {
                text.push_str(&format!(" (default \"{default}\")"));
            }
            (default, _) => text.push_str(&format!(" (default {default})")),
        }
        text.push('\n');
    }
    let missing: Vec<String> = table
        .iter()
        .filter(|flag| matches!(flag.status, Status::NotYet(_)))
        .map(|flag| format!("--{}", flag.name))
        .collect();
    if !missing.is_empty() {
        text.push_str("\nKnown to kaniko, and refused here until they are implemented:\n");
    }
    for line in missing.chunks(4) {
        text.push_str(&format!("  {}\n", line.join(" ")));
    }
    text
}

fn usage_name(flag: &Flag) -> String {
    let short = flag.short.map_or("    ".to_owned(), |letter| format!("-{letter}, "));
    let kind = match flag.value {
        Value::Bool => "",
        Value::Text | Value::Choice(_) => " string",
        Value::List => " multi",
        Value::KeyValue => " key=value",
        Value::Map => " key=value[;key=value]",
        Value::Number => " int",
        Value::Duration => " duration",
    };
    format!("  {short}--{}{kind}", flag.name)
}
