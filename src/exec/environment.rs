//! What is missing in an environment, and what it is put back as.
//!
//! LD_PRELOAD has to name the library, by the path that it was loaded from: by a bare name, or by `$LIB`, ld.so may find
//! another file or none, and then it starts the program unbound. Where it does not, the path is put at the head, and what is
//! there is kept behind it.
//!
//! `VRFBIND_VRF` has to be set, and so have `VRFBIND_SEAL` and `VRFBIND_LOG` if they were at load. What is not gets the value
//! of then. A child that says `VRFBIND_VRF=something` has spoken, and is obeyed, be it another VRF or `default`; unset or empty
//! counts as scrubbed. Of a variable that is there twice, the first counts, as it will in the child
//! ([`settings`]).
//!
//! What they are put back as is a string for each, NAME=VALUE, made at load ([`prepare`]). Only an LD_PRELOAD with others
//! behind us is put together when it is needed.

use crate::log::Line;
use crate::settings::{self, Options};
use crate::sys::{self, Strings};
use core::ffi::{CStr, c_char};
use core::sync::atomic::{AtomicPtr, Ordering};
use core::{mem, ptr, slice};
use rules::socket::Setting;
use rules::{DEFAULT, LOG_VARIABLE, NAME_SIZE, SEAL_VARIABLE, VRF_VARIABLE};

const PRELOAD: &[u8] = b"LD_PRELOAD=";

/// LD_PRELOAD with nothing but the library, `VRFBIND_VRF`, `VRFBIND_SEAL`, `VRFBIND_LOG`. Null: it was not set at load.
/// A string that is here stays, and never changes.
static STRINGS: [AtomicPtr<c_char>; 4] = [const { AtomicPtr::new(ptr::null_mut()) }; 4];

/// How many bytes they have at most, but for the paths of the library and of the log.
const FIXED: usize = PRELOAD.len()
    + VRF_VARIABLE.len()
    + NAME_SIZE
    + SEAL_VARIABLE.len()
    + LOG_VARIABLE.len()
    + b"= =1 = ".len();

/// Makes the strings, in `room` if they fit, else in a mapping. `path` is the one that ld.so has found the library by; a
/// relative one would depend on where the program goes, so it is made absolute. Returns the log's path.
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
    if !is_nameable(path) {
        complain(path);
    }
    let device;
    let vrf = match settings::vrf() {
        Setting::Device(name) => {
            device = name;
            device.as_bytes()
        }
        Setting::Default | Setting::Inert => DEFAULT,
        // As invalid for the child as for us.
        Setting::Invalid => b"/",
    };
    let size = path.len() + options.log.map_or(0, <[u8]>::len) + FIXED;
    let mut buffer = StringBuffer(if size <= room.len() {
        room
    } else {
        let memory = ptr::with_exposed_provenance_mut(sys::map(size).ok()?);
        // SAFETY: a mapping of this size that nobody else knows of, and that stays.
        unsafe { slice::from_raw_parts_mut(memory, size) }
    });
    let preload = buffer.string(&[PRELOAD, path])?;
    let vrf = buffer.string(&[VRF_VARIABLE.as_bytes(), b"=", vrf])?;
    let seal = match options.seal {
        true => buffer.string(&[SEAL_VARIABLE.as_bytes(), b"=1"])?,
        false => ptr::null(),
    };
    let log = match options.log {
        Some(path) => buffer.string(&[LOG_VARIABLE.as_bytes(), b"=", path])?,
        None => ptr::null(),
    };
    for (place, string) in STRINGS.iter().zip([preload, vrf, seal, log]) {
        place.store(string.cast_mut(), Ordering::Release);
    }
    // SAFETY: it is one of the strings.
    unsafe { behind(log, LOG_VARIABLE.len() + 1) }
}

/// The library's path, as it shall stand in LD_PRELOAD. None before [`prepare`], or if that had no memory.
pub fn library() -> Option<&'static CStr> {
    let [preload, ..] = &STRINGS;
    // SAFETY: it is one of the strings.
    unsafe { behind(preload.load(Ordering::Acquire), PRELOAD.len()) }
}

/// What one of [`STRINGS`] has behind its name.
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
    let mut line = Line::new();
    line.text(b"vrfbind: LD_PRELOAD cannot name \"");
    line.foreign(path);
    line.text(b"\" to the programs that this one starts (white space, ':', '$', not absolute): every execve() fails with EINVAL. Move the library.\n");
    line.write_to_stderr();
}

/// Whether an entry of LD_PRELOAD can be this path and no other. glibc parts entries at blanks and
/// colons, musl at all white space, and glibc puts something else for `$LIB` and the like.
pub fn is_nameable(path: &[u8]) -> bool {
    let is_special = |byte: &u8| matches!(byte, b':' | b'$' | b' ' | 0x09..=0x0d);
    path.first() == Some(&b'/') && !path.iter().any(is_special)
}

/// Whether a value of LD_PRELOAD has the library's path in it.
fn preload_contains(value: &[u8], library: &[u8]) -> bool {
    value
        .split(|&byte| byte == b':' || byte == b' ')
        .any(|entry| entry == library)
}

/// What there is of ours in an environment.
pub struct Scan<'a> {
    envp: Strings,
    library: &'a [u8],
    /// How many strings it has, all in all.
    count: usize,
    /// The value of LD_PRELOAD; the last one, if there are several, as glibc's ld.so has it.
    preload: &'a [u8],
    /// In the order of [`STRINGS`].
    ours: [Variable; 4],
}

/// One of our variables in an environment.
struct Variable {
    /// What it is put back as. Null: it need not be there.
    string: *const c_char,
    /// Whether it is as it has to be. None: it is not there.
    is_right: Option<bool>,
}

impl<'a> Scan<'a> {
    /// # Safety
    /// `envp` is NULL or an array of strings with a NULL at its end, and nobody changes them as long as the result is used.
    pub unsafe fn new(envp: Strings, library: &'a [u8]) -> Self {
        let mut scan = Self {
            envp,
            library,
            count: 0,
            preload: b"",
            ours: STRINGS.each_ref().map(|string| Variable {
                string: string.load(Ordering::Acquire),
                is_right: None,
            }),
        };
        for entry in scan.entries() {
            scan.count += 1;
            let [preload, settings @ ..] = &mut scan.ours;
            // SAFETY: an entry is a string.
            if let Some(value) = unsafe { preload.value_in(entry) } {
                scan.preload = value;
                // Each of them, since musl's ld.so takes the first.
                preload.is_right =
                    Some(preload.is_right != Some(false) && preload_contains(value, library));
            }
            for variable in settings {
                if variable.is_right.is_none() {
                    // SAFETY: an entry is a string.
                    variable.is_right =
                        unsafe { variable.value_in(entry) }.map(|value| !value.is_empty());
                }
            }
        }
        scan
    }

    /// The strings of the environment.
    fn entries(&self) -> impl Iterator<Item = *const c_char> + use<'a> {
        let mut next = self.envp;
        core::iter::from_fn(move || {
            // Linux takes no array for an empty one (execve(2), NOTES).
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

    /// Whether nothing is missing.
    pub fn is_complete(&self) -> bool {
        !self.ours.iter().any(Variable::is_missing)
    }

    /// How many bytes [`Scan::repaired`] needs.
    pub fn size(&self) -> usize {
        self.size_of_array() + PRELOAD.len() + self.library.len() + 1 + self.preload.len() + 1
    }

    fn size_of_array(&self) -> usize {
        (self.count + self.ours.len() + 1) * size_of::<*const c_char>()
    }

    /// The environment with everything in it, written to `memory`. None: it does not fit.
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
            // What is replaced is left out, in all its copies.
            let is_replaced = |variable: &Variable| {
                // SAFETY: an entry is a string.
                variable.is_missing() && unsafe { variable.value_in(entry) }.is_some()
            };
            if !self.ours.iter().any(is_replaced) {
                push(entry)?;
            }
        }
        let [preload, settings @ ..] = &self.ours;
        if preload.is_missing() {
            push(match self.preload {
                b"" => preload.string,
                others => StringBuffer(strings).string(&[PRELOAD, self.library, b":", others])?,
            })?;
        }
        for variable in settings {
            if variable.is_missing() {
                push(variable.string)?;
            }
        }
        push(ptr::null())?;
        Some(start.cast())
    }
}

impl Variable {
    fn is_missing(&self) -> bool {
        !self.string.is_null() && self.is_right != Some(true)
    }

    /// Its value, if `entry` is this variable.
    ///
    /// # Safety
    /// `entry` is a string, and stays as it is as long as the value is used.
    unsafe fn value_in<'a>(&self, entry: *const c_char) -> Option<&'a [u8]> {
        if self.string.is_null() {
            return None;
        }
        // SAFETY: `entry` is a string, and so is ours, which is one of [`STRINGS`].
        unsafe { sys::value_of_same(entry, self.string) }
    }
}

/// Room for strings, one behind the other.
struct StringBuffer<'a>(&'a mut [u8]);

impl StringBuffer<'_> {
    /// Joins the parts and ends them with a NUL. None: they do not fit.
    #[inline(never)]
    fn string(&mut self, parts: &[&[u8]]) -> Option<*const c_char> {
        let mut room = mem::take(&mut self.0);
        let string = room.as_ptr();
        for part in parts.iter().chain(&[&b"\0"[..]]) {
            let (to, behind) = room.split_at_mut_checked(part.len())?;
            to.copy_from_slice(part);
            room = behind;
        }
        self.0 = room;
        Some(string.cast())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_itself_in_a_preload_list() {
        let library = b"/usr/lib/libvrfbind.so";
        for list in [
            &b"/usr/lib/libvrfbind.so"[..],
            b"libother.so:/usr/lib/libvrfbind.so",
            b"libother.so /usr/lib/libvrfbind.so libthird.so",
            b":/usr/lib/libvrfbind.so::",
        ] {
            assert!(preload_contains(list, library), "{}", list.escape_ascii());
        }
        for list in [
            &b""[..],
            b"libother.so",
            b"libvrfbind.so",
            b"/elsewhere/libvrfbind.so",
            b"/usr/$LIB/libvrfbind.so",
            b"./libvrfbind.so",
            b"/usr/lib/libvrfbind.so.1",
        ] {
            assert!(!preload_contains(list, library), "{}", list.escape_ascii());
        }
    }

    #[test]
    fn knows_what_a_preload_list_cannot_name() {
        assert!(is_nameable(b"/usr/lib/libvrfbind.so"));
        for path in [
            &b""[..],
            b"libvrfbind.so",
            b"/usr/my lib/libvrfbind.so",
            b"/usr/my\tlib/libvrfbind.so",
            b"/usr/a:b/libvrfbind.so",
            b"/usr/$LIB/libvrfbind.so",
        ] {
            assert!(!is_nameable(path), "{}", path.escape_ascii());
        }
    }
}
