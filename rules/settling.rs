//! Where a socket is put when bind(), connect() or listen() names an address and there are rules. The library and the
//! supervisor both decide it here; each inspects and moves the socket in its own way ([`Socket`]).
//!
//! 1. The first rule that matches the address names the device ([`crate::list`]). If no rule matches, it is the VRF.
//! 2. The device of the socket is read. Usually it is the right one, and nothing more is done.
//! 3. Otherwise the state of the socket is read, and [`crate::moving`] decides whether it may be moved.
//!
//! Only its device tells whether a socket is ours to move: a socket is, if it is on the VRF, on a device of the list, or on
//! no device. The program may have put a socket on another device of its VRF; such a socket stays where it is.
//!
//! Errors are errno values.

use crate::device::DeviceName;
use crate::list::{Address, Call, List, Match, Protocol, To};
use crate::moving::{Facts, HAS_ADDRESS, State, Verdict};
use libc::{EADDRNOTAVAIL, EBADF, ENODEV, ENOTSOCK, c_int};

/// Where a socket is, or belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// On this device.
    Device(DeviceName),
    /// On the loopback device, where the list says `lo`.
    Lo,
    /// On no device.
    Nowhere,
    /// On a device that has been deleted.
    Gone,
}

/// What the loopback device is called, unless somebody has renamed it.
const LO_NAME: &[u8] = b"lo";

/// The number of the loopback device in every network namespace (LOOPBACK_IFINDEX, linux/net.h), whatever its name.
pub const LO: u32 = 1;

impl Place {
    /// The device's name, as far as it is known.
    pub fn device(self) -> Option<DeviceName> {
        match self {
            Self::Device(device) => Some(device),
            Self::Lo => DeviceName::new(LO_NAME).ok(),
            Self::Nowhere | Self::Gone => None,
        }
    }
}

/// A socket that can be inspected and moved.
pub trait Socket {
    /// Its device, by name. ENODEV: it has been deleted.
    fn device(&self) -> Result<Option<DeviceName>, c_int>;
    /// The number of its device.
    fn index(&self) -> Option<u32>;
    /// Whether its family is AF_INET or AF_INET6.
    fn is_ip(&self) -> bool;
    /// Its protocol.
    fn protocol(&self) -> Result<Option<Protocol>, c_int>;
    /// What has to be known before it is moved.
    fn facts(&self) -> Result<Facts, c_int>;
    /// Makes a closed TCP socket forget the address that a failed connect() has left. Some: there was one, and the present
    /// call has to fail with this errno.
    fn forget_address(&self) -> Result<Option<c_int>, c_int>;
    /// Whether the VRF has this address itself.
    fn is_of_vrf(&self, vrf: &DeviceName, address: &Address) -> Result<bool, c_int>;
    /// Puts it there by the rule of this number, or by no rule.
    fn put(&self, place: Place, rule: Option<usize>) -> Result<(), c_int>;
    /// Is called when the call fails, with the reason, to be put after "the socket".
    fn is_refused(&self, place: Place, rule: Option<usize>, errno: c_int, why: &'static str);
}

/// A socket, and the call that names an address of it.
pub struct Subject<'a, S> {
    /// The rules.
    pub list: &'a List,
    /// The device if no rule matches.
    pub vrf: DeviceName,
    /// The call.
    pub call: Call,
    /// Whether it is listen(2), which stands for [`Call::Bind`].
    pub is_listen: bool,
    /// The socket.
    pub socket: &'a S,
}

impl<S: Socket> Subject<'_, S> {
    /// Puts the socket where the address belongs, if the call names an address. Returns the place where it was before, if
    /// it was moved.
    pub fn settle(&self, address: Option<Address>) -> Result<Option<Place>, c_int> {
        let (vrf, socket) = (Place::Device(self.vrf), self.socket);
        let here = match self.place() {
            // The kernel refuses the call if this is no socket.
            Err(EBADF | ENOTSOCK) => return Ok(None),
            here => here?,
        };
        let is_stray = here == Place::Nowhere && !self.list.names(To::Default);
        let Some(address) = address else {
            if is_stray && socket.is_ip() {
                socket.put(vrf, None)?;
            }
            return Ok(None);
        };
        let found = self.list.first(self.call, &address, || socket.protocol())?;
        let belongs = self.belongs(found, &address)?;
        if here == belongs || !self.is_ours(here) || !socket.is_ip() {
            return Ok(None);
        }
        let rule = found.map(|found| found.number);
        // A socket without a device that no rule has put there gets the VRF, or its listener's device, whatever its state.
        if !(is_stray && (belongs == vrf || self.is_listen)) {
            match self.judge() {
                Ok(Verdict::Move) => {}
                answer => {
                    if is_stray {
                        socket.put(vrf, None)?;
                    }
                    return match answer? {
                        Verdict::Refuse(errno, why) => {
                            socket.is_refused(belongs, rule, errno, why);
                            Err(errno)
                        }
                        _ => Ok(None),
                    };
                }
            }
        }
        socket.put(belongs, rule)?;
        let back = if is_stray { vrf } else { here };
        Ok((back != belongs).then_some(back))
    }

    /// Where the socket is. The loopback device is known by its number.
    fn place(&self) -> Result<Place, c_int> {
        match self.socket.device() {
            Ok(None) => Ok(Place::Nowhere),
            Ok(Some(device)) if device == self.vrf => Ok(Place::Device(device)),
            Ok(Some(device)) => {
                let may_be_lo = self.list.names(To::Lo);
                match may_be_lo && self.socket.index() == Some(LO) {
                    true => Ok(Place::Lo),
                    false => Ok(Place::Device(device)),
                }
            }
            Err(ENODEV) => Ok(Place::Gone),
            Err(errno) => Err(errno),
        }
    }

    #[inline(never)]
    fn belongs(&self, found: Option<Match>, address: &Address) -> Result<Place, c_int> {
        let vrf = Place::Device(self.vrf);
        Ok(match found.map(|found| found.to) {
            None => vrf,
            Some(To::Device(device)) => Place::Device(device),
            Some(To::Default) => Place::Nowhere,
            // Where the VRF is the loopback device itself, as in tests.
            Some(_) if self.vrf.as_bytes() == LO_NAME => vrf,
            Some(To::LoUnlessInVrf) if self.socket.is_of_vrf(&self.vrf, address)? => vrf,
            Some(To::Lo | To::LoUnlessInVrf) => Place::Lo,
        })
    }

    /// Whether the socket may be moved. An error: the call fails with it.
    fn judge(&self) -> Result<Verdict, c_int> {
        match self.socket.facts()?.judge(self.call) {
            Verdict::MayForget => match self.socket.forget_address()? {
                Some(errno) => Err(errno),
                None => Ok(Verdict::Refuse(EADDRNOTAVAIL, HAS_ADDRESS)),
            },
            verdict => Ok(verdict),
        }
    }

    /// Whether we can have put a socket there.
    fn is_ours(&self, here: Place) -> bool {
        match here {
            Place::Nowhere | Place::Lo => true,
            Place::Device(device) => self.list.can_have_put_on(&self.vrf, &device),
            Place::Gone => false,
        }
    }
}

/// The device by which the scope of an address is judged when a socket on `device` is bound to it: the device of the rule
/// that put the socket there, otherwise the VRF. None: the scope is not judged.
pub fn judge_of_scope(
    list: &List,
    vrf: Option<DeviceName>,
    device: Result<Option<DeviceName>, c_int>,
) -> Option<DeviceName> {
    match device {
        Ok(None) => None,
        Ok(Some(device)) if list.names(To::Device(device)) => Some(device),
        _ => vrf,
    }
}

/// What to do with connect(AF_UNSPEC), which takes the device from a datagram or raw socket, at least for a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disconnection {
    /// It is made: streams keep their device.
    PassOn,
    /// It is not made, and succeeds: without a peer nothing is lost.
    Done,
    /// It fails with EPERM.
    Refuse,
}

impl Disconnection {
    /// For a socket in this state.
    pub fn of(facts: &Facts) -> Self {
        match (facts.protocol, facts.state) {
            (Some(Protocol::Tcp | Protocol::Sctp), _) => Self::PassOn,
            (_, State::Closed) => Self::Done,
            _ => Self::Refuse,
        }
    }
}
