//! A socket is moved to the device that a rule says, before bind(), connect() or listen().
//!
//! 1. The address is read, and the list asked for the first rule that matches ([`rules::list`]). It says a device; where no
//!    rule matches, it is the VRF's.
//! 2. The socket is asked for its device. As a rule it is the right one, and that was all.
//! 3. Otherwise it is asked what it is doing, and [`rules::moving`] says whether it may be moved.
//! 4. One setsockopt() moves it: from one device to the other, and never by way of none. Without CAP_NET_RAW another socket
//!    takes its place ([`replacing`]). If the call that follows fails, it is moved back likewise ([`Moved::undo`]).
//!
//! Which socket is ours to move, only its device tells: one that is on the VRF, on a device of the list, or on none. A program
//! can have put a socket on another device of its VRF; such a socket stays where it is.
//!
//! connect(AF_UNSPEC) takes the device from a datagram or raw socket, for a moment at least, and is not made. Where there is
//! no peer nothing is lost, so it succeeds; where there is one, it fails with EPERM.

use crate::sys::state::{self, Sockaddr};
use crate::{log, replacing, settings, sys};
use core::ffi::c_int;
use libc::{sockaddr, socklen_t};
use rules::DeviceName;
use rules::list::{Address, Call, List, Protocol, To};
use rules::moving::{HAS_ADDRESS, State, Verdict};
use syscalls::Errno;

/// Where a socket is, or belongs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Device(DeviceName),
    /// On the loopback device, where the list says `lo`.
    Lo,
    /// On no device.
    Nowhere,
    /// On a device that has been deleted.
    Gone,
}

/// What the loopback device is called, unless somebody has renamed it.
const LO: &[u8] = b"lo";

impl Place {
    fn device(self) -> Option<DeviceName> {
        match self {
            Self::Device(device) => Some(device),
            Self::Lo => DeviceName::new(LO).ok(),
            Self::Nowhere | Self::Gone => None,
        }
    }
}

/// What is to be done after a socket was prepared.
pub enum Prepared {
    /// The call.
    Call(Moved),
    /// Nothing more: it has succeeded.
    Done,
}

/// What was done to a socket: where it was.
pub struct Moved(Option<Place>);

impl Moved {
    /// Back to where it was, because the call has failed. If that cannot be, it stays where a rule says.
    pub fn undo(&self, fd: c_int) {
        if let Some(place) = self.0 {
            let _ = relocate(fd, Call::Connect, place, &mut "");
        }
    }
}

/// Before bind(2) and connect(2).
///
/// # Safety
/// As for these calls: no other thread unmaps the address meanwhile.
pub unsafe fn prepare(
    list: &List,
    call: Call,
    fd: c_int,
    address: *const sockaddr,
    length: socklen_t,
) -> Result<Prepared, Errno> {
    // SAFETY: as callers promise.
    let sockaddr = unsafe { Sockaddr::read(address, length) };
    let family = sockaddr.as_ref().and_then(Sockaddr::family);
    if call == Call::Connect && family == Some(libc::AF_UNSPEC) {
        return disconnect(fd);
    }
    let address = sockaddr.and_then(|sockaddr| Address::of(call, sockaddr.bytes()));
    let subject = Subject {
        list,
        call,
        name: call.name(),
        fd,
    };
    subject.settle(address).map(Prepared::Call)
}

/// Before listen(2). A socket that has a device and was bound is where its address belongs. One that was not bound will get
/// the wildcard.
pub fn prepare_listener(list: &List, fd: c_int) -> Result<Moved, Errno> {
    let subject = Subject {
        list,
        call: Call::Bind,
        name: "listen",
        fd,
    };
    let address = state::own_address(fd).ok();
    let is_bound = address.is_none_or(|address| address.port != 0);
    match subject.place() {
        Ok(Place::Device(_) | Place::Lo) if is_bound => Ok(Moved(None)),
        _ => subject.settle(address),
    }
}

/// Before connect(AF_UNSPEC). Streams keep their device.
fn disconnect(fd: c_int) -> Result<Prepared, Errno> {
    let call = Prepared::Call(Moved(None));
    if !is_ip(fd) {
        return Ok(call);
    }
    let facts = state::facts(fd)?;
    match (facts.protocol, facts.state) {
        (Some(Protocol::Tcp | Protocol::Sctp), _) => Ok(call),
        (_, State::Closed) => Ok(Prepared::Done),
        _ => {
            log::not_disconnected(fd, Errno::EPERM);
            Err(Errno::EPERM)
        }
    }
}

fn is_ip(fd: c_int) -> bool {
    matches!(sys::domain(fd), Ok(libc::AF_INET | libc::AF_INET6))
}

/// By which device the scope of the socket's address is judged: the rule's that it is on, else the VRF. None: by none.
pub fn judge_of_scope(list: &List, fd: c_int) -> Option<DeviceName> {
    let vrf = settings::vrf().device();
    match sys::bound_device(fd) {
        Ok(None) => None,
        Ok(Some(device)) if list.names(To::Device(device)) => Some(device),
        _ => vrf,
    }
}

/// Moves a socket, or replaces it. EPERM: neither can be, and `why` says what is in the way.
fn relocate(fd: c_int, call: Call, place: Place, why: &mut &'static str) -> Result<(), Errno> {
    let result = put(fd, place);
    if result != Err(Errno::EPERM) {
        return result;
    }
    replacing::replace(fd, call, |new| put(new, place)).map_err(|what| {
        *why = what;
        Errno::EPERM
    })
}

#[inline(never)]
fn put(fd: c_int, place: Place) -> Result<(), Errno> {
    match place {
        Place::Device(device) => sys::bind_or_is_bound(fd, &device),
        Place::Lo => state::put_on_index(fd, state::LO),
        Place::Nowhere => state::put_on_index(fd, 0),
        Place::Gone => Err(Errno::ENODEV),
    }
}

/// A socket, and the call that names an address of it.
struct Subject<'a> {
    list: &'a List,
    call: Call,
    /// The call's name.
    name: &'static str,
    fd: c_int,
}

impl Subject<'_> {
    /// Puts the socket where the address belongs.
    fn settle(&self, address: Option<Address>) -> Result<Moved, Errno> {
        let Some(vrf) = settings::vrf().device() else {
            return Ok(Moved(None));
        };
        let here = match self.place() {
            // What is no socket is for the kernel to refuse.
            Err(Errno::EBADF | Errno::ENOTSOCK) => return Ok(Moved(None)),
            here => here?,
        };
        let is_stray = here == Place::Nowhere && !self.list.names(To::Default);
        let Some(address) = address else {
            if is_stray && is_ip(self.fd) {
                self.move_to(Place::Device(vrf), None)?;
            }
            return Ok(Moved(None));
        };
        let protocol = || state::protocol(self.fd);
        let found = self.list.first(self.call, &address, protocol)?;
        let belongs = match found.map(|found| found.to) {
            None => Place::Device(vrf),
            Some(To::Device(device)) => Place::Device(device),
            Some(To::Default) => Place::Nowhere,
            // Where the VRF is the loopback device itself, as in tests.
            Some(_) if vrf.as_bytes() == LO => Place::Device(vrf),
            Some(To::LoUnlessInVrf) if state::has_address(&vrf, &address)? => Place::Device(vrf),
            Some(To::Lo | To::LoUnlessInVrf) => Place::Lo,
        };
        if here == belongs {
            return Ok(Moved(None));
        }
        if !self.is_ours(&vrf, here) || !is_ip(self.fd) {
            return Ok(Moved(None));
        }
        let rule = found.map(|found| found.number);
        // A socket that no rule has left without a device gets the VRF's, or its listener's, whatever it is doing.
        if !(is_stray && (belongs == Place::Device(vrf) || self.name != self.call.name())) {
            match self.judge() {
                Ok(Verdict::Move) => {}
                answer => {
                    if is_stray {
                        self.move_to(Place::Device(vrf), None)?;
                    }
                    return match answer? {
                        Verdict::Refuse(errno, why) => {
                            let errno = Errno::new(errno);
                            let device = belongs.device();
                            log::not_moved(self.name, self.fd, rule, device, errno, [why, ""]);
                            Err(errno)
                        }
                        _ => Ok(Moved(None)),
                    };
                }
            }
        }
        self.move_to(belongs, rule)?;
        let back = if is_stray { Place::Device(vrf) } else { here };
        Ok(Moved((back != belongs).then_some(back)))
    }

    /// Whether the socket may be moved. An error: the call fails with it.
    fn judge(&self) -> Result<Verdict, Errno> {
        match state::facts(self.fd)?.judge(self.call) {
            Verdict::MayForget => match state::forget_address(self.fd)? {
                Some(errno) => Err(errno),
                None => Ok(Verdict::Refuse(libc::EADDRNOTAVAIL, HAS_ADDRESS)),
            },
            verdict => Ok(verdict),
        }
    }

    fn move_to(&self, place: Place, rule: Option<usize>) -> Result<(), Errno> {
        let mut why = "";
        let result = relocate(self.fd, self.call, place, &mut why);
        if log::is_on() {
            let domain = sys::domain(self.fd).unwrap_or(0);
            let kind = (domain, sys::sock_type(self.fd).unwrap_or(0));
            let said = result.map(|()| self.fd);
            log::socket(self.name, "rule", kind, place.device(), said);
        }
        if let Err(errno) = result {
            let what = match errno {
                Errno::EPERM => "cannot be moved without CAP_NET_RAW, nor replaced: ",
                _ => "cannot be moved",
            };
            log::not_moved(self.name, self.fd, rule, place.device(), errno, [what, why]);
        }
        result
    }

    /// Whether a socket that is there can have been put there by us.
    fn is_ours(&self, vrf: &DeviceName, here: Place) -> bool {
        match here {
            Place::Nowhere | Place::Lo => true,
            Place::Device(device) => device == *vrf || self.list.names(To::Device(device)),
            Place::Gone => false,
        }
    }

    /// Where the socket is. The loopback device is known by its number.
    fn place(&self) -> Result<Place, Errno> {
        match sys::bound_device(self.fd) {
            Ok(None) => Ok(Place::Nowhere),
            Ok(Some(device)) if settings::vrf().device() == Some(device) => {
                Ok(Place::Device(device))
            }
            Ok(Some(device)) => {
                let may_be_lo = self.list.names(To::Lo);
                match may_be_lo && sys::bound_index(self.fd) == Some(state::LO) {
                    true => Ok(Place::Lo),
                    false => Ok(Place::Device(device)),
                }
            }
            Err(Errno::ENODEV) => Ok(Place::Gone),
            Err(errno) => Err(errno),
        }
    }
}
