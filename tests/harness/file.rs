//! file: checks of the library's file, and of the manual's table.

use crate::place::Place;
use crate::programs;
use crate::verdict::{Output, skip};
use libtest_mimic::{Completion, Failed, Trial};
use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// The symbols that the library may export: the hooks, and what it reports.
const EXPORTS: [&str; 10] = [
    "bind",
    "connect",
    "execve",
    "execveat",
    "fexecve",
    "listen",
    "setsockopt",
    "socket",
    "syscall",
    "vrfbind_info",
];

/// The symbols that it may import from libc: nothing that allocates, locks, prints or aborts. `abort` in particular
/// would mean that a panic is possible. dl_iterate_phdr locks; only the constructor, or a hook before it, may call it
/// (src/libc/objects.rs).
const IMPORTS: [&str; 10] = [
    "__environ",
    "__errno_location",
    "_dl_debug_addr",
    "_r_debug",
    "bcmp",
    "dl_iterate_phdr",
    "getauxval",
    "memcpy",
    "memset",
    "strlen",
];

/// Imports that may be missing, since each libc has its own (src/libc/objects.rs).
const WEAK: [&str; 2] = ["_dl_debug_addr", "_r_debug"];

/// The glibc the library has to run with.
const OLDEST_GLIBC: (u32, u32) = (2, 31);

/// The largest the file may be, in bytes.
const LARGEST: u64 = 48 * 1024;

pub fn trials(place: &Arc<Place>) -> Vec<Trial> {
    type Check = fn(&Place) -> Result<(), Failed>;
    let checks: [(&str, Check); 4] = [
        ("exports exactly what it means to", exports),
        ("imports only what a signal handler may call", imports),
        (
            "needs no symbol newer than glibc 2.31 and no library but libc",
            needs,
        ),
        ("is at most 48 KiB", size),
    ];
    let mut trials: Vec<_> = checks
        .into_iter()
        .map(|(name, check)| {
            let place = Arc::clone(place);
            Trial::test(format!("file: libvrfbind.so {name}"), move || check(&place))
        })
        .collect();
    let old = Arc::clone(place);
    let name = "file: libvrfbind.so binds a socket with glibc 2.31";
    trials.push(Trial::ignorable_test(name, move || old_glibc(&old)));
    let place = Arc::clone(place);
    let name = "file: libvrfbind(7) has the table that reach_matrix tests";
    let index = place.script("index.py");
    trials.push(Trial::ignorable_test(name, move || manual(&place)));
    let name = "file: each promise of README, SECURITY.md and the manuals has a test";
    trials.push(Trial::test(name, move || {
        let output = Output::of(&mut Command::new(&index))?;
        match output.status {
            Some(0) => Ok(()),
            status => Err(output.fails(&format!("exit status {status:?}"))),
        }
    }));
    trials
}

/// The manual's table is generated (reach.sh), and kept in the page between two comments.
fn manual(place: &Place) -> Result<Completion, Failed> {
    let programs = programs::compiled(place, "lo", "musl");
    if !programs
        .iter()
        .any(|path| programs::name(path) == "reach_matrix")
    {
        return skip("the table is of both libcs, and there is no musl-gcc");
    }
    let page = fs::read_to_string(place.root.join("man/libvrfbind.7"))?;
    let (_, rest) = page
        .split_once(".\\\" make reach: begin\n")
        .ok_or("the page has no beginning of the table")?;
    let (table, _) = rest
        .split_once(".\\\" make reach: end\n")
        .ok_or("the page has no end of the table")?;
    let expected = Output::of(Command::new(place.script("reach.sh")).arg("--man"))?;
    match expected.status {
        Some(0) if table == expected.stdout => Ok(Completion::Completed),
        status => Err(expected.fails(&format!("status {status:?}; tests/reach.sh --man prints:"))),
    }
}

/// Runs a program with the oldest glibc (old-glibc.sh), without the library and under it.
fn old_glibc(place: &Place) -> Result<Completion, Failed> {
    for (library, expected) in [(None, "\n"), (Some(&place.library), "lo\n")] {
        let mut command = Command::new(place.script("old-glibc.sh"));
        command.arg(place.programs.join("gnu/old_glibc"));
        command.env_remove("LD_PRELOAD").env("VRFBIND_VRF", "lo");
        if let Some(library) = library {
            command.env("LD_PRELOAD", library);
        }
        let output = command
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| format!("{command:?}: {error}"))?;
        match output.status.code() {
            Some(77) => return skip("the package of glibc 2.31 cannot be had; see above"),
            Some(0) if output.stdout == expected.as_bytes() => {}
            _ => return Err(format!("expected {expected:?}, got {output:?}").into()),
        }
    }
    Ok(Completion::Completed)
}

/// `nm -D` with one filter, as lists of (symbol, version).
fn symbols(place: &Place, filter: &str) -> Result<Vec<(String, String)>, Failed> {
    let mut nm = Command::new("nm");
    nm.args(["-D", "-P", filter]).arg(&place.library);
    let output = Output::of(&mut nm)?;
    if output.status != Some(0) {
        return Err(output.fails(&format!("{nm:?}")));
    }
    let mut symbols: Vec<_> = output
        .stdout
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(|symbol| match symbol.split_once('@') {
            Some((name, version)) => (name.to_owned(), version.trim_start_matches('@').to_owned()),
            None => (symbol.to_owned(), String::new()),
        })
        .collect();
    symbols.sort();
    Ok(symbols)
}

fn exports(place: &Place) -> Result<(), Failed> {
    let found = symbols(place, "--defined-only")?;
    let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
    if names == EXPORTS {
        Ok(())
    } else {
        Err(format!("exports {names:?}, should be {EXPORTS:?}").into())
    }
}

fn imports(place: &Place) -> Result<(), Failed> {
    let found = symbols(place, "--undefined-only")?;
    let unexpected: Vec<_> = found
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| !IMPORTS.contains(name))
        .collect();
    match (found.is_empty(), unexpected.is_empty()) {
        (true, _) => Err("nm shows no import at all".into()),
        (false, false) => Err(format!("imports {unexpected:?}").into()),
        (false, true) => Ok(()),
    }
}

fn needs(place: &Place) -> Result<(), Failed> {
    for (name, version) in symbols(place, "--undefined-only")? {
        let numbers = version
            .strip_prefix("GLIBC_")
            .map(|version| version.split('.').map(str::parse::<u32>))
            .map(|numbers| numbers.collect::<Result<Vec<_>, _>>());
        match numbers.as_ref().map(|numbers| numbers.as_deref()) {
            Some(Ok([major, minor, ..])) if (*major, *minor) <= OLDEST_GLIBC => {}
            None if WEAK.contains(&name.as_str()) => {}
            _ => return Err(format!("{name} is wanted in version {version:?}").into()),
        }
    }
    let mut readelf = Command::new("readelf");
    readelf.arg("-dW").arg(&place.library);
    let output = Output::of(&mut readelf)?;
    let needed: Vec<_> = output
        .stdout
        .lines()
        .filter(|line| line.contains("(NEEDED)"))
        .collect();
    match needed[..] {
        [libc] if libc.contains("[libc.so.6]") => Ok(()),
        _ => Err(format!("needs {needed:?}").into()),
    }
}

fn size(place: &Place) -> Result<(), Failed> {
    match fs::metadata(&place.library)?.len() {
        size if size <= LARGEST => Ok(()),
        size => Err(format!("{size} bytes, at most {LARGEST} are allowed").into()),
    }
}
