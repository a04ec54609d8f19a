//! A running machine, which executes one command after the other: tests/machine.sh --serve.

use crate::place::Place;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

pub struct Machine {
    child: Child,
    commands: ChildStdin,
    statuses: BufReader<ChildStdout>,
}

/// Why there is no machine any more.
pub enum Gone {
    /// It has not started.
    Never,
    /// It was stopped, because the command made no progress.
    Hung,
    /// It has ended before the command did.
    Early(String),
}

impl Machine {
    pub fn boot(place: &Place, name: &str) -> Result<Self, Gone> {
        // It ends when this thread ends, for whatever reason.
        let mut command = Command::new("setpriv");
        place.set(&mut command);
        command
            .args(["--pdeathsig", "TERM"])
            .arg(place.script("machine.sh"))
            .args([name, "--serve"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command
            .spawn()
            .map_err(|error| Gone::Early(format!("{command:?}: {error}")))?;
        let (Some(commands), Some(statuses)) = (child.stdin.take(), child.stdout.take()) else {
            unreachable!("both are piped");
        };
        Ok(Self {
            child,
            commands,
            statuses: BufReader::new(statuses),
        })
    }

    /// Runs a command to its end, and returns its exit status. Its output is in the files `out`.out and `out`.err.
    pub fn run(&mut self, out: &Path, command: &[&OsStr]) -> Result<i32, Gone> {
        let words: Vec<_> = [out.as_os_str()]
            .iter()
            .chain(command)
            .map(|word| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''")))
            .collect();
        let mut answer = String::new();
        // An error means that the machine has ended, which is checked below.
        let _ = writeln!(self.commands, "{}", words.join(" "));
        let _ = self.statuses.read_line(&mut answer);
        if let Ok(status) = answer.trim_end().parse() {
            return Ok(status);
        }
        match self.child.wait().map(|status| status.code()) {
            Ok(Some(125)) => Err(Gone::Never),
            Ok(Some(124)) => Err(Gone::Hung),
            how => Err(Gone::Early(format!("machine.sh: {how:?}"))),
        }
    }

    /// It ends at the end of its commands.
    pub fn end(self) {
        let Self {
            mut child,
            commands,
            ..
        } = self;
        drop(commands);
        let _ = child.wait();
    }
}
