//! The commands of a unit (systemd.service(5), Command lines): each command of its Exec…= settings, the verdict on its
//! program, and how `vrfbind exec` is put before it.

use super::read::Unit;
use super::root::Root;
use super::syntax::{Word, literal, quoted, without_variables, words};
use crate::failure::{Failure, refuse};
use crate::sys;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, fstat};
use nix::sys::statvfs::{FsFlags, fstatvfs};
use rules::executable::{self, Inode, Process, Verdict};
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The settings that have commands, in the order in which systemd runs them.
const SETTINGS: [&str; 7] = [
    "ExecCondition",
    "ExecStartPre",
    "ExecStart",
    "ExecStartPost",
    "ExecReload",
    "ExecStop",
    "ExecStopPost",
];

/// The directories in which systemd looks for a program that is named without a `/`.
const DIRECTORIES: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// How a unit's commands are started.
pub struct Commands {
    /// Programs of ExecStart= that the library is preloaded into, and the prefixes of their commands that decide about
    /// their
    /// rights.
    pub preloaded: Vec<(String, String)>,
    /// Settings whose commands `vrfbind exec` starts, with these.
    pub supervised: Vec<(&'static str, Vec<String>)>,
}

impl Commands {
    /// `exec`: the words of `vrfbind exec` that come before a command.
    pub fn of(unit: &Unit, root: &Root, exec: &[&str]) -> Result<Self, Failure> {
        let (mut preloaded, mut supervised) = (Vec::new(), Vec::new());
        for setting in SETTINGS {
            let lines = unit.values("Service", setting);
            let commands: Vec<_> = lines.iter().flat_map(|line| commands(line)).collect();
            let mut is_supervised = false;
            for command in &commands {
                match command.verdict(unit, root) {
                    Some(verdict @ (Verdict::SetId | Verdict::OtherArchitecture)) => {
                        return Err(refuse(format!(
                            "{setting}= of {} starts {}, which is {}",
                            unit.id,
                            command.program,
                            verdict.sentence()
                        )));
                    }
                    Some(Verdict::Go | Verdict::Static | Verdict::FileCapabilities) => {
                        is_supervised = true;
                    }
                    _ => {}
                }
            }
            if is_supervised {
                let lines = commands.iter().map(|command| command.behind(exec));
                supervised.push((setting, lines.collect::<Result<_, _>>()?));
            } else if setting == "ExecStart" {
                preloaded = commands.iter().map(Command::checked).collect();
                preloaded.dedup();
            }
        }
        Ok(Self {
            preloaded,
            supervised,
        })
    }

    pub fn is_main_supervised(&self) -> bool {
        self.supervised
            .iter()
            .any(|(setting, _)| *setting == "ExecStart")
    }
}

/// A command of a unit.
#[derive(Debug, PartialEq, Eq)]
struct Command {
    /// Some of `@-:+!|`.
    prefix: String,
    /// Its program, with unresolved specifiers.
    program: String,
    /// The rest, unchanged.
    arguments: String,
}

/// The commands of a line, separated by `;`.
fn commands(line: &str) -> Vec<Command> {
    let words = words(line);
    let commands = words.split(|word| word.raw == ";");
    let command = |words: &[Word]| {
        let (first, rest) = words.split_first()?;
        let program = first
            .text
            .trim_start_matches(['@', '-', ':', '+', '!', '|']);
        let (prefix, _) = first.text.split_at(first.text.len() - program.len());
        let arguments: Vec<_> = rest.iter().map(|word| word.raw).collect();
        (!program.is_empty()).then(|| Command {
            prefix: prefix.to_owned(),
            program: program.to_owned(),
            arguments: arguments.join(" "),
        })
    };
    commands.filter_map(command).collect()
}

impl Command {
    fn has_prefix(&self, prefix: char) -> bool {
        self.prefix.contains(prefix)
    }

    /// Its program as a check names it, and the prefixes that decide about its rights.
    fn checked(&self) -> (String, String) {
        (self.rights(), quoted(&without_variables(&self.program)))
    }

    fn rights(&self) -> String {
        self.prefix
            .chars()
            .filter(|&c| c == '+' || c == '!')
            .collect()
    }

    /// The verdict on the program. None: it does not exist, or its path cannot be known in advance.
    fn verdict(&self, unit: &Unit, root: &Root) -> Option<Verdict> {
        let is_elsewhere = ["RootDirectory", "RootImage"]
            .into_iter()
            .any(|setting| !unit.value(setting).is_empty());
        let program = unit.resolved(&self.program).filter(|_| !is_elsewhere)?;
        let id = match self.rights().is_empty() {
            true => user(unit, root),
            false => 0,
        };
        let process = Process {
            uid: id,
            euid: id,
            gid: id,
            egid: id,
            no_new_privs: unit.is_set("NoNewPrivileges"),
        };
        let paths = match program.starts_with('/') {
            true => vec![PathBuf::from(program)],
            false => DIRECTORIES
                .map(|directory| Path::new(directory).join(&program))
                .into(),
        };
        let file = paths
            .iter()
            .find_map(|path| Candidate::open(root, path).ok())?;
        let (verdict, _) = executable::judge(file, &process).ok()?;
        Some(verdict)
    }

    /// The command with this one, `vrfbind exec`, before it.
    fn behind(&self, exec: &[&str]) -> Result<String, Failure> {
        let refused = |why: &str| {
            refuse(format!(
                "{}{} {}: {why}; write vrfbind exec into the unit by hand",
                self.prefix, self.program, self.arguments
            ))
        };
        if self.has_prefix('|') {
            return Err(refused(
                "the prefix | gives the command to a shell, and vrfbind exec cannot be put in front of it",
            ));
        }
        let mut arguments = self.arguments.as_str();
        if self.has_prefix('@') {
            let words = words(arguments);
            if words.first().is_none_or(|name| name.text != self.program) {
                return Err(refused(
                    "vrfbind exec cannot give its program another name, as the prefix @ does",
                ));
            }
            arguments = words.get(1).map_or("", |word| word.from);
        }
        let prefix = self.prefix.replace('@', "");
        let exec = line(exec, self.has_prefix(':'));
        // In the first word there are no variables.
        let program = match self.has_prefix(':') {
            true => self.program.clone(),
            false => without_variables(&self.program),
        };
        let line = format!("{prefix}{exec} {} {arguments}", quoted(&program));
        Ok(line.trim_end().to_owned())
    }
}

/// A command line whose words systemd leaves unchanged. `is_bare`: it has the prefix `:`, and `$` has no meaning.
pub fn line(words: &[&str], is_bare: bool) -> String {
    let words = words.iter().enumerate().map(|(index, word)| {
        let word = literal(word);
        match index == 0 || is_bare {
            true => quoted(&word),
            false => quoted(&without_variables(&word)),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Whether all of its main commands are started as root, whoever the unit's user is; and whether with all capabilities.
pub fn main_rights(unit: &Unit, root: &Root) -> (bool, bool) {
    let lines = unit.values("Service", "ExecStart");
    let commands: Vec<_> = lines.iter().flat_map(|line| commands(line)).collect();
    let all = |prefixes: &str| {
        let mut commands = commands.iter();
        commands.all(|command| command.prefix.contains(|c| prefixes.contains(c)))
    };
    (user(unit, root) == 0 || all("+!"), all("+"))
}

/// The user as whom the unit's commands run.
fn user(unit: &Unit, root: &Root) -> u32 {
    const NOBODY: u32 = 65534;
    let name = unit.value("User");
    if unit.is_set("DynamicUser") {
        return NOBODY;
    }
    if name.is_empty() {
        return 0;
    }
    let users = root
        .read(Path::new("/etc/passwd"))
        .ok()
        .flatten()
        .unwrap_or_default();
    let users = String::from_utf8_lossy(&users);
    let id = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    });
    id.or_else(|| name.parse().ok()).unwrap_or(NOBODY)
}

/// A program below the root.
struct Candidate<'a> {
    root: &'a Root,
    file: File,
}

impl<'a> Candidate<'a> {
    fn open(root: &'a Root, path: &Path) -> Result<Self, Errno> {
        let file = root.open_at(path, OFlag::O_RDONLY)?;
        let kind = SFlag::from_bits_truncate(fstat(&file)?.st_mode);
        if kind & SFlag::S_IFMT != SFlag::S_IFREG {
            return Err(Errno::EACCES);
        }
        let file = file.into();
        Ok(Self { root, file })
    }
}

impl executable::File for Candidate<'_> {
    type Error = Errno;

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Option<usize> {
        self.file.read_at(buffer, offset).ok()
    }

    fn inode(&self) -> Inode {
        let Ok(file) = fstat(&self.file) else {
            return Inode::default();
        };
        let mount = fstatvfs(&self.file);
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        Inode {
            mode: file.st_mode,
            uid: file.st_uid,
            gid: file.st_gid,
            is_nosuid: mount.is_ok_and(|mount| mount.flags().contains(FsFlags::ST_NOSUID)),
            capabilities: sys::file_capabilities(Path::new(&path)),
        }
    }

    fn interpreter(self, path: &CStr) -> Result<Self, Errno> {
        Self::open(self.root, Path::new(OsStr::from_bytes(path.to_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_keep_their_prefixes_and_arguments() {
        let found = commands("-/a \"b c\" $D ; @!\"/opt/my app\" name \\; %i");
        assert_eq!(
            found,
            [
                Command {
                    prefix: "-".into(),
                    program: "/a".into(),
                    arguments: "\"b c\" $D".into()
                },
                Command {
                    prefix: "@!".into(),
                    program: "/opt/my app".into(),
                    arguments: "name \\; %i".into()
                },
            ]
        );
    }

    #[test]
    fn vrfbind_exec_comes_before_them() {
        let behind = |line: &str| {
            let command = commands(line).remove(0);
            command.behind(&["/v", "exec", "--", "$b%"]).ok()
        };
        for (line, expected) in [
            ("/a", "/v exec -- $$b%% /a"),
            (
                "-+/a%i/$x \"$y\" $$",
                "-+/v exec -- $$b%% /a%i/$$x \"$y\" $$",
            ),
            (":/$x $y", ":/v exec -- $b%% /$x $y"),
            ("'-/a b'", "-/v exec -- $$b%% \"/a b\""),
            ("@/a /a b", "/v exec -- $$b%% /a b"),
        ] {
            assert_eq!(behind(line).as_deref(), Some(expected));
        }
        assert_eq!(behind("@/a other b"), None);
        assert_eq!(behind("|/a"), None);
    }

    #[test]
    fn mutated_commands() {
        let valid: [&[u8]; 2] = [b"-@/a b 'c d' ; +!/e f\\; ;", b":|/usr/sbin/x $A ${B} %i"];
        crate::fuzz::each_input(&valid, |line| {
            commands(&String::from_utf8_lossy(line));
        });
    }
}
