//! Runs the C programs of `c-tests/`, each on every tier it belongs to, and shows each as a test.
//!
//! | tier  | where                                                  | needs                               |
//! |-------|--------------------------------------------------------|-------------------------------------|
//! | file  | the built library, looked at from outside; glibc 2.31   | nm, readelf; Debian's archive       |
//! | lo    | here, bound to `lo`; compiled for glibc and for musl    | nothing                             |
//! | netns | a network namespace with veth devices (netns.sh)        | root, or user namespaces            |
//! | vrf   | network namespaces with two VRFs (topology.sh)          | root and a kernel with VRFs, or a VM |
//!
//! Which tiers a program belongs to is said in `c-tests/programs.txt`; the examples' `run` scripts belong
//! to vrf. The scripts that try other people's programs are listed
//! ([`SCRIPTS`]). It says what it found in TAP (testanything.org), and a test
//! passes if all of it is `ok`, as many as planned, at least one, and the exit status is 0.
//!
//! The vrf tier is one batch (vrf-batch.sh), because a VM takes half a minute to boot: the first test
//! that needs it runs all of its programs, natively where the kernel has VRFs and else in the VM
//! (with-vrf.sh), and each test then judges what its own program left in `target/vm/out/`.
//!
//! A tier that cannot be had is a skip with a reason. With VRFBIND_MUST_RUN=1 it is a failure, and so
//! is every skip of a program.

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;
use std::{env, fs};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let place = match Place::new() {
        Ok(place) => Arc::new(place),
        Err(why) => {
            eprintln!("vrfbind-tests: {why}");
            return ExitCode::FAILURE;
        }
    };
    let mut trials = file_trials(&place);
    trials.extend(here_trials(&place));
    trials.extend(vrf_trials(&place, &arguments));
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Where everything is.
struct Place {
    /// The project's root.
    root: PathBuf,
    /// The library under test.
    library: PathBuf,
    /// The command under test.
    command: PathBuf,
    /// target/c-tests, with gnu/ and perhaps musl/ in it.
    programs: PathBuf,
}

impl Place {
    fn new() -> Result<Self, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("tests/ is in the project")
            .to_owned();
        let target = env::current_exe()
            .map_err(|error| format!("cannot find out what runs: {error}"))?
            .ancestors()
            .nth(3)
            .expect("target/<profile>/deps/<this>")
            .to_owned();
        let library = target.join("release/libvrfbind.so");
        let command = target.join("release/vrfbind");
        refuse_stale(
            &root,
            &library,
            &["build.rs"],
            &["rules", "src", "src/arch", "src/exec", "src/libc"],
        )?;
        refuse_stale(
            &root,
            &command,
            &["cli/Cargo.toml"],
            &["rules", "cli/src", "cli/src/sys"],
        )?;
        Ok(Self {
            root,
            library,
            command,
            programs: target.join("c-tests"),
        })
    }

    fn script(&self, name: &str) -> PathBuf {
        self.root.join("tests").join(name)
    }

    /// The programs of c-tests/programs.txt that this build has and that run on this tier, by their names
    /// there; none where there is no compiler for it.
    fn programs(&self, build: &str, tier: &str) -> Vec<String> {
        if !self.programs.join(build).exists() {
            return Vec::new();
        }
        let table = self.root.join("c-tests/programs.txt");
        let table = fs::read_to_string(&table).expect("c-tests/programs.txt can be read");
        let has = |list: &str, name| list.split(',').any(|item| item == name);
        table
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| {
                let mut columns = line.split_whitespace();
                let (name, builds, tiers) = (columns.next()?, columns.next()?, columns.next()?);
                (has(builds, build) && has(tiers, tier)).then(|| name.to_owned())
            })
            .collect()
    }

    /// Where the program of this name is, which is the file's alone: what is built lies side by side.
    fn program(&self, build: &str, name: &str) -> PathBuf {
        let (_, file) = name.rsplit_once('/').expect("a program is in a directory");
        self.programs.join(build).join(file)
    }
}

/// `cargo test` builds neither a cdylib nor what is released, so that it could well be yesterday's that is
/// tested. `files` and the files in `folders` are what it is made from.
fn refuse_stale(
    root: &Path,
    product: &Path,
    files: &[&str],
    folders: &[&str],
) -> Result<(), String> {
    fn modified(path: &Path) -> Result<SystemTime, String> {
        fs::metadata(path)
            .and_then(|metadata| metadata.modified())
            .map_err(|error| format!("{}: {error}; run `make` first", path.display()))
    }
    let built = modified(product)?;
    let mut sources: Vec<PathBuf> = ["Cargo.toml", "Cargo.lock"]
        .iter()
        .chain(files)
        .map(|name| root.join(name))
        .collect();
    for folder in folders {
        let entries =
            fs::read_dir(root.join(folder)).map_err(|error| format!("{folder}/: {error}"))?;
        sources.extend(
            entries
                .flatten()
                .map(|entry| entry.path())
                .filter(|path| path.is_file()),
        );
    }
    for source in sources {
        if modified(&source)? > built {
            return Err(format!(
                "{} is older than {}; run `make` first",
                product.display(),
                source.display()
            ));
        }
    }
    Ok(())
}

fn must_run() -> bool {
    env::var_os("VRFBIND_MUST_RUN").is_some_and(|value| value == "1")
}

/// A skip, or a failure where skips are forbidden.
fn skip(reason: &str) -> Result<Completion, Failed> {
    if must_run() {
        Err(format!("may not be skipped (VRFBIND_MUST_RUN=1): {reason}").into())
    } else {
        Ok(Completion::ignored_with(reason))
    }
}

/// Passes if `output` is TAP that says so.
fn judge(output: &str, status: Option<i32>) -> Result<Completion, Failed> {
    let (mut planned, mut ok, mut not_ok, mut skipped) = (None, 0, 0, Vec::new());
    for line in output.lines() {
        if let Some(count) = line.strip_prefix("1..") {
            planned = count.trim().parse::<usize>().ok();
        } else if line.starts_with("not ok") {
            not_ok += 1;
        } else if line.starts_with("ok") {
            ok += 1;
            if let Some((_, reason)) = line.split_once("# SKIP") {
                skipped.push(reason.trim().to_owned());
            }
        }
    }
    let complaint = if not_ok > 0 {
        Some(format!("{not_ok} of {} not ok", ok + not_ok))
    } else if ok == 0 {
        Some("not one test point".to_owned())
    } else if planned != Some(ok) {
        Some(format!("{ok} test points, planned were {planned:?}"))
    } else if status != Some(0) {
        Some(format!("all ok, but the exit status is {status:?}"))
    } else {
        None
    };
    match complaint {
        Some(complaint) => Err(format!("{complaint}\n{output}").into()),
        None if skipped.is_empty() => Ok(Completion::Completed),
        None if skipped.len() == ok => skip(&skipped.join("; ")),
        None if must_run() => Err(format!("skips are forbidden\n{output}").into()),
        None => {
            for reason in skipped {
                eprintln!("# skipped: {reason}");
            }
            Ok(Completion::Completed)
        }
    }
}

/// Runs a command to its end and returns what it printed and its exit status.
fn capture(command: &mut Command) -> Result<(String, Option<i32>), Failed> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in String::from_utf8_lossy(&output.stderr).lines() {
        let _ = writeln!(text, "# stderr: {line}");
    }
    Ok((text, output.status.code()))
}

// ---- file: the library as it is on disk ----

/// What the library may export: the hooks, and what it says of itself.
const EXPORTS: [&str; 9] = [
    "bind",
    "connect",
    "execve",
    "execveat",
    "fexecve",
    "listen",
    "socket",
    "syscall",
    "vrfbind_info",
];

/// What it may take from libc: nothing that allocates, locks, prints or aborts. `abort` in particular
/// would mean that a panic is possible. dl_iterate_phdr takes a lock, and is called at load.
const IMPORTS: [&str; 9] = [
    "__environ",
    "__errno_location",
    "bcmp",
    "dl_iterate_phdr",
    "environ",
    "getauxval",
    "memcpy",
    "memset",
    "strlen",
];

/// The glibc the library has to run with.
const OLDEST_GLIBC: (u32, u32) = (2, 31);

/// The largest the file may be, in bytes.
const LARGEST: u64 = 32 * 1024;

fn file_trials(place: &Arc<Place>) -> Vec<Trial> {
    type Check = fn(&Place) -> Result<(), Failed>;
    let checks: [(&str, Check); 4] = [
        ("exports exactly what it means to", exports),
        ("imports only what a signal handler may call", imports),
        (
            "needs no symbol newer than glibc 2.31 and no library but libc",
            needs,
        ),
        ("is at most 32 KiB", size),
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
    let index = place.script("index.py");
    let place = Arc::clone(place);
    let name = "file: libvrfbind(7) has the table that reach_matrix tests";
    trials.push(Trial::ignorable_test(name, move || manual(&place)));
    let name = "file: each promise of README, SECURITY.md and the manuals has a test";
    trials.push(Trial::test(name, move || {
        match capture(&mut Command::new(&index))? {
            (_, Some(0)) => Ok(()),
            (output, status) => Err(format!("exit status {status:?}\n{output}").into()),
        }
    }));
    trials
}

/// The manual's table is generated (reach.sh), and kept in the page between two comments.
fn manual(place: &Place) -> Result<Completion, Failed> {
    if !place.programs.join("musl/reach_matrix").exists() {
        return skip("the table is of both libcs, and there is no musl-gcc");
    }
    let page = fs::read_to_string(place.root.join("man/libvrfbind.7"))?;
    let (_, rest) = page
        .split_once(".\\\" make reach: begin\n")
        .ok_or("the page has no beginning of the table")?;
    let (table, _) = rest
        .split_once(".\\\" make reach: end\n")
        .ok_or("the page has no end of the table")?;
    let (expected, status) = capture(Command::new(place.script("reach.sh")).arg("--man"))?;
    match status {
        Some(0) if table == expected => Ok(Completion::Completed),
        _ => Err(format!("status {status:?}; tests/reach.sh --man prints:\n{expected}").into()),
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
    let (text, status) = capture(&mut nm)?;
    if status != Some(0) {
        return Err(format!("{nm:?}: {text}").into());
    }
    let mut symbols: Vec<_> = text
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
    let strangers: Vec<_> = found
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| !IMPORTS.contains(name))
        .collect();
    match (found.is_empty(), strangers.is_empty()) {
        (true, _) => Err("nm shows no import at all".into()),
        (false, false) => Err(format!("imports {strangers:?}").into()),
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
            _ => return Err(format!("{name} is wanted in version {version:?}").into()),
        }
    }
    let mut readelf = Command::new("readelf");
    readelf.arg("-dW").arg(&place.library);
    let (text, _) = capture(&mut readelf)?;
    let needed: Vec<_> = text
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

// ---- lo and netns: on this machine ----

/// Scripts that speak TAP as the C programs do, and the tiers they belong to.
const SCRIPTS: [(&str, &[&str]); 11] = [
    ("programs.sh", &["lo"]),
    ("cpython.sh", &["lo", "vrf"]),
    ("command-exec.sh", &["lo", "vrf"]),
    ("command-supervise.sh", &["lo", "vrf"]),
    ("command-status.sh", &["lo", "vrf"]),
    ("command-check.sh", &["lo", "vrf"]),
    ("command-unit.sh", &["lo", "vrf"]),
    ("command-completions.sh", &["lo"]),
    ("bench.sh", &["lo", "vrf"]),
    ("daemon-link-local.sh", &["vrf"]),
    ("evenet.sh", &["vrf"]),
];

fn scripts<'a>(place: &'a Place, tier: &'a str) -> impl Iterator<Item = PathBuf> + 'a {
    SCRIPTS
        .iter()
        .filter(move |(_, tiers)| tiers.contains(&tier))
        .map(|(name, _)| place.script(name))
}

fn here_trials(place: &Arc<Place>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (tier, libc) in [("lo", "gnu"), ("lo", "musl"), ("netns", "gnu")] {
        let names = place.programs(libc, tier);
        if names.is_empty() {
            let why = format!("no C program was built for {libc}; is its compiler installed?");
            trials.push(Trial::ignorable_test(
                format!("{tier} ({libc})"),
                move || skip(&why),
            ));
        }
        for name in names {
            let place = Arc::clone(place);
            let title = format!("{tier} ({libc}): {name}");
            let program = place.program(libc, &name);
            trials.push(Trial::ignorable_test(title, move || {
                run_here(&place, tier, &program)
            }));
        }
    }
    for script in scripts(place, "lo") {
        let title = format!("lo: {}", batch_name(&script));
        let place = Arc::clone(place);
        trials.push(Trial::ignorable_test(title, move || {
            run_here(&place, "lo", &script)
        }));
    }
    let place = Arc::clone(place);
    let title = "lo (gnu): a library built for a machine it does not know";
    trials.push(Trial::ignorable_test(title, move || {
        unknown_machine(&place)
    }));
    trials
}

/// There the exported symbols are all there is (src/arch/unknown.rs), and they have to serve.
fn unknown_machine(place: &Place) -> Result<Completion, Failed> {
    let target = place.root.join("target/unknown-machine");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--release", "--locked", "--target-dir"])
        .arg(&target)
        .env("RUSTFLAGS", "--cfg unknown_machine")
        .current_dir(&place.root);
    let (output, status) = capture(&mut cargo)?;
    if status != Some(0) {
        return Err(output.into());
    }
    let place = Place {
        root: place.root.clone(),
        library: target.join("release/libvrfbind.so"),
        command: place.command.clone(),
        programs: place.programs.clone(),
    };
    for name in [
        "library/create/families",
        "library/create/errno_left",
        "library/existing/inherited_fds",
        "library/create/syscall_function",
    ] {
        run_here(&place, "lo", &place.program("gnu", name))?;
    }
    Ok(Completion::Completed)
}

fn run_here(place: &Place, tier: &str, program: &Path) -> Result<Completion, Failed> {
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
    command
        .env("VRFBIND_TEST_TIER", tier)
        .env("VRFBIND_TEST_BIN", place.programs.join("gnu"))
        .env("VRFBIND_TEST_COMMAND", &place.command)
        .env("VRFBIND_TEST_LIB", &place.library);
    let (output, status) = capture(&mut command)?;
    judge(&output, status)
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

// ---- vrf: on a kernel that has VRFs ----

/// What a batch has left, or why there was none.
type Batch = OnceLock<Result<PathBuf, String>>;

fn vrf_trials(place: &Arc<Place>, arguments: &Arguments) -> Vec<Trial> {
    let names = place.programs("gnu", "vrf");
    let mut programs: Vec<PathBuf> = names
        .iter()
        .map(|name| place.program("gnu", name))
        .collect();
    programs.extend(scripts(place, "vrf"));
    for example in ["dnsmasq", "radvd", "systemd"] {
        programs.push(place.root.join("examples").join(example).join("run"));
    }
    let others = programs[names.len()..].iter().map(|path| batch_name(path));
    let titles: Vec<_> = names
        .iter()
        .cloned()
        .chain(others)
        .map(|name| format!("vrf: {name}"))
        .collect();
    // Only what the command line selects is worth booting for.
    let wanted: Arc<Vec<PathBuf>> = Arc::new(
        programs
            .iter()
            .zip(&titles)
            .filter(|(_, title)| selected(arguments, title))
            .map(|(program, _)| program.clone())
            .collect(),
    );
    let batch = Arc::new(Batch::new());
    programs
        .into_iter()
        .zip(titles)
        .map(|(program, title)| {
            let (place, batch, wanted) = (place.clone(), batch.clone(), wanted.clone());
            Trial::ignorable_test(title, move || {
                match batch.get_or_init(|| run_batch(&place, &wanted)) {
                    Ok(out) => judge_left(out, &program),
                    Err(why) => skip(why),
                }
            })
        })
        .collect()
}

/// What the batch calls a program: its file's name, or `example-NAME` for examples/NAME/run.
fn batch_name(program: &Path) -> String {
    let name = |path: &Path| {
        path.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    match (name(program).as_str(), program.parent()) {
        ("run", Some(folder)) => format!("example-{}", name(folder)),
        (program, _) => program.to_owned(),
    }
}

/// The rule libtest has for its filters.
fn selected(arguments: &Arguments, title: &str) -> bool {
    let matches = |pattern: &String| {
        if arguments.exact {
            title == pattern
        } else {
            title.contains(pattern.as_str())
        }
    };
    arguments.filter.as_ref().is_none_or(matches) && !arguments.skip.iter().any(matches)
}

fn run_batch(place: &Place, programs: &[PathBuf]) -> Result<PathBuf, String> {
    let out = place.root.join("target/vm/out");
    let _ = fs::remove_dir_all(&out);
    fs::create_dir_all(&out).map_err(|error| format!("{}: {error}", out.display()))?;
    let mut command = Command::new(place.script("with-vrf.sh"));
    command
        .arg(place.script("vrf-batch.sh"))
        .arg(&out)
        .args(programs)
        .env("VRFBIND_TEST_LIB", &place.library)
        .env("VRFBIND_TEST_COMMAND", &place.command)
        .env("VRFBIND_TEST_BIN", place.programs.join("gnu"))
        .stdin(Stdio::null());
    let status = command
        .status()
        .map_err(|error| format!("{command:?}: {error}"))?;
    // 77 says, by an old custom of test suites, that there is no way to run this here.
    match status.code() {
        Some(77) => Err("there is neither a native VRF nor a VM; see above".to_owned()),
        _ => Ok(out),
    }
}

fn judge_left(out: &Path, program: &Path) -> Result<Completion, Failed> {
    let name = batch_name(program);
    let read = |extension: &str| fs::read_to_string(out.join(format!("{name}.{extension}")));
    let Ok(status) = read("status") else {
        let output = read("out").unwrap_or_default();
        return Err(format!("the batch ended before {name} did\n{output}").into());
    };
    let (output, status) = (read("out")?, status.trim().parse().ok());
    if name.starts_with("example-") {
        // An example is no TAP program: it shows sockets and answers, and judges them itself.
        return match status {
            Some(0) => Ok(Completion::Completed),
            _ => Err(format!("exit status {status:?}\n{output}").into()),
        };
    }
    judge(&output, status)
}
