//! The environment variables, and what their values mean.

use crate::request::Vrf;
use crate::socket::Setting;

/// Names the VRF. Unset, empty or `default`: the library does nothing.
pub const VRF_VARIABLE: &str = "VRFBIND_VRF";

/// `1`: the library seals the process tree ([`crate::filter`]). Unset, empty or `0`: it does not.
pub const SEAL_VARIABLE: &str = "VRFBIND_SEAL";

/// `stderr` or an absolute path: where the library writes a line per decision. Unset or empty: nowhere.
pub const LOG_VARIABLE: &str = "VRFBIND_LOG";

/// Rules ([`crate::list`]), or the absolute path of a file that has them. Unset or empty: there are none.
pub const RULES_VARIABLE: &str = "VRFBIND_RULES";

/// The value of [`LOG_VARIABLE`] that is no path.
pub const STDERR: &[u8] = b"stderr";

/// Size of the log's path with its NUL.
pub const LOG_SIZE: usize = 256;

/// What is asked for besides a VRF.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options<'a> {
    /// Whether a seal is asked for.
    pub seal: bool,
    /// Where the log goes, if there is one.
    pub log: Option<&'a [u8]>,
    /// The rules or their file, if there are any.
    pub rules: Option<&'a [u8]>,
}

/// An invalid value. Every IP socket fails then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Invalid<'a> {
    /// The variable.
    pub variable: &'static str,
    /// Its value.
    pub value: &'a [u8],
    /// The reason, to be put after the value.
    pub why: &'static str,
}

/// What the variables ask for. `value` looks a variable up; empty counts as unset. `is_sealed` returns whether this process
/// is sealed already: a sealed program that left its VRF on purpose still needs the library, since nothing else can create
/// sockets there.
///
/// Not to be called in a process that is more privileged than its caller (AT_SECURE): it ignores the variables.
pub fn parse<'a>(
    value: impl Fn(&'static str) -> Option<&'a [u8]>,
    is_sealed: impl FnOnce() -> bool,
) -> Result<(Setting, Options<'a>), Invalid<'a>> {
    let value = |variable| value(variable).filter(|value| !value.is_empty());
    let invalid = |variable, value, why| Invalid {
        variable,
        value,
        why,
    };
    let vrf = match value(VRF_VARIABLE) {
        None => Setting::Inert,
        Some(name) => match Vrf::of(name) {
            Ok(Vrf::Default) if !is_sealed() => Setting::Inert,
            Ok(vrf) => vrf.into(),
            Err(why) => return Err(invalid(VRF_VARIABLE, name, why.reason())),
        },
    };
    if vrf == Setting::Inert {
        return Ok((vrf, Options::default()));
    }
    let seal = match value(SEAL_VARIABLE) {
        None | Some(b"0") => false,
        Some(b"1") => true,
        Some(other) => return Err(invalid(SEAL_VARIABLE, other, "it is neither 0 nor 1")),
    };
    let log = match value(LOG_VARIABLE) {
        Some(path) if path.len() >= LOG_SIZE => {
            return Err(invalid(LOG_VARIABLE, path, "it is longer than 255 bytes"));
        }
        Some(path) if path != STDERR && path.first() != Some(&b'/') => {
            return Err(invalid(
                LOG_VARIABLE,
                path,
                "it is neither \"stderr\" nor an absolute path",
            ));
        }
        log => log,
    };
    let rules = value(RULES_VARIABLE);
    Ok((vrf, Options { seal, log, rules }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::DeviceName;

    fn parsed(
        vrf: &'static [u8],
        seal: &'static [u8],
        log: &'static [u8],
        is_sealed: bool,
    ) -> Result<(Setting, Options<'static>), &'static str> {
        let value = |variable| match variable {
            VRF_VARIABLE => Some(vrf),
            SEAL_VARIABLE => Some(seal),
            LOG_VARIABLE => Some(log),
            _ => None,
        };
        parse(value, || is_sealed).map_err(|invalid| invalid.variable)
    }

    #[test]
    fn rules_are_passed_on_as_they_are_where_a_vrf_is_asked_for() {
        let rules = |vrf, rules| {
            let value = move |variable| match variable {
                VRF_VARIABLE => Some(vrf),
                RULES_VARIABLE => Some(rules),
                _ => None,
            };
            parse(value, || false).map(|(_, options)| options.rules)
        };
        assert_eq!(rules(b"blue", b""), Ok(None));
        assert_eq!(rules(b"blue", b"/file"), Ok(Some(&b"/file"[..])));
        assert_eq!(rules(b"blue", b"nonsense"), Ok(Some(&b"nonsense"[..])));
        assert_eq!(rules(b"default", b"nonsense"), Ok(None));
    }

    #[test]
    fn values_mean_what_the_manual_says() {
        let device = |name: &[u8]| Setting::Device(DeviceName::new(name).unwrap());
        let options = |seal, log| Options {
            seal,
            log,
            rules: None,
        };
        let nothing = Options::default();
        const LONG: [u8; LOG_SIZE] = [b'/'; LOG_SIZE];
        for (vrf, seal, log, is_sealed, expected) in [
            (
                &b""[..],
                &b""[..],
                &b""[..],
                false,
                Ok((Setting::Inert, nothing)),
            ),
            (b"", b"2", b"x", true, Ok((Setting::Inert, nothing))),
            (b"default", b"", b"", false, Ok((Setting::Inert, nothing))),
            (
                b"default",
                b"1",
                b"",
                true,
                Ok((Setting::Default, options(true, None))),
            ),
            (b"blue", b"", b"", false, Ok((device(b"blue"), nothing))),
            (b"blue", b"0", b"", true, Ok((device(b"blue"), nothing))),
            (
                b"blue",
                b"1",
                b"",
                false,
                Ok((device(b"blue"), options(true, None))),
            ),
            (
                b"blue",
                b"",
                STDERR,
                false,
                Ok((device(b"blue"), options(false, Some(STDERR)))),
            ),
            (
                b"blue",
                b"",
                b"/l",
                false,
                Ok((device(b"blue"), options(false, Some(b"/l")))),
            ),
            (b"a/b", b"", b"", false, Err(VRF_VARIABLE)),
            (b"blue", b"yes", b"", false, Err(SEAL_VARIABLE)),
            (b"blue", b"", b"log", false, Err(LOG_VARIABLE)),
            (b"blue", b"", &LONG, false, Err(LOG_VARIABLE)),
        ] {
            assert_eq!(
                parsed(vrf, seal, log, is_sealed),
                expected,
                "{}",
                vrf.escape_ascii()
            );
        }
    }
}
