//! Whether programs of another processor can be run here: the kernel's `binfmt_misc` hands them to
//! an emulator, if one is registered.
//!
//! Where the registrations can be read they decide. In most pods they cannot, though they hold
//! there too; then a program of a few bytes is run, which does nothing but end with a status that
//! nobody else gives. *Does not* register anything.

use std::ffi::{CString, OsStr};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rootfs::{RootDir, RootPath};
use rustix::io::Errno;
use rustix::thread::UnshareFlags;
use sys::child::{Program, Report, Spec};

use crate::{Error, Isolation, Result, host, step};

/// Where the kernel shows what is registered.
const REGISTRATIONS: &str = "/proc/sys/fs/binfmt_misc";

/// The status of the program that is tried.
const STATUS: i32 = 42;

impl Isolation {
    /// Who runs the programs of a processor (in Go's spelling) that is not this machine's, for
    /// people to read.
    ///
    /// # Errors
    /// [`Error::NoEmulator`] says what is missing.
    pub fn emulator(&self, architecture: &str) -> Result<String> {
        let missing = |reason| Error::NoEmulator { architecture: architecture.to_owned(), reason };
        let Some(machine) = machine(architecture) else {
            return Err(missing("how its programs look is not known".to_owned()));
        };
        let found = match registered(&machine, Path::new(REGISTRATIONS)) {
            Some(found) => found,
            None => tried(&machine, self.state_dir()),
        };
        found.map_err(missing)
    }
}

/// What tells the programs of a processor from others, and one of them.
struct Machine {
    /// 64-bit addresses.
    wide: bool,
    big_endian: bool,
    number: u16,
    flags: u32,
    /// `exit(42)`
    code: &'static [u8],
}

fn machine(architecture: &str) -> Option<Machine> {
    let little =
        |wide, number, flags, code| Machine { wide, big_endian: false, number, flags, code };
    Some(match architecture {
        // mov eax, 60; mov edi, 42; syscall
        "amd64" => little(true, 62, 0, b"\xb8\x3c\0\0\0\xbf\x2a\0\0\0\x0f\x05"),
        // mov eax, 1; mov ebx, 42; int 0x80
        "386" => little(false, 3, 0, b"\xb8\x01\0\0\0\xbb\x2a\0\0\0\xcd\x80"),
        // mov x0, 42; mov x8, 93; svc 0
        "arm64" => little(true, 183, 0, b"\x40\x05\x80\xd2\xa8\x0b\x80\xd2\x01\0\0\xd4"),
        // mov r0, 42; mov r7, 1; svc 0
        "arm" => little(false, 40, 0x0500_0000, b"\x2a\0\xa0\xe3\x01\x70\xa0\xe3\0\0\0\xef"),
        // li a0, 42; li a7, 93; ecall
        "riscv64" => little(true, 243, 0, b"\x13\x05\xa0\x02\x93\x08\xd0\x05\x73\0\0\0"),
        // li r0, 1; li r3, 42; sc
        "ppc64le" => little(true, 21, 2, b"\x01\0\0\x38\x2a\0\x60\x38\x02\0\0\x44"),
        // ori a0, zero, 42; ori a7, zero, 93; syscall 0
        "loong64" => little(true, 258, 0x43, b"\x04\xa8\x80\x03\x0b\x74\x81\x03\0\0\x2b\0"),
        // lghi r2, 42; svc 1
        "s390x" => {
            let code = b"\xa7\x29\0\x2a\x0a\x01";
            Machine { wide: true, big_endian: true, number: 22, flags: 0, code }
        }
        _ => return None,
    })
}

impl Machine {
    /// A whole program: both headers, and the code right behind them.
    fn program(&self) -> Vec<u8> {
        const BASE: u64 = 0x1_0000;
        let (header, segment) = if self.wide { (64u16, 56u16) } else { (52, 32) };
        let start = u64::from(header + segment);
        let size = start + self.code.len() as u64;
        let class = if self.wide { 2 } else { 1 };
        let order = if self.big_endian { 2 } else { 1 };
        let mut elf = Elf { bytes: b"\x7fELF".to_vec(), machine: self };
        elf.bytes.extend([class, order, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        elf.half(2).half(self.number).word(1);
        elf.address(BASE + start).address(u64::from(header)).address(0).word(self.flags);
        elf.half(header).half(segment).half(1).half(0).half(0).half(0);
        // One segment, read and executed; where its flags stand depends on the width.
        elf.word(1);
        if self.wide {
            elf.word(5);
        }
        elf.address(0).address(BASE).address(BASE).address(size).address(size);
        if !self.wide {
            elf.word(5);
        }
        elf.address(0x1_0000);
        elf.bytes.extend(self.code);
        elf.bytes
    }
}

/// Numbers in the byte order of a machine.
struct Elf<'a> {
    bytes: Vec<u8>,
    machine: &'a Machine,
}

impl Elf<'_> {
    fn half(&mut self, value: u16) -> &mut Self {
        match self.machine.big_endian {
            true => self.bytes.extend(value.to_be_bytes()),
            false => self.bytes.extend(value.to_le_bytes()),
        }
        self
    }

    fn word(&mut self, value: u32) -> &mut Self {
        match self.machine.big_endian {
            true => self.bytes.extend(value.to_be_bytes()),
            false => self.bytes.extend(value.to_le_bytes()),
        }
        self
    }

    fn address(&mut self, value: u64) -> &mut Self {
        match (self.machine.wide, self.machine.big_endian) {
            (true, true) => self.bytes.extend(value.to_be_bytes()),
            (true, false) => self.bytes.extend(value.to_le_bytes()),
            // Everything lies in the first 128 KiB.
            (false, _) => return self.word(value as u32),
        }
        self
    }
}

/// What the registrations say about programs of a machine; `None` where they cannot be read.
fn registered(machine: &Machine, directory: &Path) -> Option<Result<String, String>> {
    let text = |name: &Path| {
        let bytes = host::read_file(directory.join(name).to_str()?)?;
        String::from_utf8(bytes).ok()
    };
    if text(Path::new("status"))?.trim() != "enabled" {
        return Some(Err("binfmt_misc is switched off".to_owned()));
    }
    let program = machine.program();
    let mut reason = "binfmt_misc has no handler for its programs".to_owned();
    let entries =
        RootDir::open(directory).and_then(|root| root.read_dir(&RootPath::root())).ok()?;
    for entry in entries {
        let name = OsStr::from_bytes(&entry.name);
        let Some(handler) = text(Path::new(name)) else { continue };
        match Handler::parse(&handler) {
            Some(handler) if handler.takes(&program) => {
                let name = name.to_string_lossy();
                if handler.fixed {
                    return Some(Ok(format!("binfmt_misc handler `{name}`")));
                }
                reason = format!(
                    "the binfmt_misc handler `{name}` is registered without the flag F, so that \
                     its interpreter `{}` would be looked for in the image",
                    handler.interpreter
                );
            }
            Some(_) | None => {}
        }
    }
    Some(Err(reason))
}

/// A registration that is switched on.
struct Handler {
    interpreter: String,
    /// The interpreter was opened when it was registered (flag F).
    fixed: bool,
    offset: usize,
    magic: Vec<u8>,
    mask: Vec<u8>,
}

impl Handler {
    fn parse(text: &str) -> Option<Handler> {
        let mut lines = text.lines();
        if lines.next()? != "enabled" {
            return None;
        }
        let mut handler = Handler {
            interpreter: String::new(),
            fixed: false,
            offset: 0,
            magic: Vec::new(),
            mask: Vec::new(),
        };
        for line in lines {
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            match key {
                "interpreter" => handler.interpreter = value.to_owned(),
                "flags:" => handler.fixed = value.contains('F'),
                "offset" => handler.offset = value.parse().ok()?,
                "magic" => handler.magic = bytes(value)?,
                "mask" => handler.mask = bytes(value)?,
                _ => {}
            }
        }
        (!handler.magic.is_empty()).then_some(handler)
    }

    fn takes(&self, program: &[u8]) -> bool {
        let Some(found) = program.get(self.offset..self.offset.saturating_add(self.magic.len()))
        else {
            return false;
        };
        let mask = self.mask.iter().copied().chain(std::iter::repeat(0xFF));
        found
            .iter()
            .zip(&self.magic)
            .zip(mask)
            .all(|((byte, magic), mask)| (byte ^ magic) & mask == 0)
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let pair = |at: usize| u8::from_str_radix(hex.get(at..at.checked_add(2)?)?, 16).ok();
    (0..hex.len()).step_by(2).map(pair).collect()
}

/// Runs the smallest program of a machine.
fn tried(machine: &Machine, directory: &Path) -> Result<String, String> {
    let name = format!(".foreign-{}-{}", machine.number, std::process::id());
    let path = directory.join(&name);
    let run = || -> Result<Option<Report>> {
        host::write_file(&path, &machine.program(), 0o700)?;
        let file = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| Error::Malformed { what: "path", value: path.display().to_string() })?;
        let program = Program { paths: vec![file.clone()], argv: vec![file], env: Vec::new() };
        let spec = Spec {
            namespaces: UnshareFlags::empty(),
            surroundings: Vec::new(),
            preparation: Vec::new(),
            program: Some(program),
        };
        let null = step::null_device()?;
        let stdio = [null.as_fd(), null.as_fd(), null.as_fd()];
        let mut child = sys::child::spawn(&spec, stdio).map_err(host::system("start a process"))?;
        // What was not executed ends as well, so it is the first report that tells.
        let mut first = None;
        while let Some(report) = child.next_report().map_err(host::system("read a report"))? {
            first.get_or_insert(report);
        }
        Ok(first)
    };
    let outcome = run();
    let removed = RootDir::open(directory).and_then(|root| root.remove(&RootPath::new(&name)?));
    if let Err(error) = removed {
        return Err(crate::error::chain(&error));
    }
    match outcome {
        Ok(Some(Report::Exited(STATUS))) => Ok("an emulator of the machine".to_owned()),
        Ok(Some(Report::NotExecuted(Errno::NOEXEC))) => {
            Err("the kernel does not know its programs, and binfmt_misc has no handler for them"
                .to_owned())
        }
        Ok(Some(Report::NotExecuted(Errno::NOENT))) => {
            Err("the interpreter that binfmt_misc names is not here (registered without the flag \
                 F?)"
            .to_owned())
        }
        Ok(Some(Report::NotExecuted(errno))) => {
            Err(format!("one of its programs was tried: {errno}"))
        }
        Ok(Some(Report::Exited(code))) => Err(format!(
            "one of its programs was tried and ended with status {code} instead of {STATUS}"
        )),
        Ok(other) => {
            Err(format!("one of its programs was tried and did not end by itself: {other:?}"))
        }
        Err(error) => Err(crate::error::chain(&error)),
    }
}

#[cfg(test)]
mod tests {
    use testkit::ScratchRoot;

    use super::{machine, registered, tried};

    const ARM64: &str = "interpreter /usr/bin/qemu-aarch64-static\nflags: FLAGS\noffset 0\n\
        magic 7f454c460201010000000000000000000200b700\n\
        mask ffffffffffffff00fffffffffffffffffeffffff\n";

    /// `files` are registrations; the answer for arm64.
    fn check(status: Option<&str>, files: &[(&str, String)], expected: Option<Result<&str, &str>>) {
        let scratch = ScratchRoot::new();
        let write = |name: &str, text: &str| {
            testkit::tree::make(scratch.path(), &format!("f 0644 /{name} {text:?}"));
        };
        if let Some(status) = status {
            write("status", &format!("{status}\n"));
            write("register", "");
        }
        for (name, text) in files {
            write(name, text);
        }
        let arm64 = machine("arm64").expect("because it is known");
        let found = registered(&arm64, scratch.path());
        let expected = expected.map(|found| found.map(str::to_owned).map_err(str::to_owned));
        assert_eq!(found, expected, "{files:?}");
    }

    fn with_flags(flags: &str) -> String {
        format!("enabled\n{}", ARM64.replace("FLAGS", flags))
    }

    #[test]
    fn registrations_decide_where_they_can_be_read() {
        let none = Some(Err("binfmt_misc has no handler for its programs"));
        check(None, &[], None);
        check(
            Some("disabled"),
            &[("qemu", with_flags("F"))],
            Some(Err("binfmt_misc is switched off")),
        );
        check(Some("enabled"), &[], none);
        check(
            Some("enabled"),
            &[("qemu-aarch64", with_flags("OCF"))],
            Some(Ok("binfmt_misc handler `qemu-aarch64`")),
        );
        let disabled = with_flags("F").replace("enabled", "disabled");
        check(Some("enabled"), &[("qemu-aarch64", disabled)], none);
        let riscv = with_flags("F").replace("0200b700", "0200f300");
        check(Some("enabled"), &[("qemu-riscv64", riscv)], none);
        let by_name = "enabled\ninterpreter /usr/bin/x\nflags: F\nextension .x\n".to_owned();
        check(Some("enabled"), &[("by-name", by_name)], none);
        check(
            Some("enabled"),
            &[("qemu-aarch64", with_flags("OC"))],
            Some(Err(
                "the binfmt_misc handler `qemu-aarch64` is registered without the flag F, so that \
                 its interpreter `/usr/bin/qemu-aarch64-static` would be looked for in the image",
            )),
        );
    }

    #[test]
    fn a_program_of_this_machine_can_be_tried() {
        let scratch = ScratchRoot::new();
        let own = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let Some(own) = machine(own) else { return };
        assert_eq!(tried(&own, scratch.path()), Ok("an emulator of the machine".to_owned()));
        assert_eq!(testkit::tree::print(scratch.path()), "");
    }

    #[test]
    fn a_program_nobody_knows_is_told() {
        let scratch = ScratchRoot::new();
        let nobody =
            super::Machine { number: 0xFFF0, ..machine("arm64").expect("because it is known") };
        let expected =
            "the kernel does not know its programs, and binfmt_misc has no handler for them";
        assert_eq!(tried(&nobody, scratch.path()), Err(expected.to_owned()));
        assert_eq!(testkit::tree::print(scratch.path()), "");
    }
}
