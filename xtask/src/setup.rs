//! Makes the machine fit for the other commands: one table of Debian packages, installed through
//! apt-get, and `/dev/null` for everybody.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Result, bail};

use crate::shell::{find_program, is_root, tool};

/// The program that is looked for, the package that has it, and who needs it.
const TOOLS: &[(&str, &str, &str)] = &[
    ("cc", "gcc", "the C parts of dependencies, and the linker"),
    ("docker-registry", "docker-registry", "a registry on loopback"),
    ("skopeo", "skopeo", "an independent reader of registries"),
    ("umoci", "umoci", "an independent reader of layers"),
    ("buildah", "buildah", "the builder we compare with"),
    ("runc", "runc", "ordinary pods"),
    ("newuidmap", "uidmap", "user namespaces of an ordinary user"),
    ("mmdebstrap", "mmdebstrap", "a real Debian base image"),
    ("busybox", "busybox-static", "a small base image"),
    ("git", "git", "sources that are repositories"),
    ("python3", "python3", "an independent reader of layers"),
    ("bzip2", "bzip2", "archives that ADD unpacks"),
    ("xz", "xz-utils", "archives that ADD unpacks"),
    ("zstd", "zstd", "archives that ADD unpacks"),
    ("pigz", "pigz", "the compressor that the benches compare with"),
    ("mkfs.ext4", "e2fsprogs", "a file system whose clock ticks slowly"),
    ("setcap", "libcap2-bin", "files with capabilities"),
];

/// Files without a program of their own.
const FILES: &[(&str, &str, &str)] = &[
    ("/usr/include/stdio.h", "libc6-dev", "the C parts of dependencies, and static linking"),
    ("/etc/ssl/certs/ca-certificates.crt", "ca-certificates", "the certificates of the image"),
];

/// A package that is not there.
pub(crate) struct Missing {
    pub(crate) package: &'static str,
    pub(crate) purpose: &'static str,
}

/// What is not installed.
pub(crate) fn missing() -> Vec<Missing> {
    let programs = TOOLS.iter().filter(|(program, ..)| find_program(program).is_none());
    let files = FILES.iter().filter(|(file, ..)| !Path::new(file).exists());
    programs.chain(files).map(|(_, package, purpose)| Missing { package, purpose }).collect()
}

/// Ordinary users, apt-get's own among them, write to `/dev/null`. It takes no more than an archive
/// unpacked over a machine's `/`, or a `cp -p` onto it, to forbid them that.
fn open_null() -> Result<()> {
    let null = "/dev/null";
    let mode = fs::metadata(null)?.permissions().mode() & 0o7777;
    if mode == 0o666 {
        return Ok(());
    }
    if !is_root() {
        bail!("{null} has the mode {mode:04o}; a person may run: chmod 666 {null}");
    }
    println!("setup: {null} had the mode {mode:04o}, which is 0666 now");
    Ok(fs::set_permissions(null, Permissions::from_mode(0o666))?)
}

/// Whether packages can be installed here.
pub(crate) fn can_install() -> bool {
    is_root() && find_program("apt-get").is_some()
}

/// Installs what is missing, and says what.
pub(crate) fn run() -> Result<()> {
    open_null()?;
    let missing = missing();
    if missing.is_empty() {
        println!("setup: everything is installed");
        return Ok(());
    }
    for one in &missing {
        println!("setup: {} is missing ({})", one.package, one.purpose);
    }
    let packages: Vec<&str> = missing.iter().map(|one| one.package).collect();
    if !can_install() {
        bail!("needs root and apt-get; a person may run: apt-get install {}", packages.join(" "));
    }
    println!("setup: apt-get install {}", packages.join(" "));
    let apt = || {
        tool(Path::new("/"), "apt-get")
            .args(["-qq", "-o", "Dpkg::Use-Pty=0", "-o", "Acquire::Retries=3"])
            .env("DEBIAN_FRONTEND", "noninteractive")
    };
    apt().arg("update").run()?;
    // Services of these packages are not wanted: the tests start their own, on loopback.
    let install = apt().args(["install", "--yes", "--no-install-recommends"]).args(&packages);
    install.env("RUNLEVEL", "1").read()?;
    let still: Vec<&str> = self::missing().iter().map(|one| one.package).collect();
    if !still.is_empty() {
        bail!("still missing after the installation: {}", still.join(" "));
    }
    Ok(())
}
