//! /proc/PID/environ: strings NAME=VALUE, each with a NUL at its end.

/// The value of the first variable of this name in a part of an environment; the first counts, as in the library. A last
/// string without its end is ignored.
pub fn value<'a>(environ: &'a [u8], name: &str) -> Option<&'a [u8]> {
    environ
        .split_inclusive(|&byte| byte == 0)
        .filter_map(|string| string.strip_suffix(&[0]))
        .find_map(|string| string.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}
