//! The OCI runtime that has called a hook, and how a message gets to its user.
//!
//! runc prints what a hook writes to standard error. crun (1.8) gives hooks /dev/null, and reports only an exit status.
//! So the message goes to where crun itself would write it: to crun's standard error, and to its log (`--log FILE
//! --log-format=json`). podman (4.3) shows its user the log, if that is one JSON object, and otherwise standard error,
//! where our line then comes first.

use crate::output::{self, text};
use serde_json::json;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// The channels to a runtime that does not read its hooks' output.
pub struct Runtime {
    standard_error: Option<File>,
    log: Option<(File, Format)>,
}

#[derive(Clone, Copy)]
enum Format {
    Text,
    Json,
}

impl Runtime {
    /// The process that has called this one, by the machine's /proc: not by getppid(2), which follows the PID namespace
    /// of the container. None: it reads the hooks' output, or is not a known runtime.
    pub fn deaf_caller() -> Option<Self> {
        const DEV_NULL: u64 = 0x103;
        let ours = fs::metadata("/proc/self/fd/2").ok()?;
        if !ours.file_type().is_char_device() || ours.rdev() != DEV_NULL {
            return None;
        }
        let status = text(&fs::read("/proc/self/status").ok()?);
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
        let parent: u32 = parent.trim().parse().ok()?;
        let command = fs::read(format!("/proc/{parent}/cmdline")).ok()?;
        let log = log(&command).and_then(|(path, format)| Some((append_to(path)?, format)));
        Some(Self {
            standard_error: append_to(Path::new(&format!("/proc/{parent}/fd/2"))),
            log,
        })
    }

    pub fn tell(self, sentence: &str) {
        let sentence = format!("vrfbind: {sentence}");
        let mut line = String::new();
        output::line(&mut line, &sentence);
        // If this fails, there is nobody to tell.
        if let Some(mut standard_error) = self.standard_error {
            let _ = standard_error.write_all(line.as_bytes());
        }
        if let Some((mut log, format)) = self.log {
            let line = match format {
                Format::Text => line,
                Format::Json => {
                    output::json(&json!({"msg": sentence, "level": "error"}).to_string())
                }
            };
            let _ = log.write_all(line.as_bytes());
        }
    }
}

fn append_to(path: &Path) -> Option<File> {
    let mut options = File::options();
    options
        .append(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    options.open(path).ok()
}

/// The log that a runtime's command line names, which is one for runc and crun.
fn log(command: &[u8]) -> Option<(&Path, Format)> {
    let words: Vec<_> = command.split(|byte| *byte == 0).collect();
    let value = |option: &[u8]| {
        words
            .iter()
            .zip(words.iter().skip(1))
            .find_map(|(word, next)| match word.strip_prefix(option)? {
                b"" => Some(*next),
                rest => rest.strip_prefix(b"="),
            })
    };
    let format = match value(b"--log-format") {
        Some(b"json") => Format::Json,
        _ => Format::Text,
    };
    let path = Path::new(OsStr::from_bytes(value(b"--log")?));
    path.is_absolute().then_some((path, format))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtimes_log_is_named_by_its_command_line() {
        let log = |words: &[&str]| {
            let command = words.join("\0") + "\0";
            let (path, format) = log(command.as_bytes())?;
            Some((path.display().to_string(), matches!(format, Format::Json)))
        };
        let path = || "/x/log".to_owned();
        for words in [
            &["crun", "--log-format=json", "--log", "/x/log", "create"][..],
            &["crun", "--log=/x/log", "--log-format", "json", "create"],
        ] {
            assert_eq!(log(words), Some((path(), true)), "{words:?}");
        }
        assert_eq!(
            log(&["crun", "--log", "/x/log", "run"]),
            Some((path(), false))
        );
        for words in [
            &["crun", "run", "x"][..],
            &["crun", "--log", "x"],
            &["crun", "--log"],
            &[],
        ] {
            assert_eq!(log(words), None, "{words:?}");
        }
    }
}
