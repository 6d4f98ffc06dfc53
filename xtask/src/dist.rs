//! The static programs: glibc linked in, so that they run in an empty root.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::shell::{self, cargo, tool};

/// The programs that are built, by package.
const PROGRAMS: &[(&str, &str)] = &[("kaniko-executor", "executor"), ("kaniko-warmer", "warmer")];

/// Flags that replace whatever a person has in a configuration of their own.
///
/// `getrandom` would look its system call up by `dlsym`, which a static program lacks, and then
/// need `/dev/urandom`, which an empty root lacks.
const FLAGS: &[&str] =
    &["-C", "target-feature=+crt-static", "--cfg", "getrandom_backend=\"linux_getrandom\""];

/// Builds both programs and gives the directory they are in.
pub(crate) fn run(root: &Path) -> Result<PathBuf> {
    let triple = host_triple(root)?;
    // With static linking, build scripts and macros need a target of their own: hence --target.
    let mut build = cargo(root).args(["build", "--locked", "--release", "--target", &triple]);
    for (package, _) in PROGRAMS {
        build = build.args(["-p", package]);
    }
    build.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}")).run()?;
    let target = shell::target(root);
    let dist = target.join("dist");
    shell::make_directory(&dist)?;
    for (_, program) in PROGRAMS {
        let built = target.join(&triple).join("release").join(program);
        check_static(&built)?;
        let installed = dist.join(program);
        install(&built, &installed)?;
        let size = std::fs::metadata(&installed)?.len();
        println!("dist: {} is static, {:.1} MB", installed.display(), size as f64 / 1e6);
    }
    Ok(dist)
}

/// Copies beside the old file and renames, since the old one may be running.
fn install(from: &Path, to: &Path) -> Result<()> {
    let fresh = to.with_extension("new");
    std::fs::copy(from, &fresh).with_context(|| format!("cannot copy {}", from.display()))?;
    std::fs::rename(&fresh, to).with_context(|| format!("cannot replace {}", to.display()))
}

fn host_triple(root: &Path) -> Result<String> {
    let text = tool(root, "rustc").arg("-vV").read()?;
    let triple = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(triple.context("rustc does not say what it builds for")?.to_owned())
}

/// Reads the ELF header: a static program names no interpreter and needs no library.
#[allow(clippy::disallowed_methods, reason = "a file below target/")]
fn check_static(program: &Path) -> Result<()> {
    let bytes = std::fs::read(program).with_context(|| format!("no {}", program.display()))?;
    if elf_program_types(&bytes).context("not a 64-bit ELF file")?.contains(&PT_INTERP) {
        bail!("{} is not static: it names an interpreter", program.display());
    }
    Ok(())
}

const PT_INTERP: u32 = 3;

fn elf_program_types(bytes: &[u8]) -> Option<Vec<u32>> {
    let u16_at = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let u32_at = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let u64_at = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    if bytes.get(..5)? != b"\x7fELF\x02" {
        return None;
    }
    let (start, size, count) = (u64_at(32)?, u16_at(54)?, u16_at(56)?);
    let start = usize::try_from(start).ok()?;
    (0..usize::from(count)).map(|index| u32_at(start + index * usize::from(size))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_this_machine_names_its_interpreter() {
        // The test program itself is linked in the ordinary way.
        let own = std::env::current_exe().expect("because /proc is there");
        let error = check_static(&own).expect_err("because it is dynamic");
        assert!(error.to_string().contains("names an interpreter"), "{error}");
        assert_eq!(elf_program_types(b"\x7fELF\x01"), None);
        assert_eq!(elf_program_types(b""), None);
    }
}
