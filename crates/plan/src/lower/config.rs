//! The instructions that change the config and nothing else, and `WORKDIR`.

use dockerfile::{Arg, CommandLine, Healthcheck, Pairs, Statement, word};
use oci::ConfigEdit;

use super::ports;
use super::signal::is_signal;
use super::stage::{Outcome, Stage};
use crate::error::{Error, ErrorKind};
use crate::model::{HistoryKind, Op, WorkdirOp};
use crate::text::{duration, join, list, quote_list};
use crate::variables::is_visible;

impl Stage<'_> {
    /// The value of an argument, in this order: the caller's, the own default, the global value.
    /// A default the caller overrides is not looked at, so an error in it does no harm.
    pub(super) fn arg(&mut self, arg: &Arg) -> Result<Outcome, Error> {
        let mut shown = Vec::with_capacity(arg.args.len());
        for definition in &arg.args {
            let name = &definition.name;
            let value = if let Some(given) = self.graph.options.build_arg(name) {
                Some(given.to_owned())
            } else if let Some(default) = &definition.default {
                Some(self.expand(default)?)
            } else {
                self.graph.globals.value(name).map(str::to_owned)
            };
            if let Some(value) = value.as_deref().filter(|_| is_visible(name)) {
                self.variables.set(name, value);
            }
            shown.push(match &value {
                Some(value) => format!("{name}={value}"),
                None => name.clone(),
            });
            self.args.push((name.clone(), value));
        }
        Ok(self.config(Vec::new(), format!("ARG {}", shown.join(" "))))
    }

    /// All pairs of one instruction see the variables from before it.
    fn expand_pairs(&mut self, pairs: &Pairs) -> Result<Vec<(String, String)>, Error> {
        pairs
            .pairs
            .iter()
            .map(|(key, value)| Ok((self.expand(key)?, self.expand(value)?)))
            .collect()
    }

    pub(super) fn env(&mut self, pairs: &Pairs) -> Result<Outcome, Error> {
        let expanded = self.expand_pairs(pairs)?;
        let mut created_by = "ENV".to_owned();
        let mut edits = Vec::with_capacity(expanded.len());
        for (key, value) in expanded {
            created_by.push_str(&format!(" {key}={value}"));
            self.variables.set(&key, &value);
            edits.push(ConfigEdit::Env { key, value });
        }
        Ok(self.config(edits, created_by))
    }

    pub(super) fn label(&mut self, pairs: &Pairs) -> Result<Outcome, Error> {
        let expanded = self.expand_pairs(pairs)?;
        let mut created_by = "LABEL".to_owned();
        let mut edits = Vec::with_capacity(expanded.len());
        for (key, value) in expanded {
            created_by.push_str(&format!(" {key}={value}"));
            edits.push(ConfigEdit::Label { key, value });
        }
        Ok(self.config(edits, created_by))
    }

    pub(super) fn cmd(&mut self, statement: &Statement, command: &CommandLine) -> Outcome {
        self.cmd_set = true;
        let argv = self.command_line(statement, command);
        let created_by = format!("CMD {}", quote_list(&argv));
        self.config(vec![ConfigEdit::Cmd(argv)], created_by)
    }

    /// Forgets the command of the base, but not one that this very stage has set.
    pub(super) fn entrypoint(&mut self, statement: &Statement, command: &CommandLine) -> Outcome {
        let argv = self.command_line(statement, command);
        let created_by = format!("ENTRYPOINT {}", quote_list(&argv));
        let mut edits = vec![ConfigEdit::Entrypoint(argv)];
        if !self.cmd_set && !self.image.config.cmd.is_empty() {
            edits.push(ConfigEdit::ClearCmd);
        }
        self.config(edits, created_by)
    }

    fn command_line(&mut self, statement: &Statement, command: &CommandLine) -> Vec<String> {
        match command {
            CommandLine::Exec(argv) => argv.clone(),
            CommandLine::Shell(text) => {
                self.note_shell_form(statement);
                self.with_shell(text)
            }
        }
    }

    /// A shell form as the shell in force runs it.
    pub(super) fn with_shell(&self, text: &str) -> Vec<String> {
        let mut argv = self.image.config.shell.clone();
        if argv.is_empty() {
            argv = vec!["/bin/sh".to_owned(), "-c".to_owned()];
        }
        argv.push(text.to_owned());
        argv
    }

    pub(super) fn healthcheck(&mut self, check: &Healthcheck) -> Outcome {
        let nanos = |time: Option<std::time::Duration>| {
            time.map_or(0, |time| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX))
        };
        let check = match check {
            Healthcheck::None => {
                oci::Healthcheck { test: vec!["NONE".to_owned()], ..oci::Healthcheck::default() }
            }
            Healthcheck::Check(check) => oci::Healthcheck {
                test: match &check.command {
                    CommandLine::Exec(argv) => {
                        std::iter::once("CMD".to_owned()).chain(argv.iter().cloned()).collect()
                    }
                    CommandLine::Shell(text) => vec!["CMD-SHELL".to_owned(), text.clone()],
                },
                interval: nanos(check.interval),
                timeout: nanos(check.timeout),
                start_period: nanos(check.start_period),
                start_interval: nanos(check.start_interval),
                retries: check.retries.map_or(0, i64::from),
            },
        };
        let created_by = format!(
            "HEALTHCHECK {{Test:{} Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} \
             Retries:{}}}",
            list(&check.test),
            duration(check.interval),
            duration(check.timeout),
            duration(check.start_period),
            duration(check.start_interval),
            check.retries
        );
        self.config(vec![ConfigEdit::Healthcheck(check)], created_by)
    }

    pub(super) fn maintainer(&mut self, author: &str) -> Outcome {
        let edit = ConfigEdit::Author(author.to_owned());
        self.config(vec![edit], format!("MAINTAINER {author}"))
    }

    /// The only instruction that leaves no trace in the history.
    pub(super) fn on_build(&mut self, trigger: &str) -> Outcome {
        let outcome = self.config(vec![ConfigEdit::OnBuild(trigger.to_owned())], String::new());
        Outcome { history: HistoryKind::None, ..outcome }
    }

    pub(super) fn shell(&mut self, words: &[String]) -> Outcome {
        let edit = ConfigEdit::Shell(words.to_vec());
        self.config(vec![edit], format!("SHELL {}", list(words)))
    }

    pub(super) fn stop_signal(&mut self, signal: &str) -> Result<Outcome, Error> {
        let signal = self.expand(signal)?;
        if !is_signal(&signal) {
            return Err(self.error(ErrorKind::Signal(signal)));
        }
        let created_by = format!("STOPSIGNAL {signal}");
        Ok(self.config(vec![ConfigEdit::StopSignal(signal)], created_by))
    }

    pub(super) fn user(&mut self, user: &str) -> Result<Outcome, Error> {
        let user = self.expand(user)?;
        let created_by = format!("USER {user}");
        Ok(self.config(vec![ConfigEdit::User(user)], created_by))
    }

    pub(super) fn volume(&mut self, paths: &[String]) -> Result<Outcome, Error> {
        let paths: Result<Vec<String>, Error> =
            paths.iter().map(|path| self.expand(path)).collect();
        let paths = paths?;
        if paths.iter().any(String::is_empty) {
            return Err(self.error(ErrorKind::EmptyVolume));
        }
        let created_by = format!("VOLUME {}", list(&paths));
        Ok(self.config(paths.into_iter().map(ConfigEdit::Volume).collect(), created_by))
    }

    /// The words are sorted before they are expanded, and split after it.
    pub(super) fn expose(&mut self, words: &[String]) -> Result<Outcome, Error> {
        let mut sorted: Vec<&String> = words.iter().collect();
        sorted.sort();
        let mut specs = Vec::new();
        for text in sorted {
            let expanded = word::expand(text, &self.variables, self.graph.escape)
                .map_err(|error| self.error(error))?;
            specs.extend(expanded.words);
        }
        let mut ports = Vec::new();
        for spec in &specs {
            self.note_port(spec);
            ports.extend(ports::parse(spec).map_err(|text| self.error(ErrorKind::Port(text)))?);
        }
        let created_by = format!("EXPOSE {}", list(&ports));
        Ok(self.config(ports.into_iter().map(ConfigEdit::ExposedPort).collect(), created_by))
    }

    /// The config gets the clean path. The history keeps BuildKit's text, which is clean only
    /// where the path was relative, and also decides whether there is a layer.
    pub(super) fn workdir(&mut self, path: &str) -> Result<Outcome, Error> {
        let path = self.expand(path)?;
        self.note_relative_workdir(&path);
        self.workdir_set = true;
        let shown = if path.starts_with('/') { path.clone() } else { join(&self.cwd(), &path) };
        let clean = join(&self.cwd(), &path);
        let created_by = format!("WORKDIR {shown}");
        let outcome = self.config(vec![ConfigEdit::WorkingDir(clean.clone())], created_by);
        if shown == "/" {
            return Ok(outcome);
        }
        let op = Op::Workdir(WorkdirOp { path: clean, user: self.image.config.user.clone() });
        Ok(Outcome { op, history: HistoryKind::Layer, ..outcome })
    }
}
