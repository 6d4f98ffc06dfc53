//! The system call filter of a build step: Docker's default profile as a BPF program.
//!
//! A step that runs as root of the machine is held by fourteen capabilities and by this filter, as
//! a container of Docker is. The table is in `table.rs`; here it becomes instructions. Programs of
//! the 32-bit companion architecture (i386, arm) are filtered by their own numbers; the x32 variant
//! of x86_64 answers ENOSYS, as on kernels that do not have it.

mod network;
mod table;

use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::CapabilitySet;

use table::{ALWAYS, NONE, Syscall, WITH_CAPABILITY, special};

/// A filter, ready to be loaded between fork and exec.
#[derive(Clone)]
pub struct Filter {
    instructions: Vec<libc::sock_filter>,
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Filter({} instructions)", self.instructions.len())
    }
}

/// An architecture whose programs this kernel runs: how the kernel names it, and the column of its
/// numbers in the table.
struct Architecture {
    audit: u32,
    column: usize,
}

#[cfg(target_arch = "x86_64")]
const ARCHITECTURES: &[Architecture] = &[
    Architecture { audit: 0xC000_003E, column: 0 },
    Architecture { audit: 0x4000_0003, column: 1 },
];
#[cfg(target_arch = "aarch64")]
const ARCHITECTURES: &[Architecture] = &[
    Architecture { audit: 0xC000_00B7, column: 2 },
    Architecture { audit: 0x4000_0028, column: 3 },
];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the seccomp table has no column for this architecture");

/// From here on numbers are those of x32, on x86_64.
const X32_FROM: u32 = 0x4000_0000;

/// The namespace flags of `clone`, which a step without CAP_SYS_ADMIN may not set.
const CLONE_NAMESPACES: u32 = 0x7E02_0000;

/// The execution domains of `personality` that are allowed.
const PERSONALITIES: [u32; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xFFFF_FFFF];

/// AF_ALG (kernel crypto) and AF_VSOCK (the hypervisor) may not be opened.
const REFUSED_FAMILIES: [u32; 2] = [38, 40];

/// The pid -1: every process that may be signalled.
const EVERYTHING: u32 = u32::MAX;

// Offsets in `struct seccomp_data`; arguments are 64 bits wide, and both architectures keep the low
// half first.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENT_0_LOW: u32 = 16;

const ALLOW: u32 = 0x7FFF_0000;
const ERRNO: u32 = 0x0005_0000;
const REFUSE: u32 = ERRNO | libc::EPERM as u32;
const UNKNOWN: u32 = ERRNO | libc::ENOSYS as u32;

// Classes and modes of the instructions used.
const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const IF_ABOVE: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
const IF_NOT_BELOW: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

const fn plain(code: u16, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt: 0, jf: 0, k }
}

const fn branch(code: u16, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

impl Filter {
    /// Docker's default profile for a step that keeps these capabilities.
    #[must_use]
    pub fn docker_default(kept: CapabilitySet) -> Self {
        Self::build(kept, &[])
    }

    /// The same, but `kill` reaches neither this process nor everything at once. It guards against
    /// accidents: there are other ways to send a signal.
    #[must_use]
    pub fn docker_default_sparing(kept: CapabilitySet, pid: Pid) -> Self {
        Self::build(kept, &[EVERYTHING, pid.as_raw_nonzero().get().cast_unsigned()])
    }

    fn build(kept: CapabilitySet, spared: &[u32]) -> Self {
        let mut instructions = vec![plain(LOAD, ARCHITECTURE)];
        for architecture in ARCHITECTURES {
            let body = body(architecture.column, kept, spared);
            // A body is longer than a conditional jump reaches, so the condition skips a long jump.
            let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
            instructions.push(branch(IF_EQUAL, architecture.audit, 1, 0));
            instructions.push(plain(JUMP, length));
            instructions.extend(body);
        }
        instructions.push(plain(RETURN, REFUSE));
        Self { instructions }
    }

    /// Loads the filter into the calling thread and all it starts from now on.
    ///
    /// Allocates nothing. Needs CAP_SYS_ADMIN in the user namespace, or `no_new_privs`.
    pub(crate) fn load(&self) -> Result<(), Errno> {
        let program = libc::sock_fprog {
            len: u16::try_from(self.instructions.len()).map_err(|_| Errno::TOOBIG)?,
            filter: self.instructions.as_ptr().cast_mut(),
        };
        // SAFETY: `program` points to `len` instructions that live until the call returns; the
        // kernel copies and checks them.
        let outcome = unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program)
        };
        if outcome == 0 { Ok(()) } else { Err(crate::child::last_errno()) }
    }
}

/// What is decided for one architecture. Every path through it returns.
fn body(column: usize, kept: CapabilitySet, spared: &[u32]) -> Vec<libc::sock_filter> {
    let mut program = vec![plain(LOAD, NUMBER)];
    if cfg!(target_arch = "x86_64") && column == 0 {
        program.push(branch(IF_NOT_BELOW, X32_FROM, 0, 1));
        program.push(plain(RETURN, UNKNOWN));
    }
    let privileged = kept.contains(CapabilitySet::SYS_ADMIN);
    if !privileged {
        // clone3 passes its flags in memory, where a filter cannot look: libraries then use clone.
        rule(&mut program, &special::CLONE3, column, &[plain(RETURN, UNKNOWN)]);
        let flags = [
            plain(LOAD, ARGUMENT_0_LOW),
            plain(AND, CLONE_NAMESPACES),
            branch(IF_EQUAL, 0, 0, 1),
            plain(RETURN, ALLOW),
            plain(RETURN, REFUSE),
        ];
        rule(&mut program, &special::CLONE, column, &flags);
    }
    if !spared.is_empty() {
        rule(&mut program, &special::KILL, column, &one_of(spared, REFUSE, ALLOW));
    }
    rule(&mut program, &special::SOCKET, column, &one_of(&REFUSED_FAMILIES, REFUSE, ALLOW));
    rule(&mut program, &special::PERSONALITY, column, &one_of(&PERSONALITIES, ALLOW, REFUSE));
    for (first, last) in ranges(allowed(column, kept, privileged)) {
        program.push(branch(IF_NOT_BELOW, first, 0, 2));
        program.push(branch(IF_ABOVE, last, 1, 0));
        program.push(plain(RETURN, ALLOW));
    }
    program.push(plain(RETURN, REFUSE));
    program
}

/// Runs `then`, which returns on every path, for one system call.
fn rule(
    program: &mut Vec<libc::sock_filter>,
    syscall: &Syscall,
    column: usize,
    then: &[libc::sock_filter],
) {
    let number = syscall.numbers[column];
    if number == NONE {
        return;
    }
    let length = u8::try_from(then.len()).unwrap_or(u8::MAX);
    program.push(branch(IF_EQUAL, number, 0, length));
    program.extend_from_slice(then);
}

/// One answer when the first argument is one of the values, another when it is not.
fn one_of(values: &[u32], hit: u32, miss: u32) -> Vec<libc::sock_filter> {
    let mut program = vec![plain(LOAD, ARGUMENT_0_LOW)];
    for value in values {
        program.push(branch(IF_EQUAL, *value, 0, 1));
        program.push(plain(RETURN, hit));
    }
    program.push(plain(RETURN, miss));
    program
}

/// The numbers that are allowed whatever their arguments are.
fn allowed(column: usize, kept: CapabilitySet, privileged: bool) -> Vec<u32> {
    let conditional = WITH_CAPABILITY
        .iter()
        .filter(|(needed, _)| kept.contains(*needed))
        .flat_map(|(_, syscalls)| syscalls.iter());
    let free: &[Syscall] = if privileged { &[special::CLONE, special::CLONE3] } else { &[] };
    let mut numbers: Vec<u32> = ALWAYS
        .iter()
        .chain(conditional)
        .chain(free)
        .map(|syscall| syscall.numbers[column])
        .filter(|number| *number != NONE)
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// Sorted numbers as runs of neighbours, both ends included.
fn ranges(numbers: Vec<u32>) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if number == *last + 1 => *last = number,
            _ => runs.push((number, number)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capabilities::DOCKER_DEFAULT;

    /// Runs the program on one call as the kernel would.
    pub(super) fn decide(filter: &Filter, audit: u32, number: u32, argument: u32) -> u32 {
        let (mut at, mut value) = (0usize, 0u32);
        loop {
            let step = &filter.instructions[at];
            at += 1;
            match step.code {
                LOAD => {
                    value = match step.k {
                        NUMBER => number,
                        ARCHITECTURE => audit,
                        _ => argument,
                    };
                }
                AND => value &= step.k,
                JUMP => at += step.k as usize,
                RETURN => return step.k,
                code => {
                    let holds = match code {
                        IF_EQUAL => value == step.k,
                        IF_ABOVE => value > step.k,
                        _ => value >= step.k,
                    };
                    at += usize::from(if holds { step.jt } else { step.jf });
                }
            }
        }
    }

    fn number(name: &str, column: usize) -> u32 {
        let special = [special::CLONE, special::CLONE3, special::SOCKET, special::PERSONALITY];
        let conditional = WITH_CAPABILITY.iter().flat_map(|(_, syscalls)| syscalls.iter());
        let all = ALWAYS.iter().chain(conditional).chain(&special);
        let found = all.into_iter().find(|syscall| syscall.name == name);
        found.expect("the table has this name").numbers[column]
    }

    fn check(kept: CapabilitySet, name: &str, argument: u32, expected: u32) {
        let filter = Filter::docker_default(kept);
        for architecture in ARCHITECTURES {
            let number = number(name, architecture.column);
            if number != NONE {
                let answer = decide(&filter, architecture.audit, number, argument);
                assert_eq!(answer, expected, "{name}({argument:#x}) in {:#x}", architecture.audit);
            }
        }
    }

    #[test]
    fn a_step_may_do_what_a_container_may() {
        for name in ["read", "openat", "execve", "chroot", "setuid", "ptrace", "seccomp", "mmap"] {
            check(DOCKER_DEFAULT, name, 0, ALLOW);
        }
        for name in ["mount", "umount2", "unshare", "setns", "bpf", "reboot", "init_module"] {
            check(DOCKER_DEFAULT, name, 0, REFUSE);
        }
        check(DOCKER_DEFAULT, "clone", 17, ALLOW);
        check(DOCKER_DEFAULT, "clone", 0x1000_0011, REFUSE);
        check(DOCKER_DEFAULT, "clone3", 0, UNKNOWN);
        check(DOCKER_DEFAULT, "socket", 2, ALLOW);
        check(DOCKER_DEFAULT, "socket", 38, REFUSE);
        check(DOCKER_DEFAULT, "socket", 40, REFUSE);
        check(DOCKER_DEFAULT, "personality", 0xFFFF_FFFF, ALLOW);
        check(DOCKER_DEFAULT, "personality", 0x4_0000, REFUSE);
    }

    #[test]
    fn a_spared_process_is_not_killed_by_accident() {
        let pid = Pid::from_raw(77).expect("because it is positive");
        let filter = Filter::docker_default_sparing(DOCKER_DEFAULT, pid);
        for architecture in ARCHITECTURES {
            let kill = number("kill", architecture.column);
            let answer = |argument| decide(&filter, architecture.audit, kill, argument);
            assert_eq!([answer(EVERYTHING), answer(77)], [REFUSE, REFUSE]);
            assert_eq!([answer(78), answer(0)], [ALLOW, ALLOW]);
        }
        check(DOCKER_DEFAULT, "kill", EVERYTHING, ALLOW);
    }

    #[test]
    fn capabilities_open_their_calls() {
        check(DOCKER_DEFAULT.difference(CapabilitySet::SYS_CHROOT), "chroot", 0, REFUSE);
        let administrator = DOCKER_DEFAULT.union(CapabilitySet::SYS_ADMIN);
        for name in ["mount", "unshare", "clone3"] {
            check(administrator, name, 0, ALLOW);
        }
        check(administrator, "clone", 0x1000_0011, ALLOW);
    }

    #[test]
    fn unknown_calls_and_foreign_architectures_are_refused() {
        let filter = Filter::docker_default(DOCKER_DEFAULT);
        assert_eq!(decide(&filter, 0x1234_5678, 0, 0), REFUSE);
        for architecture in ARCHITECTURES {
            assert_eq!(decide(&filter, architecture.audit, 100_000, 0), REFUSE);
        }
        let native = ARCHITECTURES[0].audit;
        for unlisted in [libc::SYS_keyctl, libc::SYS_add_key, libc::SYS_kexec_load] {
            let number = u32::try_from(unlisted).expect("because numbers are small");
            assert_eq!(decide(&filter, native, number, 0), REFUSE);
        }
        if cfg!(target_arch = "x86_64") {
            assert_eq!(decide(&filter, ARCHITECTURES[0].audit, X32_FROM, 0), UNKNOWN);
        }
        assert!(filter.instructions.len() < 4096, "the kernel's limit");
    }

    #[test]
    fn the_table_has_the_numbers_of_the_compilers_headers() {
        let column = ARCHITECTURES[0].column;
        let cases = [
            ("read", libc::SYS_read),
            ("openat2", libc::SYS_openat2),
            ("mount", libc::SYS_mount),
            ("seccomp", libc::SYS_seccomp),
            ("clone3", libc::SYS_clone3),
            ("socket", libc::SYS_socket),
            ("personality", libc::SYS_personality),
            ("unshare", libc::SYS_unshare),
            ("close_range", libc::SYS_close_range),
        ];
        for (name, expected) in cases {
            assert_eq!(i64::from(number(name, column)), expected, "{name}");
        }
    }
}
