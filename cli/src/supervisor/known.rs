//! The supervisor's cache: the environments of threads that call again and again.
//!
//! The environment is the one that a program was *executed* with ([`Caller::named`]), so it stays the same until the
//! thread executes another program. Reading it takes three system calls, a fifth of the total cost of a socket. A cached
//! value counts only with a proof, in each call, that the thread has executed nothing since; and the kernel has no number
//! for that. There are two proofs:
//!
//! - A thread that is not the first one of its process never executes anything: execve(2) ends all threads but its
//!   caller, which gets the first one's TID (de_thread, fs/exec.c). So only the thread has to be the same. This is proved
//!   by the inode of /proc/TID and the time of its creation ([`Identity`]), which are read with the owner. The kernel may
//!   create the inode anew, but never gives it to another thread (pid_revalidate, fs/proc/base.c).
//! - A first thread runs the same program as long as the 16 random bytes are the same that execve(2) puts into its memory
//!   (AT_RANDOM, getauxval(3)): one process_vm_readv(2). It reads the memory that the thread has now, whatever else
//!   shares it by vfork(2), or had it before. An open /proc/TID/environ would prove nothing: it lasts as long as the
//!   memory, which a child of vfork(2) keeps.
//!
//! In order: the first call of a thread is only recorded, so that a thread that creates one socket pays nothing. At the
//! second call everything is read; if the thread still waits then ([`sys::is_waiting`]), all of it belongs to this thread
//! and to one program. Later calls use the proof.
//!
//! These are not cached, but read each time:
//!
//! - An environment that is invalid, or that its program has overwritten.
//! - That of a first thread whose 16 bytes are all equal: its program has overwritten them, as Go's does (1.22).
//! - That of a first thread of another user than ours, who could make us wait in process_vm_readv(2) for a page, as long
//!   as he likes (userfaultfd(2), FUSE); a process of our own user could as well kill us. And that of a thread that we
//!   may not trace (PTRACE_MODE_ATTACH_REALCREDS in ptrace(2): without CAP_SYS_PTRACE, for instance, if Yama's
//!   ptrace_scope is 1).
//! - Everything, if we have inherited a seccomp filter, which might kill us for the system calls that only the cache
//!   needs.
//!
//! The cache has a fixed number of slots, and a new thread replaces another one.

use super::caller::{Caller, Identity, Named, Owner};
use crate::auxv;
use crate::sys;
use nix::errno::Errno;

const PLACES: usize = 64;

pub(super) struct Known {
    is_allowed: bool,
    places: [Option<Place>; PLACES],
}

/// What is cached for a thread.
#[derive(Clone, Copy)]
struct Place {
    thread: Identity,
    fact: Fact,
}

/// The environment: [`Caller::named`].
type Said = (Named, bool);

#[derive(Clone, Copy)]
enum Fact {
    /// It has asked once.
    New,
    /// It is not the first thread, and never executes anything.
    Forever(Said),
    /// Valid as long as its memory has these bytes.
    While(Random, Said),
    /// There is no proof.
    None,
}

impl Known {
    pub(super) fn new(is_allowed: bool) -> Self {
        Self {
            is_allowed,
            places: [None; PLACES],
        }
    }

    /// [`Caller::named`]. `is_waiting` returns whether the caller still waits in its call.
    pub(super) fn named(
        &mut self,
        caller: &Caller,
        thread: Identity,
        owner: Owner,
        is_waiting: impl Fn() -> bool,
    ) -> Result<Said, Errno> {
        let place = match self.places.get_mut(caller.thread as usize % PLACES) {
            Some(place) if self.is_allowed => place,
            _ => return caller.named(),
        };
        let fact = match place {
            Some(place) if place.thread == thread => &mut place.fact,
            _ => {
                let fact = Fact::New;
                *place = Some(Place { thread, fact });
                return caller.named();
            }
        };
        match *fact {
            Fact::None => return caller.named(),
            Fact::Forever(named) => return Ok(named),
            Fact::While(random, named) if random.is_in(caller) => return Ok(named),
            Fact::While(..) | Fact::New => {}
        }
        let is_first = sys::is_first_thread(caller.thread);
        let random = (is_first && owner.user == caller.reader.user)
            .then(|| Random::of(caller))
            .flatten();
        let named = caller.named()?;
        *fact = match (random, named.0) {
            (_, Named::Invalid | Named::Unknown) => Fact::None,
            _ if !is_waiting() => Fact::None,
            _ if !is_first => Fact::Forever(named),
            (Some(random), _) => Fact::While(random, named),
            (None, _) => Fact::None,
        };
        Ok(named)
    }
}

/// The random bytes of a program, and where they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Random {
    address: usize,
    bytes: [u8; 16],
}

impl Random {
    fn of(caller: &Caller) -> Option<Self> {
        let address = auxv::value(&caller.read("auxv").ok()?, libc::AT_RANDOM)?;
        let address = usize::try_from(address).ok()?;
        let bytes = sys::memory_of(caller.thread, address)?;
        is_random(&bytes).then_some(Self { address, bytes })
    }

    fn is_in(self, caller: &Caller) -> bool {
        sys::memory_of(caller.thread, self.address) == Some(self.bytes)
    }
}

fn is_random(bytes: &[u8; 16]) -> bool {
    let [first, rest @ ..] = bytes;
    rest.iter().any(|byte| byte != first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rules::request::Vrf;
    use std::fs::File;
    use std::os::fd::AsFd;

    #[test]
    fn knows_a_program_by_its_random_bytes() {
        let proc = File::open("/proc").unwrap();
        let myself = Caller {
            proc: proc.as_fd(),
            thread: std::process::id(),
            reader: Owner::ours(),
        };
        let random = Random::of(&myself).unwrap();
        assert!(random.is_in(&myself));
        let bytes = random.bytes.map(|byte| !byte);
        assert!(!Random { bytes, ..random }.is_in(&myself));

        let (owner, thread) = myself.owner().unwrap();
        let invented = (Named::Vrf(Vrf::of(b"invented").unwrap()), true);
        let read = myself.named().unwrap();
        let named = |known: &mut Known, fact| {
            known.places[myself.thread as usize % PLACES] = Some(Place { thread, fact });
            known.named(&myself, thread, owner, || true).unwrap()
        };
        let mut known = Known::new(true);
        assert_eq!(named(&mut known, Fact::While(random, invented)), invented);
        for wrong in [
            Random { bytes, ..random },
            Random {
                address: 8,
                ..random
            },
        ] {
            assert_eq!(named(&mut known, Fact::While(wrong, invented)), read);
            assert_eq!(named(&mut known, Fact::New), read);
        }
        let mut known = Known::new(false);
        assert_eq!(named(&mut known, Fact::While(random, invented)), read);
    }

    #[test]
    fn bytes_that_a_program_has_written_prove_nothing() {
        assert!(!is_random(&[0; 16]));
        assert!(!is_random(&[0xaa; 16]));
        assert!(is_random(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]));
    }
}
