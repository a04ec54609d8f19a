//! What the environment asks for: read once, at load, and immutable from then on.
//!
//! The values are copied out of the environment, because the program owns that memory and may change
//! it (setenv, putenv, clearenv, a title written over argv and environ). They are kept in
//! `vrfbind_info`, where other processes can read them too. Readers need no lock: the rest is stored
//! first and the state, with release ordering, last. Two threads that read the environment at once
//! store the same values.

use crate::list;
use crate::log::Line;
use crate::sys::{self, Environment};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use rules::DeviceName;
use rules::info::{
    INFO_MAGIC, Info, NOT_TRIED, SEAL_FOUND, SEAL_MADE, SEAL_NONE, SEAL_REFUSED, SEAL_SUPERVISED,
    STATE_DEFAULT, STATE_DEVICE, STATE_INERT, STATE_INVALID, STATE_NOT_STARTED, VERSION,
};
use rules::list::List;
use rules::settings::{self, Invalid, Options};
use rules::socket::Setting;

/// The settings, and what the library reports to other processes.
#[cfg_attr(not(test), unsafe(export_name = "vrfbind_info"))]
#[allow(unsafe_code)]
pub static INFO: Info = Info {
    magic: INFO_MAGIC,
    size: size_of::<Info>() as u32,
    version: VERSION,
    socket: AtomicU32::new(NOT_TRIED),
    execve: AtomicU32::new(NOT_TRIED),
    seal: AtomicU32::new(SEAL_NONE),
    state: AtomicU32::new(STATE_NOT_STARTED),
    device: [const { AtomicU64::new(0) }; 2],
    inherited: AtomicU32::new(0),
    rules_length: AtomicU32::new(0),
    rules: AtomicU64::new(0),
    connect: AtomicU32::new(NOT_TRIED),
};

/// Which VRF. Async-signal-safe.
#[inline(never)]
pub fn vrf() -> Setting {
    match state() {
        STATE_INERT => Setting::Inert,
        STATE_DEVICE => Setting::Device(device()),
        STATE_DEFAULT => Setting::Default,
        _ => Setting::Invalid,
    }
}

/// Whether nothing is asked of the library. Like [`vrf`], and cheaper.
pub fn is_inert() -> bool {
    state() == STATE_INERT
}

/// One of the `STATE_` values, but not [`STATE_NOT_STARTED`].
fn state() -> u32 {
    match INFO.state.load(Ordering::Acquire) {
        STATE_NOT_STARTED => early(),
        state => state,
    }
}

/// For a hook before the constructor has run. If not even `environ` is set, every IP socket fails.
#[cold]
#[inline(never)]
#[allow(unsafe_code)]
fn early() -> u32 {
    // SAFETY: constructors run, and not yet main(). One that changes the environment while another thread is here would
    // break getenv(3) there as well.
    let Some(environment) = (unsafe { Environment::now() }) else {
        return STATE_INVALID;
    };
    // The constructor complains.
    read(&environment, |_| ());
    INFO.state.load(Ordering::Acquire)
}

/// Reads the environment and publishes the VRF and its rules. None: something is invalid; `complain` gets the message.
pub fn read(environment: &Environment, complain: fn(Line)) -> Option<Options<'_>> {
    let settings = parse(environment)
        .map_err(|invalid| complain(complaint(&invalid)))
        .ok();
    let settings = settings.filter(|(vrf, options)| match (vrf, options.rules) {
        (Setting::Device(_), Some(rules)) => list::read(rules, complain).map(store_rules).is_some(),
        _ => true,
    });
    let state = match settings {
        Some((Setting::Inert, _)) => STATE_INERT,
        Some((Setting::Default, _)) => STATE_DEFAULT,
        Some((Setting::Device(name), _)) => {
            store(name);
            STATE_DEVICE
        }
        Some((Setting::Invalid, _)) | None => STATE_INVALID,
    };
    INFO.state.store(state, Ordering::Release);
    settings.map(|(_, options)| options)
}

/// The rules that sockets come under, if there are any.
#[inline(never)]
pub fn rules() -> Option<&'static List> {
    match state() {
        STATE_DEVICE => list::get(),
        _ => None,
    }
}

/// Seals the process, if it is not sealed already. If the seal was asked for and cannot be installed, every IP socket fails.
pub fn seal() {
    let seal = if sys::is_supervised() {
        SEAL_SUPERVISED
    } else if sys::is_sealed() {
        SEAL_FOUND
    } else {
        match sys::install_seal() {
            Ok(()) => SEAL_MADE,
            Err(errno) => {
                INFO.state.store(STATE_INVALID, Ordering::Release);
                let mut line =
                    Line::new(b"VRFBIND_SEAL=1: prctl(PR_SET_SECCOMP) fails with errno ");
                line.number(errno.into_raw());
                line.text(b". Every IPv4 and IPv6 socket() and every execve() of this program fails with EINVAL.\n");
                line.write_to_stderr();
                SEAL_REFUSED
            }
        }
    };
    INFO.seal.store(seal, Ordering::Relaxed);
}

/// Whether a seal was asked for.
pub fn is_seal_asked() -> bool {
    INFO.seal.load(Ordering::Relaxed) != SEAL_NONE
}

/// Whether a seal was asked for and could not be installed.
pub fn is_seal_refused() -> bool {
    INFO.seal.load(Ordering::Relaxed) == SEAL_REFUSED
}

/// Whether a seal was asked for, and its supervisor was found.
pub fn is_supervised() -> bool {
    INFO.seal.load(Ordering::Relaxed) == SEAL_SUPERVISED
}

/// Whether IP sockets that the library does not create are refused, as far as we know: the process is sealed, or a seal
/// could not be installed. With a supervisor they are created.
pub fn is_sealed() -> bool {
    is_seal_asked() || INFO.state.load(Ordering::Relaxed) == STATE_DEFAULT
}

fn parse(environment: &Environment) -> Result<(Setting, Options<'_>), Invalid<'_>> {
    // A set-user-ID program must not obey its caller's environment. ld.so drops most of LD_PRELOAD
    // then (ld.so(8), secure-execution mode), but not a name from a trusted directory, and not
    // /etc/ld.so.preload.
    if sys::is_secure_execution() {
        return Ok((Setting::Inert, Options::default()));
    }
    let value = |variable: &str| environment.variable(variable.as_bytes());
    settings::parse(value, sys::is_sealed)
}

fn store_rules(text: &[u8]) {
    INFO.rules
        .store(text.as_ptr().addr() as u64, Ordering::Relaxed);
    INFO.rules_length
        .store(text.len() as u32, Ordering::Relaxed);
}

fn store(name: DeviceName) {
    let bits = u128::from_ne_bytes(*name.padded());
    let [low, high] = &INFO.device;
    low.store(bits as u64, Ordering::Relaxed);
    high.store((bits >> 64) as u64, Ordering::Relaxed);
}

fn device() -> DeviceName {
    let [low, high] = &INFO.device;
    let (low, high) = (low.load(Ordering::Relaxed), high.load(Ordering::Relaxed));
    DeviceName::from_padded((u128::from(high) << 64 | u128::from(low)).to_ne_bytes())
}

/// Writes to stderr what is invalid, in one line, if [`Line::write_to_stderr`] allows it.
pub fn complain(mut line: Line) {
    line.text(b". Every IPv4 and IPv6 socket() of this program fails with EINVAL.\n");
    line.write_to_stderr();
}

fn complaint(invalid: &Invalid<'_>) -> Line {
    let mut line = Line::new(invalid.variable.as_bytes());
    line.text(b"=\"");
    line.untrusted(invalid.value);
    line.text(b"\" is not understood: ");
    line.text(invalid.why.as_bytes());
    line
}
