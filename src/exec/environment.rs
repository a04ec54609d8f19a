//! Which of our variables are missing in an environment, and the strings by which they are put back.
//!
//! LD_PRELOAD has to name the library by the path that it was loaded from: by a bare name, or by `$LIB`, ld.so may find
//! another file or none, and then it starts the program unbound. If LD_PRELOAD does not contain this path, the path is put
//! before the entries that it has.
//!
//! `VRFBIND_VRF` has to be set, and so have `VRFBIND_SEAL`, `VRFBIND_LOG` and `VRFBIND_RULES` if they were set at load. A
//! variable that is unset or empty counts as scrubbed, and gets the value that it had at load. Any other value is the
//! program's own choice, be it another VRF or `default`. If a variable occurs twice, the first one counts, as it will in
//! the child ([`settings`]).
//!
//! There is one string for each variable, NAME=VALUE, made at load ([`prepare`]). Only an LD_PRELOAD with other entries
//! is put together when it is needed.

use crate::log::Line;
use crate::settings;
use crate::sys::{self, Strings};
use core::ffi::{CStr, c_char};
use core::sync::atomic::{AtomicPtr, Ordering};
use core::{mem, ptr, slice};
use rules::preload;
use rules::settings::Options;
use rules::socket::Setting;
use rules::{DEFAULT, LOG_VARIABLE, RULES_VARIABLE, SEAL_VARIABLE, VRF_VARIABLE};

const PRELOAD: &[u8] = b"LD_PRELOAD";

/// How many variables are ours.
const VARIABLES: usize = 5;

/// LD_PRELOAD with nothing but the library, `VRFBIND_VRF`, `VRFBIND_SEAL`, `VRFBIND_LOG`, `VRFBIND_RULES`. Null: it was not
/// set at load. A string that is here stays, and never changes.
static STRINGS: [AtomicPtr<c_char>; VARIABLES] =
    [const { AtomicPtr::new(ptr::null_mut()) }; VARIABLES];

/// Makes the strings, in `room` if they fit, otherwise in a mapping. `path` is the path by which ld.so has found the
/// library. A relative path would depend on the program's current directory, so it is made absolute. Returns the log's
/// path.
///
/// # Safety
/// `path` is a string that stays.
pub unsafe fn prepare(
    path: *const c_char,
    options: &Options<'_>,
    room: &'static mut [u8],
) -> Option<&'static CStr> {
    // SAFETY: as callers promise.
    let path = unsafe { sys::absolute(path) };
    if !preload::is_nameable(path) {
        complain(path);
    }
    let device;
    let vrf = match settings::vrf() {
        Setting::Device(name) => {
            device = name;
            device.as_bytes()
        }
        Setting::Default | Setting::Inert => DEFAULT.as_bytes(),
        // The child gets the same invalid value, and fails as we do.
        Setting::Invalid => b"/",
    };
    // LD_PRELOAD last: readers conclude from it that the others are set.
    let variables: [(&[u8], Option<&[u8]>); VARIABLES] = [
        (RULES_VARIABLE.as_bytes(), options.rules),
        (LOG_VARIABLE.as_bytes(), options.log),
        (SEAL_VARIABLE.as_bytes(), options.seal.then_some(b"1")),
        (VRF_VARIABLE.as_bytes(), Some(vrf)),
        (PRELOAD, Some(path)),
    ];
    let mut size = 0;
    for (name, value) in &variables {
        size += name.len() + value.map_or(0, <[u8]>::len) + b"=\0".len();
    }
    let mut buffer = StringBuffer(if size <= room.len() {
        room
    } else {
        let memory = ptr::with_exposed_provenance_mut(sys::map(size).ok()?);
        // SAFETY: a mapping of this size that nobody else knows of, and that stays.
        unsafe { slice::from_raw_parts_mut(memory, size) }
    });
    for (place, (name, value)) in STRINGS.iter().rev().zip(&variables) {
        if let Some(value) = value {
            let string = buffer.variable(name, value)?;
            place.store(string.cast_mut(), Ordering::Release);
        }
    }
    let [_, _, _, log, _] = &STRINGS;
    // SAFETY: it is one of the strings.
    unsafe { behind(log.load(Ordering::Relaxed), LOG_VARIABLE.len() + 1) }
}

/// The library's path for LD_PRELOAD. None before [`prepare`], or if `prepare` had no memory.
#[inline(never)]
pub fn library() -> Option<&'static CStr> {
    let [preload, ..] = &STRINGS;
    // SAFETY: it is one of the strings.
    unsafe { behind(preload.load(Ordering::Acquire), PRELOAD.len() + 1) }
}

/// The value of one of [`STRINGS`].
///
/// # Safety
/// `string` is null, or has a name and a `=` of this length, and stays as it is.
unsafe fn behind(string: *const c_char, name: usize) -> Option<&'static CStr> {
    // SAFETY: as callers promise.
    (!string.is_null()).then(|| unsafe { CStr::from_ptr(string.wrapping_add(name)) })
}

#[cold]
#[inline(never)]
fn complain(path: &[u8]) {
    let mut line = Line::new(b"LD_PRELOAD cannot name \"");
    line.untrusted(path);
    line.text(b"\" to the programs that this one starts (white space, ':', '$', not absolute): every execve() fails with EINVAL. Move the library.\n");
    line.write_to_stderr();
}

/// Which of our variables an environment has.
pub struct Scan<'a> {
    envp: Strings,
    library: &'a [u8],
    /// How many strings the environment has.
    count: usize,
    /// The value of LD_PRELOAD; the last one, if there are several, as glibc's ld.so has it.
    preload: &'a [u8],
    /// The value of `VRFBIND_VRF`.
    vrf: &'a [u8],
    /// Those of [`STRINGS`] that have to be put back. Null: the variable is not missing.
    missing: [*const c_char; VARIABLES],
}

impl<'a> Scan<'a> {
    /// Of an environment that has not been read yet. [`Scan::read`] is another step, so that there is only one copy of this on
    /// the stack.
    ///
    /// # Safety
    /// `envp` is NULL or an array of strings with a NULL at its end, and nobody changes them as long as the result is used.
    pub unsafe fn new(envp: Strings, library: &'a [u8]) -> Self {
        Self {
            envp,
            library,
            count: 0,
            preload: b"",
            vrf: b"",
            missing: [ptr::null(); VARIABLES],
        }
    }

    /// In a frame of its own, which is gone when the environment is repaired.
    #[inline(never)]
    pub fn read(&mut self) {
        for (missing, ours) in self.missing.iter_mut().zip(&STRINGS) {
            *missing = ours.load(Ordering::Acquire);
        }
        // Whether each variable is as it has to be. None: it does not occur.
        let mut is_right = [None; VARIABLES];
        for entry in self.entries() {
            self.count += 1;
            for (index, (ours, is_right)) in self.missing.iter().zip(&mut is_right).enumerate() {
                // SAFETY: an entry is a string, and stays as it is.
                let Some(value) = (unsafe { value_of_same(entry, *ours) }) else {
                    continue;
                };
                if index == 0 {
                    self.preload = value;
                    // Each occurrence has to have it, since musl's ld.so reads the first one.
                    *is_right =
                        Some(*is_right != Some(false) && preload::contains(value, self.library));
                } else if is_right.is_none() {
                    *is_right = Some(!value.is_empty());
                    if index == 1 {
                        self.vrf = value;
                    }
                }
            }
        }
        for (missing, is_right) in self.missing.iter_mut().zip(&is_right) {
            if *is_right == Some(true) {
                *missing = ptr::null();
            }
        }
    }

    /// The strings of the environment.
    fn entries(&self) -> impl Iterator<Item = *const c_char> + use<> {
        let mut next = self.envp;
        core::iter::from_fn(move || {
            // Linux treats NULL as an empty array (execve(2), NOTES).
            if next.is_null() {
                return None;
            }
            // SAFETY: at or before the NULL at the end of the array, as `new` was promised.
            let entry = unsafe { *next };
            if entry.is_null() {
                return None;
            }
            next = next.wrapping_add(1);
            Some(entry)
        })
    }

    /// The VRF that the environment names, before any repair.
    pub fn vrf(&self) -> &'a [u8] {
        self.vrf
    }

    /// Whether nothing is missing.
    pub fn is_complete(&self) -> bool {
        self.missing.iter().all(|missing| missing.is_null())
    }

    /// How many bytes [`Scan::repaired`] needs.
    pub fn size(&self) -> usize {
        let list = PRELOAD.len() + self.library.len() + self.preload.len() + b"=:\0".len();
        self.size_of_array() + list
    }

    fn size_of_array(&self) -> usize {
        (self.count + self.missing.len() + 1) * size_of::<*const c_char>()
    }

    /// The environment with everything in it, written to `memory`. None: it does not fit.
    #[inline(never)]
    pub fn repaired(&self, memory: &mut [u8]) -> Option<Strings> {
        let (array, strings) = memory.split_at_mut_checked(self.size_of_array())?;
        let start = array.as_ptr();
        let (places, _) = array.as_chunks_mut();
        let mut places = places.iter_mut();
        let mut push = |string: *const c_char| {
            *places.next()? = string.expose_provenance().to_ne_bytes();
            Some(())
        };
        for entry in self.entries() {
            // All occurrences of a variable that was put back are left out.
            // SAFETY: an entry is a string, and stays as it is.
            let is_same = |ours: &*const c_char| unsafe { value_of_same(entry, *ours) }.is_some();
            if !self.missing.iter().any(is_same) {
                push(entry)?;
            }
        }
        let [preload, settings @ ..] = &self.missing;
        if !preload.is_null() {
            push(match self.preload {
                b"" => *preload,
                _ => self.preload_list(strings)?,
            })?;
        }
        for string in settings {
            if !string.is_null() {
                push(*string)?;
            }
        }
        push(ptr::null())?;
        Some(start.cast())
    }

    /// LD_PRELOAD with ours before the others, written to `memory`.
    fn preload_list(&self, memory: &mut [u8]) -> Option<*const c_char> {
        let mut buffer = StringBuffer(memory);
        let list = buffer.start();
        buffer.add(PRELOAD)?;
        buffer.add(b"=")?;
        for part in preload::with(self.preload, self.library) {
            buffer.add(part)?;
        }
        buffer.add(b"\0")?;
        Some(list)
    }
}

/// The value of `entry`, if it is the variable that one of [`STRINGS`] sets.
///
/// # Safety
/// `entry` is a string, and stays as it is as long as the result is used.
unsafe fn value_of_same<'a>(entry: *const c_char, ours: *const c_char) -> Option<&'a [u8]> {
    if ours.is_null() {
        return None;
    }
    // SAFETY: as callers promise, and ours are strings.
    unsafe { sys::value_of_same(entry, ours) }
}

/// A buffer for consecutive strings.
struct StringBuffer<'a>(&'a mut [u8]);

impl StringBuffer<'_> {
    /// Where the next string begins.
    fn start(&self) -> *const c_char {
        self.0.as_ptr().cast()
    }

    /// Adds a part of a string. None: it does not fit.
    #[inline(never)]
    fn add(&mut self, part: &[u8]) -> Option<()> {
        let (to, rest) = mem::take(&mut self.0).split_at_mut_checked(part.len())?;
        to.copy_from_slice(part);
        self.0 = rest;
        Some(())
    }

    /// A string of one of our variables.
    #[inline(never)]
    fn variable(&mut self, name: &[u8], value: &[u8]) -> Option<*const c_char> {
        let start = self.start();
        self.add(name)?;
        self.add(b"=")?;
        self.add(value)?;
        self.add(b"\0")?;
        Some(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;

    /// The repaired environment. None: it is passed on as it is.
    fn repaired(envp: &[&str]) -> Option<Vec<String>> {
        let strings: Vec<_> = envp
            .iter()
            .map(|&entry| CString::new(entry).unwrap())
            .collect();
        let mut array: Vec<_> = strings.iter().map(|entry| entry.as_ptr()).collect();
        array.push(ptr::null());
        // SAFETY: such an array, which nobody changes.
        let mut scan = unsafe { Scan::new(array.as_ptr(), library().unwrap().to_bytes()) };
        scan.read();
        if scan.is_complete() {
            return None;
        }
        for size in 0..scan.size_of_array() {
            assert!(scan.repaired(&mut vec![0; size]).is_none());
        }
        let mut memory = vec![0xff; scan.size()];
        let result = scan.repaired(&mut memory).unwrap();
        // SAFETY: an array of strings, which `memory` and `strings` hold.
        let scan = unsafe { Scan::new(result, b"") };
        let text = |entry| {
            // SAFETY: as above.
            let entry = unsafe { CStr::from_ptr(entry) };
            entry.to_str().unwrap().to_owned()
        };
        Some(scan.entries().map(text).collect())
    }

    #[test]
    fn puts_back_what_is_missing_and_leaves_the_rest() {
        let options = Options {
            seal: true,
            log: Some(b"/log"),
            rules: Some(b"loopback lo"),
        };
        let room = Vec::leak(vec![0; 100]);
        // SAFETY: the path is a constant.
        let log = unsafe { prepare(c"/lib/us.so".as_ptr(), &options, room) };
        assert_eq!(log, Some(c"/log"));
        assert_eq!(library(), Some(c"/lib/us.so"));
        let ours = [
            "LD_PRELOAD=/lib/us.so",
            "VRFBIND_VRF=default",
            "VRFBIND_SEAL=1",
            "VRFBIND_LOG=/log",
            "VRFBIND_RULES=loopback lo",
        ];
        let [preload, vrf, seal, log, rules] = ours;
        assert_eq!(repaired(&ours), None);
        assert_eq!(repaired(&[]).unwrap(), ours);
        let kept = [
            "A=1",
            vrf,
            "LD_PRELOAD=a.so /lib/us.so",
            "B",
            seal,
            "VRFBIND_LOG=stderr",
            "VRFBIND_RULES=bind * red",
        ];
        assert_eq!(repaired(&kept), None);
        assert_eq!(
            repaired(&["A=1", "VRFBIND_VRF=", seal, "B=", log, preload, rules]).unwrap(),
            ["A=1", seal, "B=", log, preload, rules, vrf]
        );
        assert_eq!(
            repaired(&[
                log,
                "LD_PRELOAD=a.so",
                "LD_PRELOAD=b.so:c.so",
                "VRFBIND_VRF=red"
            ])
            .unwrap(),
            [
                log,
                "VRFBIND_VRF=red",
                "LD_PRELOAD=/lib/us.so:b.so:c.so",
                seal,
                rules
            ]
        );
        assert_eq!(
            repaired(&[
                "LD_PRELOAD=/lib/us.so",
                "LD_PRELOAD=us.so",
                vrf,
                seal,
                log,
                rules
            ])
            .unwrap(),
            [vrf, seal, log, rules, "LD_PRELOAD=/lib/us.so:us.so"]
        );
    }
}
