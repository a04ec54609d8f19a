//! Looks at other processes from child processes, and goes on without those that do not answer.
//!
//! A query about a process can block for ever if the process serves what the kernel waits for: memory behind
//! userfaultfd(2), a file system in a user namespace (FUSE), a socket that it keeps locked while the kernel copies from
//! such memory (getsockname(2) takes that lock). SIGKILL does not end some of these waits, and a thread in one keeps its
//! whole process from ending. So a thread of this process would not do:
//!
//! 1. A child, the reader, gets a PID over a socket, looks, and sends its findings as JSON. Everything that may block is
//!    done there. It has none of our descriptors: a pipe that we write to ends when we do.
//! 2. When it takes long, another reader is started for the next PID, while the first may still answer. With n readers
//!    that have not answered, the next PID gets its turn after an n-th of [`PATIENCE`], so that many hostile processes
//!    take seconds, and then one [`LIMIT`] together.
//! 3. A reader that has waited for LIMIT is abandoned: killed, and not waited for. init reaps it when its wait has ended.
//!
//! Only the time counts for which a reader is seen waiting, checked every [`TICK`], and not its delay: on a busy machine
//! an honest answer may take long, also when all of us were stopped for a while. The work that a process can cause is
//! bounded by the number of bytes that are read.

use crate::failure::{Failure, refuse};
use crate::sys;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process;
use std::time::{Duration, Instant};

/// How long a reader may wait in total for the answer about one process. An honest process takes a millisecond.
pub const LIMIT: Duration = Duration::from_secs(20);

const TICK: Duration = Duration::from_millis(250);

/// How long the next process waits for the one before it.
const PATIENCE: Duration = Duration::from_millis(100);

/// The most readers at a time; a reader has some 400 KiB of its own.
const READERS: usize = 500;

/// Calls `look` in a reader with each PID, and returns what it returns, in the order of the PIDs. None: no answer.
///
/// State that `look` keeps between calls stays in its reader.
pub fn look_at_each<T>(
    pids: &[u32],
    mut look: impl FnMut(u32) -> T,
) -> Result<Vec<Option<T>>, Failure>
where
    T: Serialize + DeserializeOwned,
{
    let mut answers: Vec<Option<T>> = pids.iter().map(|_| None).collect();
    let mut next = pids.iter().copied().enumerate().peekable();
    let (mut idle, mut busy) = (Vec::new(), Vec::<Busy>::new());
    let mut most = READERS;
    let mut ticked = Instant::now();
    loop {
        if let Some(&(index, pid)) = next.peek()
            && busy.len() < most
            && until_next(&busy).is_zero()
        {
            match idle.pop().map_or_else(|| Reader::start(&mut look), Ok) {
                Ok(reader) => {
                    busy.push(reader.ask(index, pid));
                    next.next();
                }
                Err(errno) if busy.is_empty() => {
                    return Err(refuse(format!("start a process: {}", errno.desc())));
                }
                // No more readers are allowed.
                Err(_) => most = busy.len(),
            }
        }
        if busy.is_empty() {
            break;
        }
        let mut wait = TICK;
        if next.peek().is_some() && busy.len() < most {
            wait = wait.min(until_next(&busy));
        }
        let has_answer = wait_for(&busy, wait)?;
        for at in (0..busy.len()).rev().filter(|&at| has_answer[at]) {
            match busy[at].receive() {
                Ok(false) => {}
                Ok(true) => {
                    let (reader, index, answer) = busy.remove(at).done();
                    answers[index] = serde_json::from_slice(&answer).ok();
                    idle.push(reader);
                }
                // It has ended, for example for lack of memory.
                Err(_) => busy.remove(at).reader.end(WaitPidFlag::empty()),
            }
        }
        if ticked.elapsed() >= TICK {
            ticked = Instant::now();
            for at in (0..busy.len()).rev() {
                if busy[at].tick() >= LIMIT {
                    busy.remove(at).reader.end(WaitPidFlag::WNOHANG);
                }
            }
        }
    }
    for reader in idle {
        reader.end(WaitPidFlag::empty());
    }
    Ok(answers)
}

/// How long until the next PID has its turn, whether the ones before have answered or not.
fn until_next(busy: &[Busy]) -> Duration {
    busy.last().map_or(Duration::ZERO, |newest| {
        (PATIENCE / busy.len() as u32).saturating_sub(newest.since.elapsed())
    })
}

/// Which of them have sent something, after waiting this long at most.
fn wait_for(busy: &[Busy], wait: Duration) -> Result<Vec<bool>, Failure> {
    let mut polled: Vec<_> = busy
        .iter()
        .map(|busy| PollFd::new(busy.reader.channel.as_fd(), PollFlags::POLLIN))
        .collect();
    // Rounded up, so that the last millisecond is not spent polling.
    let wait = PollTimeout::try_from(wait + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
    match poll(&mut polled, wait) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(refuse(format!("poll: {}", errno.desc()))),
    }
    Ok(polled.iter().map(|one| one.any() == Some(true)).collect())
}

/// A child that looks at processes.
struct Reader {
    process: Pid,
    channel: UnixStream,
}

/// A reader that has got a PID, and has not answered yet.
struct Busy {
    reader: Reader,
    /// The index of the PID.
    index: usize,
    since: Instant,
    /// How long it was seen waiting.
    waited: Duration,
    /// The received part of the answer: its length, and the answer itself.
    received: Vec<u8>,
}

type Length = [u8; size_of::<u64>()];

impl Reader {
    #[allow(unsafe_code)]
    fn start<T: Serialize>(look: &mut impl FnMut(u32) -> T) -> Result<Self, Errno> {
        let pair = UnixStream::pair();
        let (channel, theirs) =
            pair.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or_default()))?;
        // SAFETY: this process has one thread; those of `netns` end before it goes on.
        match unsafe { sys::fork() }? {
            Some(process) => Ok(Self { process, channel }),
            None => {
                drop(channel);
                // It fails when the parent has ended, or when there is no memory for the answer.
                let _ = serve(theirs.into(), look);
                process::exit(0)
            }
        }
    }

    fn ask(self, index: usize, pid: u32) -> Busy {
        // If the reader has ended, the answer is an end of file.
        let _ = send(
            self.channel.as_raw_fd(),
            &pid.to_ne_bytes(),
            MsgFlags::MSG_NOSIGNAL,
        );
        Busy {
            reader: self,
            index,
            since: Instant::now(),
            waited: Duration::ZERO,
            received: Vec::new(),
        }
    }

    fn end(self, wait: WaitPidFlag) {
        let _ = kill(self.process, Signal::SIGKILL);
        let _ = waitpid(self.process, Some(wait));
    }
}

impl Busy {
    /// Receives the available part of the answer. True: the answer is complete.
    fn receive(&mut self) -> io::Result<bool> {
        let mut bytes = [0; 1 << 16];
        let count = self.reader.channel.read(&mut bytes)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.received
            .extend_from_slice(bytes.get(..count).unwrap_or_default());
        let Some((length, answer)) = self.received.split_first_chunk() else {
            return Ok(false);
        };
        Ok(answer.len() as u64 >= u64::from_ne_bytes(*length))
    }

    /// Counts a tick, unless the reader works or would if it had a processor ("R", proc_pid_stat(5)).
    fn tick(&mut self) -> Duration {
        let stat = fs::read(format!("/proc/{}/stat", self.reader.process)).unwrap_or_default();
        // The name is in parentheses, and may be anything.
        let name_end = stat.iter().rposition(|byte| *byte == b')');
        let state = name_end.and_then(|end| stat.get(end + 2));
        if state != Some(&b'R') {
            self.waited += TICK;
        }
        self.waited
    }

    fn done(mut self) -> (Reader, usize, Vec<u8>) {
        let answer = self.received.split_off(size_of::<Length>());
        (self.reader, self.index, answer)
    }
}

/// The reader: until the other end is closed.
#[allow(unsafe_code)]
fn serve<T: Serialize>(channel: OwnedFd, look: &mut impl FnMut(u32) -> T) -> io::Result<()> {
    set_pdeathsig(Signal::SIGKILL)?;
    // Replaces all three, so that no other file ever gets their numbers: what is written there is not an answer.
    for standard in 0..=2 {
        // SAFETY: standard descriptors have no owner.
        unsafe { sys::occupy(&channel, standard) }?;
    }
    // Before Linux 5.9 there is no close_range(2), and the rest stays open.
    // SAFETY: `look` opens what it needs, and this process never returns to what has opened more.
    let _ = unsafe { sys::close_all_but([&channel], 3) };
    let mut channel = UnixStream::from(channel);
    let mut pid = [0; 4];
    loop {
        channel.read_exact(&mut pid)?;
        let answer = serde_json::to_vec(&look(u32::from_ne_bytes(pid)))?;
        let length: Length = (answer.len() as u64).to_ne_bytes();
        channel.write_all(&length)?;
        channel.write_all(&answer)?;
    }
}
