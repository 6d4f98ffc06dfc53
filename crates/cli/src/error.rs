//! What is wrong with a command line, in the words of kaniko's flag library.
//!
//! Rendered by [`crate::report::usage_error`]; the exit status is 1 for all of them.

/// A command line (or a variable) that cannot be carried out.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are the names and texts the message shows")]
pub enum Error {
    #[error("unknown flag: --{name}")]
    UnknownFlag { name: String, similar: Option<String> },
    #[error("unknown shorthand flag: '{letter}' in {argument}")]
    UnknownShorthand { letter: char, argument: String },
    #[error("flag needs an argument: {flag}")]
    MissingValue { flag: String },
    #[error("invalid argument \"{value}\" for \"{flag}\" flag: {reason}")]
    InvalidValue { value: String, flag: String, reason: String },
    #[error("unknown command \"{word}\" for \"{program}\"")]
    UnknownCommand { word: String, program: &'static str, bool_flag: Option<String> },
    #[error("flag --{name} is not implemented yet: {what}")]
    NotYet { name: &'static str, what: &'static str },
    #[error("command `{name}` is not implemented yet")]
    CommandNotYet { name: String },
    #[error("variable {name} is not implemented yet")]
    VariableNotYet { name: &'static str },
    #[error("variable {name} is not valid: {reason}")]
    InvalidVariable { name: &'static str, reason: String },
    #[error("an argument is not valid UTF-8: {argument}")]
    NotUnicode { argument: String },
    #[error("you must provide --destination, or use --no-push")]
    NoDestination,
    #[error("accepts 1 arg(s), received {count}")]
    OneArgument { count: usize, form: &'static str },
    #[error("username required")]
    NoUser,
    #[error("a password must be supplied via --password or --password-stdin")]
    NoPassword,
    #[error("only one of --password and --password-stdin can be used")]
    TwoPasswords,
    #[error("password is blank")]
    BlankPassword,
    #[error("you must provide --destination if setting {what}")]
    NoName { what: &'static str },
    #[error("labels must be of the form key=value, got {label}")]
    Label { label: String },
    #[error("{flag} cannot be used with {other}, {reason}")]
    Conflict { flag: &'static str, other: &'static str, reason: &'static str },
    #[error("{flag} needs {needs}")]
    Needs { flag: &'static str, needs: &'static str },
    #[error("Invalid platform \"{text}\": {reason}")]
    Platform { text: String, reason: String },
    #[error(
        "error resolving source context: unknown build context prefix provided, please use one of \
         the following: gs://, dir://, tar://, s3://, git://, https://"
    )]
    ContextScheme,
    #[error(
        "cache flags invalid: if using cache with --no-push, specify cache repo with --cache-repo"
    )]
    NoCacheRepository,
    #[error("you must select at least one image to cache or a dockerfilepath to parse")]
    NothingToWarm,
    #[error("invalid argument \"{value}\" for \"--{flag}\" flag: {what} is not implemented yet")]
    ValueNotYet { value: String, flag: &'static str, what: &'static str },
    #[error("{0}")]
    Grammar(String),
}

impl Error {
    /// What the person could write instead.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownFlag { similar: Some(name), .. } => {
                Some(format!("did you mean --{name}?"))
            }
            Self::UnknownCommand { word, bool_flag: Some(flag), .. } => {
                Some(format!("a boolean takes its value after `=`: write {flag}={word}"))
            }
            Self::NotYet { .. }
            | Self::CommandNotYet { .. }
            | Self::VariableNotYet { .. }
            | Self::ValueNotYet { .. } => {
                Some("the README lists what is there and what is not".to_owned())
            }
            Self::UnknownFlag { similar: None, .. }
            | Self::UnknownShorthand { .. }
            | Self::MissingValue { .. }
            | Self::InvalidValue { .. }
            | Self::UnknownCommand { bool_flag: None, .. }
            | Self::Grammar(_)
            | Self::NotUnicode { .. } => Some("--help lists the flags".to_owned()),
            Self::OneArgument { form, .. } => Some((*form).to_owned()),
            Self::InvalidVariable { .. }
            | Self::NoDestination
            | Self::NoUser
            | Self::NoPassword
            | Self::TwoPasswords
            | Self::BlankPassword
            | Self::NoName { .. }
            | Self::Label { .. }
            | Self::Conflict { .. }
            | Self::Needs { .. }
            | Self::Platform { .. }
            | Self::ContextScheme
            | Self::NoCacheRepository
            | Self::NothingToWarm => None,
        }
    }
}
