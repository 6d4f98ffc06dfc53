//! From a node to a typed instruction, with BuildKit's checks in BuildKit's order.
//!
//! The order matters: of two errors in one line users see the one that BuildKit reports.

use std::mem::take;
use std::time::Duration;

use crate::error::{ParseErrorKind as Kind, suggest_in_case};
use crate::flags::{
    ADD_FLAGS, COPY_FLAGS, FROM_FLAGS, FlagTable, Flags, HEALTHCHECK_FLAGS, NO_FLAGS, RUN_FLAGS,
};
use crate::heredoc;
use crate::instruction::{
    Add, Arg, ArgDefinition, CommandLine, Copy, Device, From, Healthcheck, HealthcheckCommand,
    Heredoc, Instruction, Network, OnBuild, Pairs, Run, Security, Transfer,
};
use crate::mount::MountFlag;
use crate::syntax::{NAMES, Node};
use crate::text::is_space;
use crate::{device, duration};

/// An error and a suggestion.
pub(crate) type Failure = (Kind, Option<String>);

type Built<T> = Result<T, Failure>;

/// Builds the instruction of a node, whose arguments and here-documents move into it.
pub(crate) fn instruction(node: &mut Node) -> Built<Instruction> {
    Ok(match node.name().unwrap_or_default() {
        "add" => Instruction::Add(add(node)?),
        "arg" => Instruction::Arg(arg(node)?),
        "cmd" => Instruction::Cmd(plain_command(node)?),
        "copy" => Instruction::Copy(copy(node)?),
        "entrypoint" => Instruction::Entrypoint(plain_command(node)?),
        "env" => Instruction::Env(pairs(node, "ENV")?),
        "expose" => {
            at_least_one(node, "EXPOSE")?;
            flags(node, NO_FLAGS)?;
            Instruction::Expose(take(&mut node.args))
        }
        "from" => Instruction::From(from(node)?),
        "healthcheck" => Instruction::Healthcheck(healthcheck(node)?),
        "label" => Instruction::Label(pairs(node, "LABEL")?),
        "maintainer" => Instruction::Maintainer(one_argument(node, "MAINTAINER")?),
        "onbuild" => Instruction::OnBuild(on_build(node)?),
        "run" => Instruction::Run(run(node)?),
        "shell" => Instruction::Shell(shell(node)?),
        // Its flags are ignored, as are those of ARG and of HEALTHCHECK NONE.
        "stopsignal" => Instruction::StopSignal(exactly_one(node, "STOPSIGNAL")?),
        "user" => Instruction::User(one_argument(node, "USER")?),
        "volume" => Instruction::Volume(volume(node)?),
        "workdir" => Instruction::Workdir(one_argument(node, "WORKDIR")?),
        _ => {
            let suggestion = suggest_in_case(&node.command, NAMES);
            return Err((Kind::UnknownInstruction(node.command.clone()), suggestion));
        }
    })
}

fn fail<T>(kind: Kind) -> Built<T> {
    Err((kind, None))
}

fn flags(node: &Node, table: FlagTable) -> Built<Flags> {
    Flags::read(&node.flags, table)
}

fn at_least_one(node: &Node, name: &'static str) -> Built<()> {
    if node.args.is_empty() { fail(Kind::AtLeastOneArgument(name)) } else { Ok(()) }
}

fn exactly_one(node: &mut Node, name: &'static str) -> Built<String> {
    match node.args.as_mut_slice() {
        [argument] => Ok(take(argument)),
        _ => fail(Kind::ExactlyOneArgument(name)),
    }
}

/// The one argument of an instruction that knows no flags.
fn one_argument(node: &mut Node, name: &'static str) -> Built<String> {
    let argument = exactly_one(node, name)?;
    flags(node, NO_FLAGS)?;
    Ok(argument)
}

fn from(node: &mut Node) -> Built<From> {
    let (image, as_keyword, written_name) = match node.args.as_mut_slice() {
        [image] => (take(image), None, None),
        [image, keyword, name] if keyword.eq_ignore_ascii_case("as") => {
            (take(image), Some(take(keyword)), Some(take(name)))
        }
        _ => return fail(Kind::FromArguments),
    };
    let name = written_name.as_ref().map(|name| name.to_lowercase());
    if let (Some(name), Some(written)) = (&name, &written_name) {
        let is_valid = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-' | '_' | '.'));
        if !is_valid {
            return fail(Kind::InvalidStageName(written.clone()));
        }
    }
    let platform = flags(node, FROM_FLAGS)?.not_empty("platform");
    Ok(From { image, name, written_name, as_keyword, platform })
}

/// The arguments as a command; not in JSON they are one text.
fn command_line(node: &mut Node) -> CommandLine {
    let mut args = take(&mut node.args);
    if node.json {
        CommandLine::Exec(args)
    } else {
        CommandLine::Shell(args.pop().unwrap_or_default())
    }
}

fn plain_command(node: &mut Node) -> Built<CommandLine> {
    flags(node, NO_FLAGS)?;
    Ok(command_line(node))
}

fn run(node: &mut Node) -> Built<Run> {
    let flags = flags(node, RUN_FLAGS)?;
    let devices = flags.list("device").map(device::parse).collect::<Built<Vec<Device>>>()?;
    let mounts = flags
        .list("mount")
        .map(|text| MountFlag::parse(text).map_err(|error| (Kind::Mount(error), None)))
        .collect::<Built<Vec<MountFlag>>>()?;
    let network = match flags.text("network") {
        None => None,
        Some("default") => Some(Network::Default),
        Some("none") => Some(Network::None),
        Some("host") => Some(Network::Host),
        Some(other) => return fail(Kind::InvalidNetwork(other.to_owned())),
    };
    let security = match flags.text("security") {
        None => None,
        Some("sandbox") => Some(Security::Sandbox),
        Some("insecure") => Some(Security::Insecure),
        Some(other) => return fail(Kind::InvalidSecurity(other.to_owned())),
    };
    if node.json && node.args.is_empty() {
        // BuildKit accepts it and fails when it runs: `arguments are required`.
        return fail(Kind::AtLeastOneArgument("RUN"));
    }
    let command = command_line(node);
    if let CommandLine::Shell(text) = &command
        && (text.contains("<<") || !node.heredocs.is_empty())
        && !heredoc::find(text).is_ok_and(|found| same_names(&found, &node.heredocs))
    {
        return fail(Kind::SplitHeredoc("RUN"));
    }
    Ok(Run { command, heredocs: take(&mut node.heredocs), mounts, network, security, devices })
}

fn shell(node: &mut Node) -> Built<Vec<String>> {
    flags(node, NO_FLAGS)?;
    at_least_one(node, "SHELL")?;
    if !node.json {
        return fail(Kind::NotJson("SHELL"));
    }
    Ok(take(&mut node.args))
}

fn copy(node: &mut Node) -> Built<Copy> {
    if node.args.len() < 2 {
        return fail(Kind::NoDestination("COPY"));
    }
    let flags = flags(node, COPY_FLAGS)?;
    Ok(Copy {
        transfer: transfer(node, "COPY", &flags)?,
        from: flags.not_empty("from"),
        parents: flags.bool("parents") == Some(true),
    })
}

fn add(node: &mut Node) -> Built<Add> {
    if node.args.len() < 2 {
        return fail(Kind::NoDestination("ADD"));
    }
    let flags = flags(node, ADD_FLAGS)?;
    Ok(Add {
        transfer: transfer(node, "ADD", &flags)?,
        checksum: flags.not_empty("checksum"),
        keep_git_dir: flags.bool("keep-git-dir"),
        unpack: flags.bool("unpack"),
    })
}

fn transfer(node: &mut Node, name: &'static str, flags: &Flags) -> Built<Transfer> {
    let heredoc = |word: &str| heredoc::parse(word).ok().flatten();
    let mut words = take(&mut node.args);
    let Some(dest) = words.pop() else {
        return fail(Kind::NoDestination(name));
    };
    if heredoc(&dest).is_some() {
        return fail(Kind::HeredocDestination(name));
    }
    let mut sources = Vec::new();
    let mut begun: Vec<Heredoc> = Vec::new();
    for word in words {
        match heredoc(&word).filter(|_| !node.json) {
            Some(found) => begun.push(found),
            None => sources.push(word),
        }
    }
    // BuildKit finds bodies by name, so that of two of one name both get the second body. They
    // are written to the same file one after the other, and the second remains either way.
    if !same_names(&begun, &node.heredocs) {
        return fail(Kind::SplitHeredoc(name));
    }
    Ok(Transfer {
        sources,
        heredocs: take(&mut node.heredocs),
        dest,
        chown: flags.not_empty("chown"),
        chmod: flags.not_empty("chmod"),
        link: flags.bool("link") == Some(true),
        exclude: flags.list("exclude").map(str::to_owned).collect(),
    })
}

/// Whether the here-documents that the words of the arguments begin are those whose bodies were
/// read. They differ where quotes, escapes or blanks are read in two ways.
fn same_names(found: &[Heredoc], read: &[Heredoc]) -> bool {
    found.iter().map(|heredoc| &heredoc.name).eq(read.iter().map(|heredoc| &heredoc.name))
}

fn pairs(node: &mut Node, name: &'static str) -> Built<Pairs> {
    flags(node, NO_FLAGS)?;
    at_least_one(node, name)?;
    let legacy = node.args.get(2).is_some_and(String::is_empty);
    let mut pairs = Vec::new();
    // Key, value and what stands between them.
    let mut words = take(&mut node.args).into_iter();
    while let (Some(key), Some(value), Some(_)) = (words.next(), words.next(), words.next()) {
        if key.is_empty() {
            return fail(Kind::BlankName(name));
        }
        pairs.push((key, value));
    }
    Ok(Pairs { pairs, legacy })
}

fn arg(node: &Node) -> Built<Arg> {
    at_least_one(node, "ARG")?;
    let mut args = Vec::new();
    for word in &node.args {
        let (name, default) = match word.split_once('=') {
            Some(("", _)) => return fail(Kind::BlankName("ARG")),
            Some((name, default)) => (name, Some(default.to_owned())),
            None => (word.as_str(), None),
        };
        args.push(ArgDefinition { name: name.to_owned(), default });
    }
    Ok(Arg { args })
}

fn volume(node: &Node) -> Built<Vec<String>> {
    at_least_one(node, "VOLUME")?;
    flags(node, NO_FLAGS)?;
    let volumes: Vec<String> =
        node.args.iter().map(|word| word.trim_matches(is_space).to_owned()).collect();
    if volumes.iter().any(String::is_empty) { fail(Kind::EmptyVolume) } else { Ok(volumes) }
}

fn on_build(node: &Node) -> Built<OnBuild> {
    if node.child.is_none() {
        return fail(Kind::AtLeastOneArgument("ONBUILD"));
    }
    flags(node, NO_FLAGS)?;
    let child = node.child.as_ref().map_or("", |child| child.command.as_str());
    match child.to_uppercase().as_str() {
        "ONBUILD" => return fail(Kind::ChainedOnBuild),
        "MAINTAINER" => return fail(Kind::ForbiddenTrigger("MAINTAINER")),
        "FROM" => return fail(Kind::ForbiddenTrigger("FROM")),
        _ => {}
    }
    let text = node.line.text.trim_start_matches(is_space);
    let text = text.get(node.command.len()..).unwrap_or_default();
    let mut trigger = text.trim_start_matches(is_space).to_owned();
    for heredoc in &node.heredocs {
        trigger.push('\n');
        trigger.push_str(&heredoc.content);
        trigger.push_str(&heredoc.name);
    }
    Ok(OnBuild { trigger })
}

fn healthcheck(node: &mut Node) -> Built<Healthcheck> {
    at_least_one(node, "HEALTHCHECK")?;
    let kind = node.args.remove(0).to_uppercase();
    if kind == "NONE" {
        return match node.args.as_slice() {
            [] => Ok(Healthcheck::None),
            _ => fail(Kind::HealthcheckNoneArguments),
        };
    }
    let flags = flags(node, HEALTHCHECK_FLAGS)?;
    if kind != "CMD" {
        return fail(Kind::HealthcheckType(kind));
    }
    if node.args.is_empty() {
        return fail(Kind::HealthcheckNoCommand);
    }
    Ok(Healthcheck::Check(HealthcheckCommand {
        command: command_line(node),
        interval: interval(&flags, "interval")?,
        timeout: interval(&flags, "timeout")?,
        start_period: interval(&flags, "start-period")?,
        start_interval: interval(&flags, "start-interval")?,
        retries: retries(flags.text("retries"))?,
    }))
}

/// A duration flag; zero is as good as none.
fn interval(flags: &Flags, name: &'static str) -> Built<Option<Duration>> {
    let Some(text) = flags.text(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    match duration::parse(text).map_err(|error| (Kind::Duration(error), None))? {
        Some(Duration::ZERO) => Ok(None),
        Some(duration) if duration >= Duration::from_millis(1) => Ok(Some(duration)),
        _ => fail(Kind::IntervalTooShort(name)),
    }
}

/// `--retries`; zero is as good as none.
fn retries(text: Option<&str>) -> Built<Option<u32>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let broken = |why: &str| {
        fail(Kind::Number(format!("strconv.ParseInt: parsing {}: {why}", crate::text::quote(text))))
    };
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return broken("invalid syntax");
    }
    match text.parse::<i32>() {
        Err(_) => broken("value out of range"),
        Ok(0) => Ok(None),
        Ok(number) => match u32::try_from(number) {
            Ok(number) => Ok(Some(number)),
            Err(_) => fail(Kind::NegativeRetries(number.into())),
        },
    }
}
