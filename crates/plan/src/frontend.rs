//! Which frontends a file may name with `# syntax=`.
//!
//! A frontend is a program in an image that would read the file instead of us. The official ones
//! read the language that this crate plans; any other means something we cannot know.

use dockerfile::{Dockerfile, Span};
use oci::Reference;

use crate::PlanOptions;
use crate::error::{Error, ErrorKind};

const COVERED: &str = "docker/dockerfile and docker/dockerfile-upstream up to version 1";

/// Refuses a text that is written for a frontend we do not stand in for. It need not be a
/// Dockerfile: the name may stand in any comment at the top, or in JSON.
///
/// # Errors
/// The frontend is not one of those that are covered.
pub fn check_frontend(text: &[u8], options: &PlanOptions) -> Result<(), Error> {
    let named = dockerfile::detect_syntax(text);
    check_named(named.as_ref().map(|syntax| (syntax.image.as_str(), syntax.line)), options)
}

/// Refuses a file that is written for a frontend we do not stand in for.
pub(crate) fn check(file: &Dockerfile, options: &PlanOptions) -> Result<(), Error> {
    let directive = file.directives.iter().find(|directive| directive.name == "syntax");
    let named = directive.map(|directive| (directive.value.as_str(), directive.line));
    check_named(named, options)
}

fn check_named(named: Option<(&str, u32)>, options: &PlanOptions) -> Result<(), Error> {
    let (command_line, origin, line) = match (options.build_arg("BUILDKIT_SYNTAX"), named) {
        (Some(command_line), _) => (command_line, "BUILDKIT_SYNTAX", None),
        (None, Some((command_line, line))) => (command_line, "# syntax", Some(line)),
        (None, None) => return Ok(()),
    };
    // What follows the image are arguments for it.
    let frontend = command_line.split_whitespace().next().unwrap_or("");
    if is_covered(frontend) {
        return Ok(());
    }
    let kind = ErrorKind::Frontend { frontend: frontend.to_owned(), origin, covered: COVERED };
    Err(match line {
        Some(line) => Error::new(kind, Span::of_lines(line, line, 1)),
        None => Error::nowhere(kind),
    })
}

fn is_covered(frontend: &str) -> bool {
    let Ok(reference) = Reference::parse(frontend) else { return false };
    let official =
        matches!(reference.repository(), "docker/dockerfile" | "docker/dockerfile-upstream");
    let docker = Reference::parse("docker/dockerfile")
        .is_ok_and(|ours| ours.registry() == reference.registry());
    // A tag that begins with a number is a version; the others (`latest`, `labs`) move along.
    let version: String =
        reference.tag().unwrap_or("").chars().take_while(char::is_ascii_digit).collect();
    official && docker && matches!(version.as_str(), "" | "0" | "1")
}

#[cfg(test)]
mod tests {
    use super::is_covered;

    #[test]
    fn official_frontends_are_covered() {
        for (frontend, expected) in [
            ("docker/dockerfile", true),
            ("docker/dockerfile:1", true),
            ("docker/dockerfile:1.7-labs", true),
            ("docker/dockerfile:labs", true),
            ("docker.io/docker/dockerfile:1.4.3", true),
            ("docker/dockerfile-upstream:master", true),
            (
                "docker/dockerfile:1@sha256:\
                 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                true,
            ),
            ("docker/dockerfile:2", false),
            ("docker/dockerfile:10", false),
            ("docker/buildkit:1", false),
            ("ghcr.io/docker/dockerfile:1", false),
            ("tonistiigi/dockerfile", false),
            ("docker/dockerfile:1 --x=y", false),
            ("", false),
        ] {
            assert_eq!(is_covered(frontend), expected, "{frontend}");
        }
    }
}
