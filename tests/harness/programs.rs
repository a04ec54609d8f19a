//! Which test programs there are, and the tiers that they belong to.
//!
//! A C program belongs to a tier by its name. The examples' `run` scripts belong to vrf. The scripts that try other people's
//! programs are listed.

use crate::place::Place;
use std::fs;
use std::path::{Path, PathBuf};

/// Scripts that speak TAP as the C programs do, and the tiers they belong to. Those that take long come first.
const SCRIPTS: [(&str, &[&str]); 10] = [
    ("evenet.sh", &["vrf"]),
    ("command-supervise.sh", &["lo", "vrf"]),
    ("command-exec.sh", &["lo", "vrf"]),
    ("command-status.sh", &["lo", "vrf"]),
    ("command-unit.sh", &["lo", "vrf"]),
    ("cpython.sh", &["lo", "vrf"]),
    ("command-check.sh", &["lo", "vrf"]),
    ("bench.sh", &["lo", "vrf"]),
    ("programs.sh", &["lo"]),
    ("command-completions.sh", &["lo"]),
];

const EXAMPLES: [&str; 3] = ["dnsmasq", "radvd", "systemd"];

/// The C programs of a tier, built for a libc, sorted.
pub fn compiled(place: &Place, tier: &str, libc: &str) -> Vec<PathBuf> {
    let prefixes: &[&str] = match tier {
        "vrf" => &["requires-", "hook-", "daemon-"],
        _ => &["requires-", "hook-"],
    };
    let Ok(directory) = fs::read_dir(place.programs.join(libc)) else {
        return Vec::new();
    };
    let mut programs: Vec<_> = directory
        .flatten()
        .filter(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            !name.ends_with(".so") && prefixes.iter().any(|prefix| name.starts_with(prefix))
        })
        .map(|entry| entry.path())
        .collect();
    programs.sort();
    programs
}

pub fn scripts(place: &Place, tier: &str) -> Vec<PathBuf> {
    SCRIPTS
        .iter()
        .filter(|(_, tiers)| tiers.contains(&tier))
        .map(|(name, _)| place.script(name))
        .collect()
}

pub fn examples(place: &Place) -> Vec<PathBuf> {
    EXAMPLES
        .iter()
        .map(|example| place.root.join("examples").join(example).join("run"))
        .collect()
}

/// What a test is called: its file's name, or `example-NAME` for examples/NAME/run. tests/with-vrf.sh has the same rule.
pub fn name(program: &Path) -> String {
    let name = |path: &Path| {
        path.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    match (name(program).as_str(), program.parent()) {
        ("run", Some(directory)) => format!("example-{}", name(directory)),
        (program, _) => program.to_owned(),
    }
}
