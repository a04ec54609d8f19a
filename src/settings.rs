//! What the environment asks for: read once, at load, and immutable from then on.
//!
//! `VRFBIND_VRF` is copied out of the environment, because the program owns that memory and may
//! change it (setenv, putenv, clearenv, a title written over argv and environ). Readers need no lock:
//! the name is stored first and the state, with release ordering, last. Two threads that read the
//! environment at once store the same values.

use crate::policy::Vrf;
use crate::sys::{self, Environment};
use abi::{BadName, DEFAULT, DeviceName, VRF_VARIABLE};
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

static STATE: AtomicU8 = AtomicU8::new(UNREAD);
static NAME: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

const UNREAD: u8 = 0;
const INERT: u8 = 1;
const DEVICE: u8 = 2;
const INVALID: u8 = 3;

/// The settings. Async-signal-safe.
pub fn vrf() -> Vrf {
    match STATE.load(Ordering::Acquire) {
        INERT => Vrf::Inert,
        DEVICE => Vrf::Device(name()),
        INVALID => Vrf::Invalid,
        _ => early(),
    }
}

/// Before the constructor. Where not even `environ` can be had, no IP socket can be had either.
#[cold]
fn early() -> Vrf {
    match Environment::now() {
        Some(environment) => read(&environment).unwrap_or(Vrf::Invalid),
        None => Vrf::Invalid,
    }
}

/// Reads the environment and publishes what it asks for.
pub fn read(environment: &Environment) -> Result<Vrf, Refusal<'_>> {
    let vrf = understand(environment);
    let state = match vrf {
        Ok(Vrf::Inert) => INERT,
        Ok(Vrf::Device(name)) => {
            store(name);
            DEVICE
        }
        Ok(Vrf::Invalid) | Err(_) => INVALID,
    };
    STATE.store(state, Ordering::Release);
    vrf
}

fn understand(environment: &Environment) -> Result<Vrf, Refusal<'_>> {
    // A set-user-ID program does not take orders from its caller's environment. ld.so drops most
    // LD_PRELOADs then (ld.so(8), secure-execution mode), but not a name from a trusted directory,
    // and not /etc/ld.so.preload.
    if sys::is_secure_execution() {
        return Ok(Vrf::Inert);
    }
    match environment.variable(VRF_VARIABLE.as_bytes()) {
        None | Some(b"" | DEFAULT) => Ok(Vrf::Inert),
        Some(value) => match DeviceName::new(value) {
            Ok(name) => Ok(Vrf::Device(name)),
            Err(why) => Err(Refusal { value, why }),
        },
    }
}

fn store(name: DeviceName) {
    let bits = u128::from_ne_bytes(*name.padded());
    let [low, high] = &NAME;
    low.store(bits as u64, Ordering::Relaxed);
    high.store((bits >> 64) as u64, Ordering::Relaxed);
}

fn name() -> DeviceName {
    let [low, high] = &NAME;
    let (low, high) = (low.load(Ordering::Relaxed), high.load(Ordering::Relaxed));
    DeviceName::from_padded((u128::from(high) << 64 | u128::from(low)).to_ne_bytes())
}

/// A value of `VRFBIND_VRF` that is not understood.
pub struct Refusal<'a> {
    value: &'a [u8],
    why: BadName,
}

impl Refusal<'_> {
    /// One line on stderr, if stderr takes it.
    pub fn print(&self) {
        let mut line = sys::Line::new();
        line.text(b"vrfbind: ");
        line.text(VRF_VARIABLE.as_bytes());
        line.text(b"=\"");
        line.foreign(self.value);
        line.text(b"\" is not a device name: ");
        line.text(self.why.reason().as_bytes());
        line.text(b". Every IPv4 and IPv6 socket() of this program fails with EINVAL.\n");
        line.write_to_stderr();
    }
}
