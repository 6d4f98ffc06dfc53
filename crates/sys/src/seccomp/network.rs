//! A filter that takes the network from a step where no network namespace can be had.
//!
//! It is loaded on top of whatever filter there is, so it allows all that it does not name. A
//! socket of any family but two cannot be made, neither by `socket` nor through an `io_uring`:
//!
//! - `AF_UNIX` stays, for programs that talk to each other. The abstract names of the pod's own
//!   network namespace stay in reach with it, which a namespace would hide.
//! - `AF_NETLINK` stays: it asks the kernel, and no byte of it leaves the machine. The list of
//!   network interfaces and the audit calls of `su` and `adduser` go through it.
//!
//! The answer to all others is EAFNOSUPPORT, which programs know from kernels without IPv6.

use super::table::special;
use super::{ALLOW, ARCHITECTURE, ARCHITECTURES, ERRNO, Filter, IF_EQUAL};
use super::{IF_NOT_BELOW, LOAD, NUMBER, REFUSE, RETURN, UNKNOWN, X32_FROM};
use super::{branch, one_of, plain, rule};

const NO_FAMILY: u32 = ERRNO | libc::EAFNOSUPPORT as u32;

const FAMILIES: [u32; 2] = [libc::AF_UNIX as u32, libc::AF_NETLINK as u32];

/// The two of the calls behind the 32-bit `socketcall` that make sockets. Their family lies in
/// memory, where a filter cannot look.
const MAKING: [u32; 2] = [1 /* SYS_SOCKET */, 8 /* SYS_SOCKETPAIR */];

impl Filter {
    /// No socket but those that stay on this machine.
    #[must_use]
    pub fn without_network() -> Self {
        let mut instructions = vec![plain(LOAD, ARCHITECTURE)];
        for architecture in ARCHITECTURES {
            let body = body(architecture.column);
            let length = u8::try_from(body.len()).unwrap_or(u8::MAX);
            instructions.push(branch(IF_EQUAL, architecture.audit, 0, length));
            instructions.extend(body);
        }
        instructions.push(plain(RETURN, REFUSE));
        Self { instructions }
    }
}

/// What is decided for one architecture. Every path through it returns.
fn body(column: usize) -> Vec<libc::sock_filter> {
    let mut program = vec![plain(LOAD, NUMBER)];
    if cfg!(target_arch = "x86_64") && column == 0 {
        program.push(branch(IF_NOT_BELOW, X32_FROM, 0, 1));
        program.push(plain(RETURN, UNKNOWN));
    }
    let local = one_of(&FAMILIES, ALLOW, NO_FAMILY);
    rule(&mut program, &special::SOCKET, column, &local);
    rule(&mut program, &special::SOCKETPAIR, column, &local);
    rule(&mut program, &special::SOCKETCALL, column, &one_of(&MAKING, NO_FAMILY, ALLOW));
    rule(&mut program, &special::IO_URING_SETUP, column, &[plain(RETURN, UNKNOWN)]);
    program.push(plain(RETURN, ALLOW));
    program
}

#[cfg(test)]
mod tests {
    use super::super::table::Syscall;
    use super::super::tests::decide;
    use super::*;

    fn check(call: &Syscall, argument: u32, expected: u32) {
        let filter = Filter::without_network();
        for architecture in ARCHITECTURES {
            let number = call.numbers[architecture.column];
            if number != super::super::NONE {
                let answer = decide(&filter, architecture.audit, number, argument);
                assert_eq!(answer, expected, "{} ({argument}) {:x}", call.name, architecture.audit);
            }
        }
    }

    #[test]
    fn only_local_sockets_are_made() {
        for call in [&special::SOCKET, &special::SOCKETPAIR] {
            check(call, libc::AF_UNIX as u32, ALLOW);
            check(call, libc::AF_NETLINK as u32, ALLOW);
            for family in [libc::AF_INET, libc::AF_INET6, libc::AF_PACKET, libc::AF_VSOCK, 0, 255] {
                check(call, family as u32, NO_FAMILY);
            }
        }
        check(&special::SOCKETCALL, 1, NO_FAMILY);
        check(&special::SOCKETCALL, 3, ALLOW);
        check(&special::IO_URING_SETUP, 8, UNKNOWN);
    }

    #[test]
    fn all_else_is_for_the_other_filters() {
        check(&special::CLONE, 0x1000_0011, ALLOW);
        let filter = Filter::without_network();
        assert_eq!(decide(&filter, ARCHITECTURES[0].audit, 999, 0), ALLOW);
        assert_eq!(decide(&filter, 0x1234_5678, 0, 0), REFUSE);
        if cfg!(target_arch = "x86_64") {
            assert_eq!(decide(&filter, ARCHITECTURES[0].audit, X32_FROM | 41, 2), UNKNOWN);
        }
        assert_eq!(
            i64::from(special::SOCKETPAIR.numbers[ARCHITECTURES[0].column]),
            libc::SYS_socketpair
        );
        assert_eq!(
            i64::from(special::IO_URING_SETUP.numbers[ARCHITECTURES[0].column]),
            libc::SYS_io_uring_setup
        );
    }
}
