//! `vrfbind hook VRF`: the OCI hook of a CDI device (createContainer), which judges a container before it starts.
//!
//! It is called by the runtime, as root of the container's user namespace, in the container's other namespaces, with this
//! machine's root directory and the container's state on standard input. In order: read the bundle's config.json; check
//! its environment and the device; enter the container's root and become its user; judge the entry program as `vrfbind
//! exec` does ([`Program::find`]), and check the library as the program will find it. The exit status decides whether the
//! container is created.
//!
//! Nothing of the container is executed. It is untrusted: after chroot(2) no path leads out of its root, and what is
//! read of it is limited.
//!
//! Only the entry program is judged. The programs that it starts are left to the library and the seal.

use super::runtime::Runtime;
use super::{COMMAND, LIBRARY};
use crate::command::exec::find_device;
use crate::failure::{Failure, refuse};
use crate::output::{text, word};
use crate::program::Program;
use crate::{file, library};
use nix::sys::prctl::set_no_new_privs;
use nix::unistd::{Gid, Uid, chdir, chroot, setgroups, setresgid, setresuid};
use rules::executable::Server;
use rules::{RULES_VARIABLE, SEAL_VARIABLE, VRF_VARIABLE, preload};
use serde::Deserialize;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Judge a container, called by its runtime
#[derive(clap::Args)]
#[command(hide = true)]
pub struct Args {
    /// The VRF of its device
    vrf: OsString,
    /// Take a device that is not a VRF
    #[arg(long)]
    any_device: bool,
    /// Let the container be without a seal
    #[arg(long)]
    no_seal: bool,
    /// The VRFBIND_RULES of its device
    #[arg(long, value_name = "VALUE")]
    rules: Option<String>,
}

/// The state of a container, as the runtime passes it (OCI runtime specification, "State").
#[derive(Deserialize)]
struct State {
    bundle: PathBuf,
}

/// The members of config.json that are used.
#[derive(Deserialize)]
struct Config {
    process: Option<Process>,
    root: Root,
    #[serde(default)]
    mounts: Vec<Mount>,
}

#[derive(Deserialize)]
struct Root {
    path: PathBuf,
}

#[derive(Deserialize)]
struct Mount {
    destination: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: Vec<String>,
    cwd: PathBuf,
    #[serde(default)]
    user: User,
    #[serde(default)]
    no_new_privileges: bool,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct User {
    uid: u32,
    gid: u32,
    additional_gids: Vec<u32>,
}

pub fn run(args: Args) -> Result<ExitCode, Failure> {
    // Before our root changes.
    let runtime = Runtime::deaf_caller();
    let judged = judge(&args);
    if let (Err(failure), Some(runtime)) = (&judged, runtime) {
        runtime.tell(&failure.sentence);
    }
    judged.map(|()| ExitCode::SUCCESS)
}

fn judge(args: &Args) -> Result<(), Failure> {
    let (config, bundle) = config()?;
    let process = config.process.as_ref().ok_or_else(|| {
        refuse("the container has no process, and so there is no program that could be in a VRF")
    })?;
    look_at_environment(&process.env, args)?;
    find_device(&args.vrf, args.any_device).map_err(|mut failure| {
        failure.sentence +=
            "; a container has the VRFs of its own network namespace, and those of this machine with --network host";
        failure
    })?;
    enter(&bundle.join(&config.root.path), process)?;
    library::find(Some(Path::new(LIBRARY)))?;
    let command = entry(&process.args, &config.mounts);
    let more = if process.args.len() > 1 { " ..." } else { "" };
    let path = variable(&process.env, "PATH").next_back();
    let program = Program::find(OsStr::new(command), path.map(OsString::from))?;
    match program.verdict.server() {
        Server::Library => Ok(()),
        Server::Supervisor => Err(refuse(format!(
            "{} is {}, so that {LIBRARY} does not put its sockets into {}; start it by `{COMMAND} exec {}`, as the entry \
             point (--entrypoint {COMMAND} IMAGE exec {} {command}{more}), which supervises it",
            word(&text(program.runs.as_os_str().as_bytes())),
            program.verdict.sentence(),
            args.vrf.display(),
            args.vrf.display(),
            args.vrf.display(),
        ))),
        Server::Nobody => Err(refuse(format!(
            "{} is {}; the library is for 64-bit {}",
            word(&text(program.runs.as_os_str().as_bytes())),
            program.verdict.sentence(),
            std::env::consts::ARCH
        ))),
    }
}

/// config.json of the container whose state is on standard input, and the directory that it is in.
fn config() -> Result<(Config, PathBuf), Failure> {
    const MOST: u64 = 1 << 20;
    let mut state = Vec::new();
    io::stdin()
        .take(MOST)
        .read_to_end(&mut state)
        .map_err(|error| refuse(format!("read standard input: {error}")))?;
    let state: State = serde_json::from_slice(&state).map_err(|error| {
        refuse(format!(
            "no state of a container on standard input ({error}); `vrfbind hook` is what OCI runtimes call, for the \
             devices of `vrfbind cdi`"
        ))
    })?;
    let path = state.bundle.join("config.json");
    let fails = |error: &dyn std::fmt::Display| {
        refuse(format!(
            "cannot judge the container: {}: {error}",
            path.display()
        ))
    };
    let config = file::read(&path).map_err(|error| fails(&error))?;
    let config = serde_json::from_str(&config).map_err(|error| fails(&error))?;
    Ok((config, state.bundle))
}

/// The values of a variable, of which there may be several.
fn variable<'a>(
    environment: &'a [String],
    name: &'a str,
) -> impl DoubleEndedIterator<Item = &'a str> {
    let value = move |entry: &'a String| entry.strip_prefix(name)?.strip_prefix('=');
    environment.iter().filter_map(value)
}

/// Whether a variable is set and has this value, each time if it occurs several times.
fn is_only(environment: &[String], name: &str, wanted: &str) -> bool {
    let mut values = variable(environment, name).peekable();
    values.peek().is_some() && values.all(|value| value == wanted)
}

/// Whether it still has the device's values. A container that names two devices of ours, or sets the variables itself,
/// gets another VRF, seal or rules than it seems, or none. If a variable occurs several times, every occurrence has to be
/// right: glibc's ld.so uses the last LD_PRELOAD, and musl's the first.
fn look_at_environment(environment: &[String], args: &Args) -> Result<(), Failure> {
    let vrf = args.vrf.to_string_lossy();
    if !is_only(environment, VRF_VARIABLE, &vrf) {
        return Err(refuse(format!(
            "the container's {VRF_VARIABLE} is not {vrf} alone; give it one device vrfbind.dev/vrf, and no {VRF_VARIABLE}"
        )));
    }
    look_at_preloads(environment)?;
    // A seal that was not asked for does no harm.
    if !args.no_seal && !is_only(environment, SEAL_VARIABLE, "1") {
        return Err(refuse(format!(
            "the container's {SEAL_VARIABLE} is not 1 alone; leave {SEAL_VARIABLE} to the device vrfbind.dev/vrf, which \
             `vrfbind cdi --no-seal` writes without the seal"
        )));
    }
    let is_ruled = match &args.rules {
        Some(rules) => is_only(environment, RULES_VARIABLE, rules),
        None => variable(environment, RULES_VARIABLE).all(str::is_empty),
    };
    if !is_ruled {
        return Err(refuse(format!(
            "the container's {RULES_VARIABLE} is not that of its device; leave {RULES_VARIABLE} to the device \
             vrfbind.dev/vrf, which `vrfbind cdi --rule` writes with rules"
        )));
    }
    Ok(())
}

/// Reports an LD_PRELOAD of the image beside ours.
fn look_at_preloads(environment: &[String]) -> Result<(), Failure> {
    let (ours, others): (Vec<_>, Vec<_>) = variable(environment, "LD_PRELOAD")
        .partition(|value| preload::contains(value.as_bytes(), LIBRARY.as_bytes()));
    if ours.is_empty() {
        return Err(refuse(format!(
            "the container's LD_PRELOAD does not name {LIBRARY}; leave LD_PRELOAD to the device vrfbind.dev/vrf, or put \
             {LIBRARY} first in it"
        )));
    }
    if others.is_empty() {
        return Ok(());
    }
    let named: Vec<_> = others.into_iter().filter(|one| !one.is_empty()).collect();
    let named = named.join(":");
    if named.is_empty() {
        return Err(refuse(
            "the container has an empty LD_PRELOAD beside that of its device; leave LD_PRELOAD to the device \
             vrfbind.dev/vrf",
        ));
    }
    Err(refuse(format!(
        "the container has another LD_PRELOAD ({0}) beside that of its device; set it to {LIBRARY}:{0}",
        word(&named)
    )))
}

/// Enters the container's root and working directory, as its user: what the user may not execute is not executable here
/// either.
fn enter(root: &Path, process: &Process) -> Result<(), Failure> {
    let fails = |what: &str, errno: nix::Error| {
        refuse(format!(
            "cannot judge the container: {what}: {}",
            errno.desc()
        ))
    };
    chroot(root).map_err(|errno| fails(&format!("chroot {}", root.display()), errno))?;
    chdir("/").map_err(|errno| fails("chdir /", errno))?;
    // The runtime makes one that is missing.
    let _ = chdir(&process.cwd);
    let User {
        uid,
        gid,
        additional_gids,
    } = &process.user;
    let (uid, gid) = (Uid::from_raw(*uid), Gid::from_raw(*gid));
    let groups: Vec<_> = additional_gids
        .iter()
        .map(|gid| Gid::from_raw(*gid))
        .collect();
    // In a user namespace with one user this is refused, and there are no other groups (user_namespaces(7)).
    let _ = setgroups(&groups);
    setresgid(gid, gid, gid).map_err(|errno| fails("setresgid", errno))?;
    setresuid(uid, uid, uid).map_err(|errno| fails("setresuid", errno))?;
    if process.no_new_privileges {
        set_no_new_privs().map_err(|errno| fails("prctl(PR_SET_NO_NEW_PRIVS)", errno))?;
    }
    Ok(())
}

/// The entry program. Engines mount one of their own in front of it (--init), which is static, makes no IP sockets and
/// passes
/// its environment on.
fn entry<'a>(args: &'a [String], mounts: &[Mount]) -> &'a str {
    const INITS: [&str; 3] = ["/run/podman-init", "/dev/init", "/sbin/docker-init"];
    let is_mounted = |path: &str| mounts.iter().any(|mount| mount.destination == path);
    match args {
        [init, dashes, command, ..]
            if INITS.contains(&&**init) && dashes == "--" && is_mounted(init) =>
        {
            command
        }
        [command, ..] => command,
        [] => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn blue(no_seal: bool, rules: Option<&str>) -> Args {
        Args {
            vrf: "blue".into(),
            any_device: false,
            no_seal,
            rules: rules.map(str::to_owned),
        }
    }

    #[test]
    fn the_environment_has_one_vrf_and_the_library() {
        let ours = format!("LD_PRELOAD={LIBRARY}");
        let is_good = |environment: &[&str]| {
            look_at_environment(&strings(environment), &blue(true, None)).is_ok()
        };
        let beside = format!("LD_PRELOAD={LIBRARY}:/a.so");
        assert!(is_good(&["A=1", "VRFBIND_VRF=blue", &ours]));
        assert!(is_good(&["VRFBIND_VRF=blue", &beside]));
        assert!(is_good(&[
            "VRFBIND_VRF=blue",
            "VRFBIND_VRF=blue",
            &ours,
            &ours
        ]));
        for environment in [
            &["VRFBIND_VRF=blue"][..],
            &[&ours],
            &["VRFBIND_VRF=red", &ours],
            &["VRFBIND_VRF=blue", "VRFBIND_VRF=red", &ours],
            &["VRFBIND_VRF=red", "VRFBIND_VRF=blue", &ours],
            &["VRFBIND_VRF=blue", "LD_PRELOAD=/a.so"],
            &["VRFBIND_VRF=blue", "LD_PRELOAD=/a.so", &ours],
            &["VRFBIND_VRF=blue", &ours, "LD_PRELOAD=/a.so"],
            &["VRFBIND_VRF=blue", "LD_PRELOAD=", &ours],
            &["VRFBIND_VRF=blue", &ours, "LD_PRELOAD="],
            &["VRFBIND_VRF=blue", &ours, "LD_PRELOAD=:"],
        ] {
            assert!(!is_good(environment), "{environment:?}");
        }
    }

    /// The sentence about an environment that has these variables beside what it needs.
    fn sentence(variables: &[&str], args: &Args) -> Option<String> {
        let mut environment = strings(&["VRFBIND_VRF=blue"]);
        environment.push(format!("LD_PRELOAD={LIBRARY}"));
        environment.extend(strings(variables));
        let failure = look_at_environment(&environment, args).err()?;
        Some(failure.sentence)
    }

    #[test]
    fn the_seal_of_the_device_stays() {
        let (one, zero) = ("VRFBIND_SEAL=1", "VRFBIND_SEAL=0");
        for good in [&[one][..], &[one, one]] {
            assert_eq!(sentence(good, &blue(false, None)), None);
        }
        for bad in [
            &[][..],
            &[zero],
            &["VRFBIND_SEAL="],
            &["VRFBIND_SEAL=11"],
            &[one, zero],
            &[zero, one],
            &[one, "VRFBIND_SEAL="],
        ] {
            let found = sentence(bad, &blue(false, None));
            assert!(
                found.is_some_and(|it| it.contains(SEAL_VARIABLE)),
                "{bad:?}"
            );
            assert_eq!(sentence(bad, &blue(true, None)), None, "not asked for");
        }
    }

    #[test]
    fn the_rules_of_the_device_stay() {
        let (ours, empty) = ("VRFBIND_RULES=loopback lo", "VRFBIND_RULES=");
        let with = blue(true, Some("loopback lo"));
        let without = blue(true, None);
        for (good, args) in [
            (&[ours][..], &with),
            (&[ours, ours], &with),
            (&[], &without),
            (&[empty], &without),
        ] {
            assert_eq!(sentence(good, args), None, "{good:?}");
        }
        let others = "VRFBIND_RULES=bind * red";
        for (bad, args) in [
            (&[][..], &with),
            (&[empty], &with),
            (&[others], &with),
            (&[ours, others], &with),
            (&[empty, ours], &with),
            (&[ours], &without),
            (&[empty, others], &without),
        ] {
            let found = sentence(bad, args);
            assert!(
                found.is_some_and(|it| it.contains(RULES_VARIABLE)),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn an_engines_init_is_not_the_entry_program() {
        let mounts = [Mount {
            destination: "/run/podman-init".to_owned(),
        }];
        let entry = |args: &[&str], mounts| entry(&strings(args), mounts).to_owned();
        let args = ["/run/podman-init", "--", "cmd"];
        assert_eq!(entry(&args, &mounts), "cmd");
        assert_eq!(entry(&args, &[]), "/run/podman-init", "the image's own");
        assert_eq!(entry(&["cmd", "--", "x"], &mounts), "cmd");
        assert_eq!(entry(&[], &mounts), "");
    }

    #[test]
    fn mutated_configurations() {
        let valid = br#"{"process":{"args":["a"],"env":["A=1"],"cwd":"/","user":{"uid":1,"gid":2}},"root":{"path":"x"}}"#;
        crate::fuzz::each_input(&[valid], |config| {
            drop(serde_json::from_slice::<Config>(config));
        });
    }
}
