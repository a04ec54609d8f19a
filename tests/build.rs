//! Builds the C programs that `c-tests/programs.txt` lists, by `c-tests/build.sh`: into `target/c-tests/gnu/`, and once
//! more with musl-gcc into `target/c-tests/musl/` where that is installed. The [`GO`] programs are built where Go is
//! installed.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() {
    let sources = Path::new("../c-tests");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={}", sources.display());

    // target/<profile>/build/<package>/out: the same directory for every profile, so that scripts and
    // people find the programs.
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let programs = out
        .ancestors()
        .nth(4)
        .expect("OUT_DIR is deep below target/")
        .join("c-tests");

    let gnu = cc::Build::new()
        .cargo_metadata(false)
        .get_compiler()
        .to_command();
    build_all("gnu", &gnu, sources, &programs);
    let has_go = Command::new("go").arg("version").output().is_ok();
    for (source, program, cgo) in GO.iter().filter(|_| has_go) {
        let mut go = Command::new("go");
        go.env("CGO_ENABLED", cgo).env("GOCACHE", out.join("go"));
        go.args(["build", "-o"])
            .arg(programs.join("gnu").join(program));
        run(go.arg(sources.join(source)));
    }

    let into = programs.join("musl");
    if Command::new("musl-gcc").arg("--version").output().is_ok() {
        let mut musl = Command::new("musl-gcc");
        // Debian's musl has no kernel headers of its own.
        musl.args(["-idirafter", "/usr/include"]);
        let multiarch = Path::new("/usr/include/x86_64-linux-gnu");
        if multiarch.exists() {
            musl.arg("-idirafter").arg(multiarch);
        }
        build_all("musl", &musl, sources, &programs);
        if has_go {
            let child = "reporting_child-go";
            fs::copy(programs.join("gnu").join(child), into.join(child))
                .expect("it has been built");
        }
    } else {
        // What an earlier compiler has left must not be run.
        let _ = fs::remove_dir_all(into);
    }
}

/// Go programs: source, name, and CGO_ENABLED. Without cgo they are static; with it they are dynamic, as in Debian's
/// packages: the resolver calls libc's, and all else makes system calls by the instruction.
const GO: [(&str, &str, &str); 3] = [
    ("command/ask.go", "ask-go", "0"),
    ("command/ask.go", "ask-go-dynamic", "1"),
    ("reach/reporting_child.go", "reporting_child-go", "1"),
];

fn build_all(build: &str, compiler: &Command, sources: &Path, programs: &Path) {
    let mut script = Command::new(sources.join("build.sh"));
    script.args([OsStr::new("make"), OsStr::new(build)]);
    script.arg(programs.join(build));
    script.arg(compiler.get_program()).args(compiler.get_args());
    run(&mut script);
}

fn run(command: &mut Command) {
    let status = command.status().expect("the compiler can be run");
    assert!(status.success(), "{command:?} failed");
}
