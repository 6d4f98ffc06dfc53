//! Follows a step: passes its output on, obeys a stop, and does not return before all is over.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::Signal;
use sys::StopHandle;
use sys::child::{Child, Report};

use super::orphans;
use crate::{Error, Exit, Result, Stream, host};

/// A line longer than this is passed on in pieces, so that memory does not grow with it.
const LONGEST_PIECE: usize = 64 * 1024;

/// As much as a pipe holds.
const READ_AT_ONCE: usize = 64 * 1024;

/// How often a supervisor that its step may have stopped is told to go on.
const RESUME_EVERY: Duration = Duration::from_millis(500);

/// How long to wait between two rounds of killing.
const SWEEP_EVERY: Duration = Duration::from_millis(5);

/// How long output may still come after the last process is gone.
const DRAIN_FOR: Duration = Duration::from_secs(2);

/// How the step is ended.
pub(super) struct Rules {
    /// The kernel ends all with the supervisor.
    pub(super) own_pids: bool,
    /// The time between asking and killing.
    pub(super) grace: Duration,
    /// The time before it is asked to end.
    pub(super) timeout: Option<Duration>,
}

/// What became of the program.
pub(super) enum News {
    Ended(Exit),
    /// It was ended because of the stop handle.
    Stopped,
    /// The supervisor was killed.
    Abandoned,
    /// It never ran.
    Failed(Report),
}

/// Follows the step to its end.
pub(super) fn follow(
    child: Child,
    [stdout, stderr]: [OwnedFd; 2],
    rules: Rules,
    output: &mut dyn FnMut(Stream, &[u8]),
    stop: &StopHandle,
) -> Result<News> {
    let streams =
        [Some(Lines::new(stdout, Stream::Stdout)), Some(Lines::new(stderr, Stream::Stderr))];
    let watch = Watch {
        child,
        // A time that is too far away to be told is never reached.
        due_at: rules.timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
        overdue: false,
        rules,
        streams,
        last: None,
        supervised: true,
        kill_at: None,
        sweeping: false,
        stopped: false,
        give_up_at: None,
    };
    watch.follow(output, stop)
}

struct Watch {
    child: Child,
    rules: Rules,
    streams: [Option<Lines>; 2],
    /// The first report; the end of a program follows a failure to execute it.
    last: Option<Report>,
    /// The supervisor lives.
    supervised: bool,
    /// When the program has to be done.
    due_at: Option<Instant>,
    /// It was not.
    overdue: bool,
    kill_at: Option<Instant>,
    sweeping: bool,
    stopped: bool,
    give_up_at: Option<Instant>,
}

#[derive(Clone, Copy)]
enum Source {
    Output(usize),
    Reports,
    Stop,
}

impl Watch {
    fn follow(mut self, output: &mut dyn FnMut(Stream, &[u8]), stop: &StopHandle) -> Result<News> {
        while self.supervised || self.streams.iter().any(Option::is_some) {
            for source in self.wait(stop)? {
                match source {
                    Source::Output(index) => self.read(index, output)?,
                    Source::Reports => self.hear()?,
                    Source::Stop => {
                        self.stopped = true;
                        self.ask_to_end();
                    }
                }
            }
            self.keep_going()?;
            if self.give_up_at.is_some_and(|time| time <= Instant::now()) {
                // Somebody outside the step holds the pipe; it has nothing to say here.
                self.streams = [None, None];
            }
        }
        let clean = self.child.wait().map_err(host::system("wait for the supervisor"))?;
        if !self.rules.own_pids && clean.exit_status().is_none() {
            while orphans::kill_strays()? > 0 {
                // A shorter pause than asked for only means one more look.
                let _ = rustix::thread::nanosleep(&timespec(SWEEP_EVERY));
            }
        }
        Ok(match self.last {
            Some(
                report @ (Report::Failed(..) | Report::NotStarted(_) | Report::NotExecuted(_)),
            ) => News::Failed(report),
            Some(_) | None if self.stopped => News::Stopped,
            Some(_) | None if self.overdue => {
                News::Ended(Exit::TimedOut(self.rules.timeout.unwrap_or_default()))
            }
            Some(Report::Exited(code)) => News::Ended(Exit::Code(code)),
            Some(Report::Killed(signal)) => News::Ended(Exit::Signal(signal)),
            None => News::Abandoned,
        })
    }

    /// Waits until something is to be done, and tells what can be read.
    fn wait(&self, stop: &StopHandle) -> Result<Vec<Source>> {
        let mut sources = Vec::new();
        let mut entries = Vec::new();
        for (index, lines) in self.streams.iter().enumerate() {
            if let Some(lines) = lines {
                sources.push(Source::Output(index));
                entries.push(PollFd::new(&lines.from, PollFlags::IN));
            }
        }
        if self.supervised {
            sources.push(Source::Reports);
            entries.push(PollFd::from_borrowed_fd(self.child.reports(), PollFlags::IN));
            if !self.stopped {
                sources.push(Source::Stop);
                entries.push(PollFd::from_borrowed_fd(stop.as_fd(), PollFlags::IN));
            }
        }
        let limit = self.limit().map(timespec);
        match rustix::event::poll(&mut entries, limit.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Vec::new()),
            Err(errno) => return Err(host::system("wait for the command")(errno)),
        }
        let ready = sources.into_iter().zip(&entries);
        let ready = ready.filter(|(_, entry)| !entry.revents().is_empty());
        Ok(ready.map(|(source, _)| source).collect())
    }

    fn limit(&self) -> Option<Duration> {
        let until = |time: Instant| time.saturating_duration_since(Instant::now());
        let regular = match (self.supervised, self.rules.own_pids, self.sweeping) {
            (true, false, true) => Some(SWEEP_EVERY),
            (true, false, false) => Some(RESUME_EVERY),
            (false, ..) | (true, true, _) => None,
        };
        let times = [self.due_at, self.kill_at, self.give_up_at].into_iter().flatten().map(until);
        times.chain(regular).min()
    }

    fn read(&mut self, index: usize, output: &mut dyn FnMut(Stream, &[u8])) -> Result<()> {
        if let Some(lines) = &mut self.streams[index]
            && !lines.read(output)?
        {
            self.streams[index] = None;
        }
        Ok(())
    }

    fn hear(&mut self) -> Result<()> {
        match self.child.next_report().map_err(host::system("read a report"))? {
            Some(report) => {
                self.last = self.last.or(Some(report));
                self.due_at = None;
                // Without a pid namespace, what the program left behind is ended from here.
                self.sweeping = true;
            }
            None => {
                self.supervised = false;
                self.due_at = None;
                self.kill_at = None;
                self.give_up_at = Some(Instant::now() + DRAIN_FOR);
            }
        }
        Ok(())
    }

    fn ask_to_end(&mut self) {
        self.due_at = None;
        self.kill_at = Some(Instant::now() + self.rules.grace);
        // A supervisor that is gone is noticed by the end of its reports.
        let _ = self.child.signal(Signal::TERM);
    }

    /// What is due: killing after the grace, ending what is left, waking a stopped supervisor.
    fn keep_going(&mut self) -> Result<()> {
        if !self.supervised {
            return Ok(());
        }
        if self.due_at.is_some_and(|time| time <= Instant::now()) {
            self.overdue = true;
            self.ask_to_end();
        }
        if self.kill_at.is_some_and(|time| time <= Instant::now()) {
            self.kill_at = None;
            self.sweeping = true;
            if self.rules.own_pids {
                self.child.kill().map_err(host::system("kill the supervisor"))?;
            }
        }
        if !self.rules.own_pids {
            self.child.resume().map_err(host::system("resume the supervisor"))?;
            if self.sweeping {
                orphans::kill_below(self.child.pid())?;
            }
        }
        Ok(())
    }
}

fn timespec(duration: Duration) -> Timespec {
    // Only a duration of more than 2^63 seconds does not fit.
    Timespec::try_from(duration).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
}

/// One stream of a program, cut at the ends of lines.
struct Lines {
    from: std::fs::File,
    stream: Stream,
    /// What was read, and was not passed on yet.
    held: Vec<u8>,
}

impl Lines {
    fn new(from: OwnedFd, stream: Stream) -> Self {
        Self { from: from.into(), stream, held: Vec::new() }
    }

    /// Reads what is there and passes the whole lines among it on, all at once; false at the end.
    fn read(&mut self, output: &mut dyn FnMut(Stream, &[u8])) -> Result<bool> {
        let start = self.held.len();
        self.held.resize(start + READ_AT_ONCE, 0);
        let read = self.from.read(&mut self.held[start..]);
        self.held.truncate(start + read.as_ref().map_or(0, |count| *count));
        match read {
            Ok(0) => {
                if !self.held.is_empty() {
                    output(self.stream, &self.held);
                }
                return Ok(false);
            }
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(true),
            Err(error) => {
                let source = Errno::from_io_error(&error).unwrap_or(Errno::IO);
                return Err(Error::System { action: "read the output of the command", source });
            }
        }
        let lines_end = self.held[start..].iter().rposition(|byte| *byte == b'\n');
        let mut end = lines_end.map_or(0, |at| start + at + 1);
        if self.held.len() - end >= LONGEST_PIECE {
            end = self.held.len();
        }
        if end > 0 {
            output(self.stream, &self.held[..end]);
            self.held.drain(..end);
        }
        Ok(true)
    }
}
