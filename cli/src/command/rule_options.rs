//! The rules that options give to a program (VRFBIND_RULES, libvrfbind(7)).

use crate::failure::{Failure, refuse};
use rules::list::parse::parse;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

#[derive(clap::Args)]
pub struct RuleOptions {
    /// A rule of VRFBIND_RULES, as libvrfbind(7) has them; may be given several times
    #[arg(long = "rule", value_name = "RULE")]
    rules: Vec<OsString>,

    /// 127.0.0.1 and ::1 are those of a device, of "lo" if none is given: the rule "loopback DEVICE", after all others
    #[arg(long, value_name = "DEVICE", num_args = 0..=1, require_equals = true, default_missing_value = "lo")]
    loopback: Option<OsString>,
}

impl RuleOptions {
    /// What VRFBIND_RULES shall be, if the options say so. In a frame of its own: a list is 4 KiB, and the supervisor keeps
    /// the stack of `exec`.
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
        match parse(value.as_bytes()) {
            Ok(_) => Ok(Some(value)),
            Err(invalid) => Err(refuse(invalid.to_string())),
        }
    }
}
