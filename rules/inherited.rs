//! Which of its inherited descriptors are meant for a program: those that a service manager passes (sd_listen_fds(3)).
//! All others belong to whoever left them open, and to all other processes that have inherited them.

use core::ops::Range;
use libc::c_int;

/// The PID of the process that the descriptors are for. A child inherits the variable, although they are not meant for it.
pub const LISTEN_PID: &str = "LISTEN_PID";

/// How many there are.
pub const LISTEN_FDS: &str = "LISTEN_FDS";

/// The first of them (SD_LISTEN_FDS_START).
const FIRST: c_int = 3;

/// The descriptors that are passed to the process `pid`. `value` looks a variable up.
pub fn passed<'a>(value: impl Fn(&'static str) -> Option<&'a [u8]>, pid: c_int) -> Range<c_int> {
    let number = |variable| value(variable).and_then(number);
    match number(LISTEN_FDS) {
        Some(count) if number(LISTEN_PID) == Some(pid) => FIRST..FIRST.saturating_add(count),
        _ => 0..0,
    }
}

#[inline(never)]
fn number(text: &[u8]) -> Option<c_int> {
    let mut number: c_int = 0;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(digit.into())?;
    }
    (!text.is_empty()).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_meant_for_one_process() {
        for (pid, count, expected) in [
            ("7", "2", 3..5),
            ("7", "0", 3..3),
            ("7", "2147483647", 3..c_int::MAX),
            ("8", "2", 0..0),
            ("", "2", 0..0),
            ("7", "", 0..0),
            ("7", "-1", 0..0),
            ("7", "2147483648", 0..0),
            ("7 ", "2", 0..0),
            ("0x7", "2", 0..0),
        ] {
            let value = |variable| match variable {
                LISTEN_PID => Some(pid.as_bytes()),
                LISTEN_FDS => Some(count.as_bytes()),
                _ => None,
            };
            assert_eq!(passed(value, 7), expected, "{pid:?} {count:?}");
        }
        assert_eq!(passed(|_| None, 7), 0..0);
    }
}
