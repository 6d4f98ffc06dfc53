//! Which frontends a file may name with `# syntax=`.
//!
//! A frontend is a program in an image that would read the file instead of us. The official ones
//! read the language that this crate plans; any other means something we cannot know.

use dockerfile::Dockerfile;
use oci::Reference;

use crate::PlanOptions;
use crate::error::{Error, ErrorKind};

const COVERED: &str = "docker/dockerfile and docker/dockerfile-upstream up to version 1";

/// Refuses a file that is written for a frontend we do not stand in for.
pub(crate) fn check(file: &Dockerfile, options: &PlanOptions) -> Result<(), Error> {
    let directive = file.directives.iter().find(|directive| directive.name == "syntax");
    let (frontend, origin) = match (options.build_arg("BUILDKIT_SYNTAX"), directive) {
        (Some(frontend), _) => (frontend, "BUILDKIT_SYNTAX"),
        (None, Some(directive)) => (directive.value.as_str(), "# syntax"),
        (None, None) => return Ok(()),
    };
    // What follows the image are arguments for it; the official ones take none.
    if is_covered(frontend.trim()) {
        return Ok(());
    }
    let kind = ErrorKind::Frontend { frontend: frontend.to_owned(), origin, covered: COVERED };
    let line = directive.filter(|_| origin == "# syntax").map(|directive| directive.line);
    Err(match line {
        Some(line) => Error::new(kind, dockerfile::Span::of_lines(line, line, 1)),
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
