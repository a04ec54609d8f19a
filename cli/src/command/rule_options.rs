//! Rules for a program from options (VRFBIND_RULES, libvrfbind(7)).

use crate::failure::{Failure, refuse};
use crate::output::word;
use crate::sys;
use clap::ArgMatches;
use clap::error::{ContextKind, ContextValue};
use rules::list::parse::parse;
use rules::list::{Rule, To};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

#[derive(clap::Args)]
pub struct RuleOptions {
    /// Add a rule, in the syntax of RULES in libvrfbind(7). May be given several times; the first rule that matches
    /// decides
    #[arg(long = "rule", value_name = "RULE")]
    rules: Vec<OsString>,

    /// Put sockets for 127.0.0.0/8 and ::1 on DEVICE, by default "lo". This is the rule "loopback DEVICE", after all
    /// other rules
    #[arg(long, value_name = "DEVICE", num_args = 0..=1, require_equals = true, default_missing_value = "lo")]
    loopback: Option<OsString>,
}

impl RuleOptions {
    /// The value of VRFBIND_RULES, if the options set it. In a frame of its own: a list has 4 KiB, and the supervisor
    /// keeps the stack of `exec`.
    #[inline(never)]
    pub fn value(&self) -> Result<Option<OsString>, Failure> {
        let mut rules = self.rules.clone();
        if let Some(device) = &self.loopback {
            let mut rule = OsString::from("loopback ");
            rule.push(device);
            rules.push(rule);
        }
        if rules.is_empty() {
            return Ok(None);
        }
        let value = rules.join(OsStr::new("; "));
        let list = parse(value.as_bytes()).map_err(|invalid| refuse(invalid.to_string()))?;
        list.rules().try_for_each(is_own_name)?;
        Ok(Some(value))
    }
}

/// `--loopback lo`: the device of this option follows an `=`, and clap takes a detached one for the VRF, for COMMAND, or
/// for a word too many, which is its error. Returns the sentence.
pub fn detached_device(
    arguments: &[OsString],
    parsed: &Result<ArgMatches, clap::Error>,
) -> Option<String> {
    // The first one is ours: what follows COMMAND comes later.
    let is_option = |word: &OsString| {
        let rest = word.as_bytes().strip_prefix(b"--loopback");
        rest.is_some_and(|rest| matches!(rest, [] | [b'=', ..]))
    };
    let at = arguments.iter().position(is_option)?;
    if arguments.get(at)? != "--loopback" {
        return None;
    }
    let next = arguments.get(at + 1)?.to_str()?;
    let is_device = ["lo", "auto"].contains(&next);
    let is_meant = match parsed {
        // Otherwise it is an option of COMMAND's.
        Ok(matches) => {
            let options = matches.subcommand().map(|(_, options)| options);
            is_device && options?.try_contains_id("loopback").unwrap_or(false)
        }
        Err(error) => match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(unexpected)) => {
                unexpected == next || is_device && !unexpected.starts_with('-')
            }
            _ => false,
        },
    };
    is_meant.then(|| {
        let next = word(next);
        format!(
            "--loopback {next}: the device of --loopback follows an \"=\"; write --loopback={next}, or --loopback -- {next} if \
             {next} is the VRF or COMMAND"
        )
    })
}

/// Rules are compared with the names that the kernel returns, which are the devices' own.
fn is_own_name(rule: &Rule) -> Result<(), Failure> {
    let To::Device(device) = rule.to() else {
        return Ok(());
    };
    match sys::real_name(&device) {
        Ok(own) if own != device => Err(refuse(format!(
            "{device} is an alternative name of {own}; write {own} in the rule"
        ))),
        // The device may be created later.
        _ => Ok(()),
    }
}
