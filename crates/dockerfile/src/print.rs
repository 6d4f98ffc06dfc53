//! A Dockerfile back into text.
//!
//! Parsing the result gives the same instructions; line breaks, blanks and how things are quoted
//! may differ from the file it came from. Useful to show what was understood, and to test that the
//! parser loses nothing.

use std::fmt::Write;

use crate::instruction::{
    Arg, CommandLine, Device, Healthcheck, Heredoc, Instruction, Network, Pairs, Run, Security,
    Transfer,
};
use crate::lines::without_continuation;
use crate::{Dockerfile, Statement};

/// Past this many bytes a line is continued on the next, well below what the parser takes.
const LINE_LENGTH: usize = 60_000;

/// The file as text: directives, comments above instructions, instructions.
#[must_use]
pub fn print(file: &Dockerfile) -> String {
    let mut out = String::new();
    for directive in &file.directives {
        let _ = writeln!(out, "# {}={}", directive.name, directive.value);
    }
    // Ends the directives: a comment above the first instruction may look like one.
    out.push('\n');
    for statement in file.statements() {
        for comment in &statement.comments {
            let _ = writeln!(out, "# {comment}");
        }
        out.push_str(&print_statement(statement, file.escape));
        // Keeps the instruction's comments from the next one's.
        out.push('\n');
    }
    out
}

/// One instruction with the bodies of its here-documents, ending in a newline.
fn print_statement(statement: &Statement, escape: char) -> String {
    let mut printer = Printer { out: statement.keyword.clone(), escape };
    let bodies = printer.instruction(&statement.instruction);
    let mut text = fold(&printer.out, escape);
    if without_continuation(&text, escape).is_some() {
        // The escape at its end must not continue it. A blank that is none to the line reader
        // does that, and the parser trims it off; a trigger keeps its blanks, but can end like
        // this only where the file ends in the midst of it.
        let is_trigger = matches!(statement.instruction, Instruction::OnBuild(_));
        text.push(if is_trigger { escape } else { '\u{a0}' });
    }
    text.push('\n');
    for heredoc in bodies {
        text.push_str(&heredoc.content);
        text.push_str(&heredoc.name);
        text.push('\n');
    }
    text
}

/// Breaks a line that would be too long, where no blank or `#` begins the next.
fn fold(line: &str, escape: char) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while rest.len() > LINE_LENGTH {
        let before = |at: &usize| rest[..*at].chars().next_back();
        let after = |at: &usize| rest[*at..].chars().next();
        let end = rest.char_indices().map(|(at, _)| at).take_while(|at| *at <= LINE_LENGTH);
        let Some(at) = end
            .filter(|at| *at > 0 && before(at) != Some(escape))
            .filter(|at| after(at).is_some_and(|c| c != '#' && !c.is_whitespace()))
            .last()
        else {
            break;
        };
        out.push_str(&rest[..at]);
        out.push(escape);
        out.push('\n');
        rest = &rest[at..];
    }
    out.push_str(rest);
    out
}

struct Printer {
    out: String,
    escape: char,
}

impl Printer {
    /// The here-documents whose bodies follow the line.
    fn instruction<'a>(&mut self, instruction: &'a Instruction) -> &'a [Heredoc] {
        match instruction {
            Instruction::Add(add) => {
                self.transfer_flags(&add.transfer);
                self.optional("checksum", add.checksum.as_deref());
                self.boolean("keep-git-dir", add.keep_git_dir);
                self.boolean("unpack", add.unpack);
                return self.transfer(&add.transfer);
            }
            Instruction::Copy(copy) => {
                self.transfer_flags(&copy.transfer);
                self.optional("from", copy.from.as_deref());
                self.boolean("parents", Some(true).filter(|_| copy.parents));
                return self.transfer(&copy.transfer);
            }
            Instruction::Run(run) => {
                self.run_flags(run);
                self.command_line(&run.command);
                return &run.heredocs;
            }
            Instruction::Arg(arg) => self.arg(arg),
            Instruction::Cmd(command) | Instruction::Entrypoint(command) => {
                self.command_line(command);
            }
            Instruction::Env(pairs) | Instruction::Label(pairs) => self.pairs(pairs),
            Instruction::Expose(words) => self.text(&words.join(" ")),
            Instruction::From(from) => {
                self.optional("platform", from.platform.as_deref());
                let mut text = from.image.clone();
                for word in [&from.as_keyword, &from.written_name].into_iter().flatten() {
                    text.push(' ');
                    text.push_str(word);
                }
                self.text(&text);
            }
            Instruction::Healthcheck(check) => self.healthcheck(check),
            // It stands for all that follows, `--` included.
            Instruction::OnBuild(trigger) => {
                self.out.push(' ');
                self.out.push_str(&trigger.trigger);
            }
            Instruction::Maintainer(text)
            | Instruction::StopSignal(text)
            | Instruction::User(text)
            | Instruction::Workdir(text) => self.text(text),
            Instruction::Shell(words) | Instruction::Volume(words) => self.json(words),
        }
        &[]
    }

    /// The arguments as they are.
    fn text(&mut self, text: &str) {
        if text.starts_with("--") {
            self.out.push_str(" --");
        }
        if !text.is_empty() {
            self.out.push(' ');
            self.out.push_str(text);
        }
    }

    fn json<'a>(&mut self, words: impl IntoIterator<Item = &'a String>) {
        let words: Vec<String> = words.into_iter().map(|word| json_string(word)).collect();
        let _ = write!(self.out, " [{}]", words.join(", "));
    }

    fn command_line(&mut self, command: &CommandLine) {
        match command {
            CommandLine::Shell(text) => self.text(text),
            CommandLine::Exec(words) => self.json(words),
        }
    }

    fn flag(&mut self, name: &str, value: &str) {
        let value = quote_flag(value, self.escape);
        let _ = write!(self.out, " --{name}={value}");
    }

    fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.flag(name, value);
        }
    }

    fn boolean(&mut self, name: &str, value: Option<bool>) {
        self.optional(name, value.map(|value| if value { "true" } else { "false" }));
    }

    fn transfer_flags(&mut self, transfer: &Transfer) {
        self.optional("chown", transfer.chown.as_deref());
        self.optional("chmod", transfer.chmod.as_deref());
        self.boolean("link", Some(true).filter(|_| transfer.link));
        for pattern in &transfer.exclude {
            self.flag("exclude", pattern);
        }
    }

    /// Words may hold blanks only in the JSON form, here-documents stand only in the other.
    fn transfer<'a>(&mut self, transfer: &'a Transfer) -> &'a [Heredoc] {
        if transfer.heredocs.is_empty() {
            self.json(transfer.sources.iter().chain([&transfer.dest]));
            return &[];
        }
        let mut words: Vec<String> = transfer.heredocs.iter().map(heredoc_word).collect();
        words.extend(transfer.sources.iter().cloned());
        words.push(transfer.dest.clone());
        self.text(&words.join(" "));
        &transfer.heredocs
    }

    fn run_flags(&mut self, run: &Run) {
        for mount in &run.mounts {
            self.flag("mount", &csv_record(mount.fields()));
        }
        self.optional(
            "network",
            run.network.map(|network| match network {
                Network::Default => "default",
                Network::None => "none",
                Network::Host => "host",
            }),
        );
        self.optional(
            "security",
            run.security.map(|security| match security {
                Security::Sandbox => "sandbox",
                Security::Insecure => "insecure",
            }),
        );
        for device in &run.devices {
            self.flag("device", &device_record(device));
        }
    }

    fn arg(&mut self, arg: &Arg) {
        let words: Vec<String> = arg
            .args
            .iter()
            .map(|arg| match &arg.default {
                Some(default) => format!("{}={default}", arg.name),
                None => arg.name.clone(),
            })
            .collect();
        self.text(&words.join(" "));
    }

    fn pairs(&mut self, pairs: &Pairs) {
        let delimiter = if pairs.legacy { ' ' } else { '=' };
        let words: Vec<String> =
            pairs.pairs.iter().map(|(key, value)| format!("{key}{delimiter}{value}")).collect();
        self.text(&words.join(" "));
    }

    fn healthcheck(&mut self, check: &Healthcheck) {
        let check = match check {
            Healthcheck::None => return self.text("NONE"),
            Healthcheck::Check(check) => check,
        };
        for (name, duration) in [
            ("interval", check.interval),
            ("timeout", check.timeout),
            ("start-period", check.start_period),
            ("start-interval", check.start_interval),
        ] {
            let value = duration.map(|duration| format!("{}ns", duration.as_nanos()));
            self.optional(name, value.as_deref());
        }
        let retries = check.retries.map(|retries| retries.to_string());
        self.optional("retries", retries.as_deref());
        self.out.push_str(" CMD");
        match &check.command {
            CommandLine::Shell(text) => {
                self.out.push(' ');
                self.out.push_str(text);
            }
            CommandLine::Exec(words) => self.json(words),
        }
    }
}

/// A flag's value such that quotes match for whoever looks at the line: a here-document is looked
/// for in the whole of it.
fn quote_flag(value: &str, escape: char) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=,./:@+%".contains(c);
    if value.chars().all(is_plain) {
        return value.to_owned();
    }
    let mut out = String::from('\'');
    for c in value.chars() {
        match c {
            '\'' => out.push_str("'\"'\"'"),
            _ if c == escape => out.extend([c, c]),
            _ => out.push(c),
        }
    }
    out.push('\'');
    out
}

fn json_string(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            _ if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}

/// `[fd]<<[-]name`, quoted if its body is not expanded.
fn heredoc_word(heredoc: &Heredoc) -> String {
    let mut out = String::new();
    if heredoc.fd > 0 {
        let _ = write!(out, "{}", heredoc.fd);
    }
    out.push_str(if heredoc.chomp { "<<-" } else { "<<" });
    if !heredoc.expand {
        out.push_str("''");
    }
    for c in heredoc.name.chars() {
        if !(c.is_ascii_alphanumeric() || c == '_' || c == '.') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn csv_record(fields: &[String]) -> String {
    let field = |field: &String| {
        if fields.len() == 1 && field.is_empty() || field.contains(['"', ',']) {
            format!("\"{}\"", field.replace('"', "\"\""))
        } else {
            field.clone()
        }
    };
    fields.iter().map(field).collect::<Vec<_>>().join(",")
}

fn device_record(device: &Device) -> String {
    let mut fields = Vec::new();
    if !device.name.is_empty() {
        fields.push(format!("name={}", device.name));
    }
    if device.required || fields.is_empty() {
        fields.push(format!("required={}", device.required));
    }
    csv_record(&fields)
}
