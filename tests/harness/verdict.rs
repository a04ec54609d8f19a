//! The output of a test program, and the test's verdict on it.

use crate::tap;
use libtest_mimic::{Completion, Failed};
use std::env;
use std::fmt::Write as _;
use std::process::{Command, Stdio};

/// What a program printed, and its exit status: none if a signal ended it.
pub struct Output {
    pub stdout: String,
    pub stderr: String,
    pub status: Option<i32>,
}

impl Output {
    /// Runs a command to its end.
    pub fn of(command: &mut Command) -> Result<Self, Failed> {
        let output = command
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("{command:?}: {error}"))?;
        Ok(Self {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            status: output.status.code(),
        })
    }

    /// Passes if standard output is TAP that passes.
    pub fn judge(&self) -> Result<Completion, Failed> {
        let points = tap::read(&self.stdout).map_err(|why| self.fails(&why))?;
        if points.not_ok > 0 {
            let all = points.ok + points.not_ok;
            return Err(self.fails(&format!("{} of {all} not ok", points.not_ok)));
        }
        if self.status != Some(0) {
            return Err(self.fails(&format!("all ok, but the exit status is {:?}", self.status)));
        }
        if points.skipped.is_empty() {
            Ok(Completion::Completed)
        } else if points.skipped.len() == points.ok {
            skip(&points.skipped.join("; "))
        } else if must_run() {
            Err(self.fails("skips are forbidden"))
        } else {
            for reason in points.skipped {
                eprintln!("# skipped: {reason}");
            }
            Ok(Completion::Completed)
        }
    }

    /// The complaint, and all output of the program.
    pub fn fails(&self, why: &str) -> Failed {
        let mut text = format!("{why}\n{}", self.stdout);
        for line in self.stderr.lines() {
            let _ = writeln!(text, "# stderr: {line}");
        }
        text.into()
    }
}

fn must_run() -> bool {
    env::var_os("VRFBIND_MUST_RUN").is_some_and(|value| value == "1")
}

/// A skip, or a failure where skips are forbidden.
pub fn skip(reason: &str) -> Result<Completion, Failed> {
    if must_run() {
        Err(format!("may not be skipped (VRFBIND_MUST_RUN=1): {reason}").into())
    } else {
        Ok(Completion::ignored_with(reason))
    }
}
