//! What the new processes tell the builder: three numbers through a pipe.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

/// Which list an action belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The supervisor's.
    Surroundings,
    /// The program's own process.
    Preparation,
}

/// One piece of news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// The action with this index failed; nothing was run.
    Failed(Phase, usize, Errno),
    /// The processes could not be set up before any action.
    NotStarted(Errno),
    /// The program could not be executed.
    NotExecuted(Errno),
    /// The program ended by itself.
    Exited(i32),
    /// The program was ended by a signal.
    Killed(i32),
}

const LENGTH: usize = 12;

/// Small enough to be written in one piece, so that two writers do not mix. Allocates nothing.
pub(super) fn write(fd: BorrowedFd<'_>, report: Report) {
    let numbers = match report {
        Report::Failed(Phase::Surroundings, index, errno) => {
            [0, index as i32, errno.raw_os_error()]
        }
        Report::Failed(Phase::Preparation, index, errno) => [1, index as i32, errno.raw_os_error()],
        Report::NotStarted(errno) => [2, 0, errno.raw_os_error()],
        Report::NotExecuted(errno) => [3, 0, errno.raw_os_error()],
        Report::Exited(code) => [4, 0, code],
        Report::Killed(signal) => [5, 0, signal],
    };
    let mut bytes = [0; LENGTH];
    for (index, number) in numbers.iter().enumerate() {
        let [a, b, c, d] = number.to_ne_bytes();
        bytes[index * 4] = a;
        bytes[index * 4 + 1] = b;
        bytes[index * 4 + 2] = c;
        bytes[index * 4 + 3] = d;
    }
    // Nobody is left to be told of a failure: the builder is gone.
    let _ = rustix::io::write(fd, &bytes);
}

/// The next report, or `None` at the end.
pub(super) fn read(fd: BorrowedFd<'_>) -> Result<Option<Report>, Errno> {
    let mut bytes = [0; LENGTH];
    let mut filled = 0;
    while filled < LENGTH {
        match rustix::io::read(fd, &mut bytes[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(Errno::IO),
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    let number = |index: usize| {
        let at = index * 4;
        i32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    };
    let index = usize::try_from(number(1)).map_err(|_| Errno::IO)?;
    // Only what an error number can be may become one.
    let errno = || match number(2) {
        raw @ 1..4096 => Errno::from_raw_os_error(raw),
        _ => Errno::IO,
    };
    Ok(Some(match number(0) {
        0 => Report::Failed(Phase::Surroundings, index, errno()),
        1 => Report::Failed(Phase::Preparation, index, errno()),
        2 => Report::NotStarted(errno()),
        3 => Report::NotExecuted(errno()),
        4 => Report::Exited(number(2)),
        5 => Report::Killed(number(2)),
        _ => return Err(Errno::IO),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn reports_come_out_as_they_went_in() {
        let reports = [
            Report::Failed(Phase::Surroundings, 7, Errno::PERM),
            Report::Failed(Phase::Preparation, 0, Errno::INVAL),
            Report::NotStarted(Errno::NOMEM),
            Report::NotExecuted(Errno::NOENT),
            Report::Exited(255),
            Report::Killed(9),
        ];
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe can be had");
        for report in reports {
            write(writer.as_fd(), report);
        }
        drop(writer);
        for report in reports {
            assert_eq!(read(reader.as_fd()), Ok(Some(report)));
        }
        assert_eq!(read(reader.as_fd()), Ok(None));
    }
}
