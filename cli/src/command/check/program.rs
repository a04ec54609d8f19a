//! The program: the verdict on it, and AppArmor profiles.

use super::Findings;
use super::probe::probe_program;
use crate::program::{self, Program};
use crate::supervisor::Obstacle;
use crate::values::Subject;
use crate::{file, sys};
use rules::executable::Verdict;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::{env, fs};
pub(super) fn find(findings: &mut Findings, command: &OsStr) -> Option<Program> {
    match Program::find(command, env::var_os("PATH")) {
        Ok(program) => Some(program),
        Err(failure) => {
            findings.fail(Subject::Program, failure.sentence);
            None
        }
    }
}

/// With a preload only, as in a unit.
pub(super) fn the_program_under_preload(findings: &mut Findings, command: &[OsString]) {
    let Some(program) = command.first().and_then(|command| find(findings, command)) else {
        return;
    };
    let (runs, sentence) = (program.runs.display(), program.verdict.sentence());
    let remedy = match program.verdict {
        Verdict::Preloaded | Verdict::Exempt => {
            return findings.ok(Subject::Program, format!("{runs} is {sentence}"));
        }
        Verdict::SetId => "; start it as the user that it changes to (User=)",
        _ if program::needs_supervisor(&program) => {
            "; put `vrfbind exec VRF` in front of it in the unit's ExecStart="
        }
        _ => "",
    };
    findings.fail(Subject::Program, format!("{runs} is {sentence}{remedy}"));
}

pub(super) fn the_program(
    findings: &mut Findings,
    command: &OsStr,
    library: Option<&Path>,
    supervised: Result<(), Obstacle>,
) {
    let Some(program) = find(findings, command) else {
        return;
    };
    let (runs, sentence) = (program.runs.display(), program.verdict.sentence());
    if let Err(failure) = program::reject_unsupported(&program, sys::seal_state()) {
        return findings.fail(Subject::Program, failure.sentence);
    }
    match program.verdict {
        Verdict::Preloaded => {
            let ours = probe_program().and_then(|probe| program::loader(&probe));
            let theirs = program::loader(&program.runs);
            let tier = if ours == theirs {
                "it uses the probe's libc, and what was found for the probe holds for it"
            } else {
                "it uses another libc than the probe: whether that is patched, vrfbind status says once it runs"
            };
            findings.ok(Subject::Program, format!("{runs} is {sentence}; {tier}"));
        }
        _ if program::needs_supervisor(&program) => match supervised {
            Ok(()) => findings.warn(
                Subject::Program,
                format!(
                    "{runs} is {sentence}; `vrfbind exec` serves it with a supervisor; in a unit, put `vrfbind exec \
                     VRF` in front of it in ExecStart="
                ),
            ),
            Err(obstacle) => findings.fail(
                Subject::Program,
                format!(
                    "{runs} is {sentence}, and it cannot be supervised here: {obstacle}; ip vrf exec may serve it"
                ),
            ),
        },
        Verdict::Exempt => findings.ok(Subject::Program, format!("{runs} is {sentence}")),
        Verdict::Other => findings.warn(Subject::Program, format!("{runs} is {sentence}")),
        _ => findings.fail(Subject::Program, format!("{runs} is {sentence}")),
    }
    if let Some(library) = library {
        apparmor(findings, &program.runs, library, Path::new("/"));
    }
}

/// Reports profiles below /etc/apparmor.d that apply to the program and do not let it map the library.
pub(super) fn apparmor(findings: &mut Findings, program: &Path, library: &Path, root: &Path) {
    let is_on = file::read(&root.join("sys/module/apparmor/parameters/enabled"));
    if !is_on.is_ok_and(|is_on| is_on.trim() == "Y") {
        return findings.ok(Subject::AppArmor, "is not active");
    }
    let real = fs::canonicalize(program).unwrap_or_else(|_| program.to_owned());
    let profiles = fs::read_dir(root.join("etc/apparmor.d"))
        .into_iter()
        .flatten()
        .flatten();
    let mut found = false;
    for profile in profiles.map(|entry| entry.path()) {
        let Ok(text) = file::read(&profile) else {
            continue;
        };
        if !is_profile_of(&text, &real) {
            continue;
        }
        found = true;
        let name = profile
            .file_name()
            .unwrap_or_default()
            .display()
            .to_string();
        let local = root.join("etc/apparmor.d/local").join(&name);
        let text = text + &file::read(&local).unwrap_or_default();
        if allows(&text, library) {
            findings.ok(
                Subject::AppArmor,
                format!("{} lets it map the library", profile.display()),
            );
        } else {
            findings.warn(
                Subject::AppArmor,
                format!(
                    "{} may deny it the library, and ld.so would then only warn; add \"{} mr,\" to \
                     /etc/apparmor.d/local/{name}",
                    profile.display(),
                    library.display()
                ),
            );
        }
    }
    if !found {
        findings.ok(
            Subject::AppArmor,
            format!("no profile below /etc/apparmor.d is for {}", real.display()),
        );
    }
}

/// `profile NAME /path {` or `/path {`; patterns in paths are not read.
pub(super) fn is_profile_of(text: &str, program: &Path) -> bool {
    let program = program.to_string_lossy();
    let usual = program.strip_prefix("/usr").unwrap_or(&program);
    text.lines()
        .filter(|line| line.trim_end().ends_with('{'))
        .any(|line| {
            line.split_whitespace().any(|word| {
                let word = word
                    .trim_matches('"')
                    .replace("/{,usr/}", "/")
                    .replace("/{usr/,}", "/");
                word == program || word == usual
            })
        })
}

/// abstractions/base lets a program map what lies below /lib and /usr/lib, and nothing below /usr/local.
pub(super) fn allows(text: &str, library: &Path) -> bool {
    let in_base = library.starts_with("/usr/lib") || library.starts_with("/lib");
    text.contains("libvrfbind") || in_base && text.contains("abstractions/base")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_profile_of_a_program() {
        let profile = "profile dnsmasq /{,usr/}sbin/dnsmasq flags=(attach_disconnected) {\n include \
                       <abstractions/base>\n}\n";
        assert!(is_profile_of(profile, Path::new("/usr/sbin/dnsmasq")));
        assert!(!is_profile_of(profile, Path::new("/usr/sbin/radvd")));
        assert!(is_profile_of(
            "/usr/sbin/ntpd {\n",
            Path::new("/usr/sbin/ntpd")
        ));
        assert!(allows(profile, Path::new("/usr/lib/libvrfbind.so")));
        assert!(!allows(profile, Path::new("/usr/local/lib/libvrfbind.so")));
        assert!(allows(
            "/usr/local/lib/libvrfbind.so mr,",
            Path::new("/usr/local/lib/libvrfbind.so")
        ));
    }

    #[test]
    fn mutated_profiles() {
        let valid =
            b"profile dnsmasq /{,usr/}sbin/dnsmasq flags=(attach_disconnected) {\n include \
                      <abstractions/base>\n}\n";
        crate::fuzz::each_input(&[valid], |text| {
            let text = String::from_utf8_lossy(text);
            is_profile_of(&text, Path::new("/usr/sbin/dnsmasq"));
            allows(&text, Path::new("/usr/lib/libvrfbind.so"));
        });
    }
}
