//! lo and netns: on this machine, with its kernel.

use crate::place::Place;
use crate::programs;
use crate::verdict::{Output, skip};
use libtest_mimic::{Completion, Failed, Trial};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

pub fn trials(place: &Arc<Place>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (tier, libc) in [("lo", "gnu"), ("lo", "musl"), ("netns", "gnu")] {
        let programs = programs::compiled(place, tier, libc);
        if programs.is_empty() {
            let why = format!("no C program was built for {libc}; is its compiler installed?");
            trials.push(Trial::ignorable_test(
                format!("{tier} ({libc})"),
                move || skip(&why),
            ));
        }
        for program in programs {
            let place = Arc::clone(place);
            let title = format!("{tier} ({libc}): {}", programs::title(&place, &program));
            trials.push(Trial::ignorable_test(title, move || {
                run(&place, tier, &program)
            }));
        }
    }
    for script in programs::scripts(place, "lo") {
        let title = format!("lo: {}", programs::name(&script));
        let place = Arc::clone(place);
        trials.push(Trial::ignorable_test(title, move || {
            run(&place, "lo", &script)
        }));
    }
    let place = Arc::clone(place);
    let title = "lo (gnu): a library built for a machine it does not know";
    trials.push(Trial::ignorable_test(title, move || {
        unknown_machine(&place)
    }));
    trials
}

/// There only the exported symbols are hooked (src/arch/unknown.rs), and they have to be enough.
fn unknown_machine(place: &Place) -> Result<Completion, Failed> {
    let target = place.root.join("target/unknown-machine");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--release", "--locked", "--target-dir"])
        .arg(&target)
        .env("RUSTFLAGS", "--cfg unknown_machine")
        .current_dir(&place.root);
    let output = Output::of(&mut cargo)?;
    if output.status != Some(0) {
        return Err(output.fails("the library was not built"));
    }
    let place = Place {
        root: place.root.clone(),
        library: target.join("release/libvrfbind.so"),
        command: place.command.clone(),
        programs: place.programs.clone(),
    };
    let some = [
        "families",
        "errno_left",
        "inherited_fds",
        "syscall_function",
    ];
    for program in programs::compiled(&place, "lo", "gnu") {
        if some.contains(&programs::name(&program).as_str()) {
            run(&place, "lo", &program)?;
        }
    }
    Ok(Completion::Completed)
}

fn run(place: &Place, tier: &str, program: &Path) -> Result<Completion, Failed> {
    let mut command = match tier {
        "netns" => match netns(place) {
            Ok(mut command) => {
                command.arg(program);
                command
            }
            Err(why) => return skip(&why),
        },
        _ => {
            let mut command = Command::new(program);
            command.env("VRFBIND_TEST_DEVICE", "lo");
            command
        }
    };
    place.set(&mut command);
    command
        .env("VRFBIND_TEST_TIER", tier)
        .env("VRFBIND_TEST_LIMIT", limit().as_secs().to_string());
    Output::of(&mut command)?.judge()
}

/// A command that runs the program behind it in a new network namespace with two devices.
fn netns(place: &Place) -> Result<Command, String> {
    for options in [&["--net"][..], &["--net", "--user", "--map-root-user"]] {
        let mut unshare = Command::new("unshare");
        unshare.args(options);
        let probe = Command::new("unshare").args(options).arg("true").output();
        if probe.is_ok_and(|output| output.status.success()) {
            unshare.arg(place.script("netns.sh"));
            return Ok(unshare);
        }
    }
    Err("a network namespace needs root or unprivileged user namespaces".to_owned())
}

/// After this time a test may report a hang. At least two minutes; if starting a process takes more than 2 ms, as on a
/// slow or busy machine, in proportion longer.
fn limit() -> Duration {
    static LIMIT: OnceLock<Duration> = OnceLock::new();
    *LIMIT.get_or_init(|| {
        const STARTS: u32 = 50;
        let begin = Instant::now();
        for _ in 0..STARTS {
            let _ = Command::new("true").status();
        }
        let least = Duration::from_secs(120);
        least.max(least * (begin.elapsed().as_millis() as u32) / (2 * STARTS))
    })
}
