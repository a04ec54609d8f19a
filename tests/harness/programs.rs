//! Which test programs there are, and the tiers that they belong to.
//!
//! C programs are listed in c-tests/programs.txt. The examples' `run` scripts belong to vrf. The scripts that test
//! other people's programs are listed here.

use crate::place::Place;
use std::fs;
use std::path::{Path, PathBuf};

/// Scripts that print TAP as the C programs do, and their tiers. Those that take long come first.
const SCRIPTS: [(&str, &[&str]); 18] = [
    ("evenet.sh", &["vrf"]),
    ("command-rules-supervised.sh", &["lo", "vrf"]),
    ("command-supervise.sh", &["lo", "vrf"]),
    ("command-exec.sh", &["lo", "vrf"]),
    ("command-status.sh", &["lo", "vrf"]),
    ("command-unit.sh", &["lo", "vrf"]),
    ("units.sh", &["vrf"]),
    ("rules-daemons.sh", &["vrf"]),
    ("containers.sh", &["vrf"]),
    ("cpython.sh", &["lo", "vrf"]),
    ("command-check.sh", &["lo", "vrf"]),
    ("command-rules.sh", &["lo", "vrf"]),
    ("command-devices.sh", &["lo", "vrf"]),
    ("command-container.sh", &["lo", "vrf"]),
    ("bench.sh", &["lo", "vrf"]),
    ("daemon-link-local.sh", &["vrf"]),
    ("programs.sh", &["lo"]),
    ("command-completions.sh", &["lo"]),
];

const EXAMPLES: [&str; 5] = ["dnsmasq", "radvd", "containerd", "systemd", "rules"];

/// The C programs of a tier, built for a libc, in the order of c-tests/programs.txt; none where there is no compiler for it.
pub fn compiled(place: &Place, tier: &str, libc: &str) -> Vec<PathBuf> {
    let built = place.programs.join(libc);
    if !built.exists() {
        return Vec::new();
    }
    let has = |list: &str, name| list.split(',').any(|item| item == name);
    rows(place)
        .filter(|[_, builds, tiers]| has(builds, libc) && has(tiers, tier))
        .map(|[row, ..]| built.join(file_of(&row)))
        .collect()
}

/// The first columns of c-tests/programs.txt: program, builds, tiers.
fn rows(place: &Place) -> impl Iterator<Item = [String; 3]> {
    let table = place.root.join("c-tests/programs.txt");
    let table = fs::read_to_string(&table).expect("c-tests/programs.txt can be read");
    let rows: Vec<_> = table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut columns = line.split_whitespace().map(str::to_owned);
            Some([columns.next()?, columns.next()?, columns.next()?])
        })
        .collect();
    rows.into_iter()
}

/// All built programs are in one directory.
fn file_of(row: &str) -> &str {
    row.rsplit('/').next().unwrap_or(row)
}

/// Its name in a test's title: a C program's row in programs.txt, any other program's [`name`].
pub fn title(place: &Place, program: &Path) -> String {
    let name = name(program);
    rows(place)
        .map(|[row, ..]| row)
        .find(|row| file_of(row) == name)
        .unwrap_or(name)
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
