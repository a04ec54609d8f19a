//! Moves a socket to the device of a rule, before bind(), connect() or listen(). [`rules::settling`] decides where the
//! socket belongs and whether it may be moved; here the socket is inspected and moved.
//!
//! One setsockopt() moves it from one device to the other; it is never without a device in between. Without CAP_NET_RAW
//! another socket takes its place ([`replacing`]). If the call that follows fails, it is moved back ([`Moved::undo`]).
//!
//! connect(AF_UNSPEC) would take the device from a datagram or raw socket, at least for a moment, so it is not made. Without
//! a peer nothing is lost, and it succeeds; with a peer it fails with EPERM.

use crate::log::{self, Via};
use crate::sys::state::{self, Sockaddr};
use crate::{replacing, settings, sys};
use core::ffi::c_int;
use rules::DeviceName;
use rules::list::{Address, Call, List, Protocol};
use rules::moving::Facts;
use rules::settling::{self, Disconnection, LO, Place, Subject};
use syscalls::Errno;

/// What has to be done after a socket was prepared.
pub enum Prepared {
    /// Make the call.
    Call(Moved),
    /// Nothing more: the call has succeeded.
    Done,
}

/// What was done to a socket: where it was.
pub struct Moved(Option<Place>);

impl Moved {
    /// Moves the socket back, because the call has failed. If that fails, it stays on the rule's device.
    pub fn undo(&self, fd: c_int) {
        if let Some(place) = self.0 {
            let _ = relocate(fd, Call::Connect, place, &mut "");
        }
    }
}

/// Before bind(2) and connect(2), with the address, or nothing of it if it cannot be read.
pub fn prepare(list: &List, call: Call, fd: c_int, address: &Sockaddr) -> Result<Prepared, Errno> {
    if call == Call::Connect && address.family() == Some(libc::AF_UNSPEC) {
        return disconnect(fd);
    }
    let address = Address::of(call, address.bytes());
    let socket = Socket {
        name: call.name(),
        call,
        fd,
    };
    // Nearly every call: no rule matches, and the socket is in the VRF. `settle` would find the same, and costs more.
    if let Some(address) = &address
        && list.is_silent(call, address)
        && let Ok(Some(device)) = sys::bound_device(fd)
        && settings::vrf().device() == Some(device)
    {
        return Ok(Prepared::Call(Moved(None)));
    }
    settle(list, &socket, address).map(Prepared::Call)
}

/// Before listen(2). A socket that has a device and was bound is on its address's device already. One that was not bound
/// will get the wildcard.
pub fn prepare_listener(list: &List, fd: c_int) -> Result<Moved, Errno> {
    let socket = Socket {
        name: LISTEN,
        call: Call::Bind,
        fd,
    };
    let address = state::own_address(fd).ok();
    let is_bound = address.is_none_or(|address| address.port != 0);
    let is_settled = is_bound && matches!(sys::bound_device(fd), Ok(Some(_)));
    settle(list, &socket, address.filter(|_| !is_settled))
}

const LISTEN: &str = "listen";

/// Puts the socket where this address belongs.
#[inline(never)]
fn settle(list: &List, socket: &Socket, address: Option<Address>) -> Result<Moved, Errno> {
    let Some(vrf) = settings::vrf().device() else {
        return Ok(Moved(None));
    };
    let subject = Subject {
        list,
        vrf,
        call: socket.call,
        is_listen: socket.name == LISTEN,
        socket,
    };
    subject.settle(address).map(Moved).map_err(Errno::new)
}

/// Before connect(AF_UNSPEC).
fn disconnect(fd: c_int) -> Result<Prepared, Errno> {
    let call = Prepared::Call(Moved(None));
    if !is_ip(fd) {
        return Ok(call);
    }
    match Disconnection::of(&state::facts(fd)?) {
        Disconnection::PassOn => Ok(call),
        Disconnection::Done => Ok(Prepared::Done),
        Disconnection::Refuse => {
            log::not_disconnected(fd, Errno::EPERM);
            Err(Errno::EPERM)
        }
    }
}

#[inline(never)]
fn is_ip(fd: c_int) -> bool {
    matches!(sys::domain(fd), Ok(libc::AF_INET | libc::AF_INET6))
}

/// The device by which the scope of the socket's address is judged ([`settling::judge_of_scope`]).
pub fn judge_of_scope(list: &List, fd: c_int) -> Option<DeviceName> {
    let device = sys::bound_device(fd).map_err(Errno::into_raw);
    settling::judge_of_scope(list, settings::vrf().device(), device)
}

/// Moves a socket, or replaces it. EPERM: neither is possible, and `why` gets the reason.
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
        Place::Lo => sys::bind_to_index(fd, LO),
        Place::Nowhere => sys::bind_to_index(fd, 0),
        Place::Gone => Err(Errno::ENODEV),
    }
}

/// A socket of the program.
struct Socket {
    /// The call's name.
    name: &'static str,
    call: Call,
    fd: c_int,
}

impl settling::Socket for Socket {
    fn device(&self) -> Result<Option<DeviceName>, c_int> {
        sys::bound_device(self.fd).map_err(Errno::into_raw)
    }

    fn index(&self) -> Option<u32> {
        sys::bound_index(self.fd)
    }

    fn is_ip(&self) -> bool {
        is_ip(self.fd)
    }

    fn protocol(&self) -> Result<Option<Protocol>, c_int> {
        state::protocol(self.fd).map_err(Errno::into_raw)
    }

    fn facts(&self) -> Result<Facts, c_int> {
        state::facts(self.fd).map_err(Errno::into_raw)
    }

    fn forget_address(&self) -> Result<Option<c_int>, c_int> {
        let forgotten = state::forget_address(self.fd).map_err(Errno::into_raw)?;
        Ok(forgotten.map(Errno::into_raw))
    }

    fn is_of_vrf(&self, vrf: &DeviceName, address: &Address) -> Result<bool, c_int> {
        state::has_address(vrf, address).map_err(Errno::into_raw)
    }

    fn put(&self, place: Place, rule: Option<usize>) -> Result<(), c_int> {
        let mut why = "";
        let result = relocate(self.fd, self.call, place, &mut why);
        if log::is_on() {
            let domain = sys::domain(self.fd).unwrap_or(0);
            let kind = (domain, sys::sock_type(self.fd).unwrap_or(0));
            let result = result.map(|()| self.fd);
            log::socket(self.name, Via::Rule.word(), kind, place.device(), result);
        }
        if let Err(errno) = result {
            let what = match errno {
                Errno::EPERM => "cannot be moved without CAP_NET_RAW, nor replaced: ",
                _ => "cannot be moved",
            };
            log::not_moved(self.name, self.fd, rule, place.device(), errno, [what, why]);
        }
        result.map_err(Errno::into_raw)
    }

    fn is_refused(&self, place: Place, rule: Option<usize>, errno: c_int, why: &'static str) {
        log::not_moved(
            self.name,
            self.fd,
            rule,
            place.device(),
            Errno::new(errno),
            [why, ""],
        );
    }
}
