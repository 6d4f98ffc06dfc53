//! The command of an invocation as the kernel takes it.

use sys::child::Program;

use super::c_string;
use crate::{Error, Invocation, Result};

/// What Docker sets where an image sets nothing.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where to look for the program, its arguments, and its environment with the variables of its
/// devices.
pub(super) fn build(invocation: &Invocation, devices: &[(String, String)]) -> Result<Program> {
    let name = invocation.argv.first().filter(|name| !name.is_empty());
    let name = name.ok_or(Error::Malformed { what: "command", value: String::new() })?;
    let argv = invocation.argv.iter();
    let argv = argv.map(|word| c_string("argument", word.as_bytes()));
    let replaced = |key: &str| devices.iter().any(|(name, _)| name == key);
    let own = invocation.env.iter().filter(|(key, _)| !replaced(key));
    let env = own.chain(devices).map(|(key, value)| {
        if key.is_empty() {
            return Err(Error::Malformed { what: "variable name", value: key.clone() });
        }
        c_string("variable", format!("{key}={value}").as_bytes())
    });
    let paths = candidates(name, &invocation.env).into_iter();
    Ok(Program {
        paths: paths.map(|path| c_string("command", path.as_bytes())).collect::<Result<_>>()?,
        argv: argv.collect::<Result<_>>()?,
        env: env.collect::<Result<_>>()?,
    })
}

/// The paths that a name may stand for, as `execvp` tries them, in the step's own `PATH`.
fn candidates(name: &str, env: &[(String, String)]) -> Vec<String> {
    if name.contains('/') {
        return vec![name.to_owned()];
    }
    let path = env.iter().find(|(key, _)| key == "PATH");
    let path = path.map_or(DEFAULT_PATH, |(_, value)| value);
    let join = |dir: &str| match dir {
        "" => name.to_owned(),
        dir => format!("{}/{name}", dir.trim_end_matches('/')),
    };
    path.split(':').map(join).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, path: Option<&str>, expected: &[&str]) {
        let env: Vec<_> =
            path.map(|path| ("PATH".to_owned(), path.to_owned())).into_iter().collect();
        assert_eq!(candidates(name, &env), expected);
    }

    #[test]
    fn names_are_searched_in_the_path_of_the_step() {
        check("/bin/sh", Some("/usr/bin"), &["/bin/sh"]);
        check("./x", Some("/usr/bin"), &["./x"]);
        check("sh", Some("/usr/bin:/bin/"), &["/usr/bin/sh", "/bin/sh"]);
        check("sh", Some(":/"), &["sh", "/sh"]);
        assert_eq!(candidates("sh", &[]).last().map(String::as_str), Some("/bin/sh"));
    }
}
