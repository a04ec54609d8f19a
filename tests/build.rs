//! Builds the C programs: every `c-tests/*.c` into `target/c-tests/gnu/`, and once more with musl-gcc
//! into `target/c-tests/musl/` where that is installed. `preload-*.c` become shared objects, which the
//! tests preload beside the library; `reach-needs` is linked with one. `reach-child` and `ask` are built once more as
//! static programs. `*.go` are built where Go is installed ([`GO`]). `daemon-*.c` and `sockets.c` are not built for musl:
//! what they look at are Debian's daemons, from outside. `old-glibc.c` is about glibc.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() {
    let sources = Path::new("../c-tests");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={}", sources.display());

    // target/<profile>/build/<package>/out: the same folder for every profile, so that scripts and
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
    build_all(&gnu, sources, &programs.join("gnu"), |_| true);
    let has_go = Command::new("go").arg("version").output().is_ok();
    for (source, program, cgo) in GO.iter().filter(|_| has_go) {
        let mut go = Command::new("go");
        go.env("CGO_ENABLED", cgo).env("GOCACHE", out.join("go"));
        go.args(["build", "-o"])
            .arg(programs.join("gnu").join(program));
        run(go.arg(sources.join(source)));
    }

    if Command::new("musl-gcc").arg("--version").output().is_ok() {
        let mut musl = Command::new("musl-gcc");
        // Debian's musl has no kernel headers of its own.
        musl.args(["-idirafter", "/usr/include"]);
        let multiarch = Path::new("/usr/include/x86_64-linux-gnu");
        if multiarch.exists() {
            musl.arg("-idirafter").arg(multiarch);
        }
        build_all(&musl, sources, &programs.join("musl"), |name| {
            !name.starts_with("daemon-") && name != "sockets" && name != "old-glibc"
        });
        if has_go {
            let child = "reach-child-go";
            fs::copy(
                programs.join("gnu").join(child),
                programs.join("musl").join(child),
            )
            .expect("it has been built");
        }
    }
}

/// Go programs: source, name, and CGO_ENABLED. Without cgo they are static; with it they are dynamic, as in Debian's
/// packages: the resolver calls libc's, and all else makes system calls by the instruction.
const GO: [(&str, &str, &str); 3] = [
    ("ask.go", "ask-go", "0"),
    ("ask.go", "ask-go-dynamic", "1"),
    ("reach-child.go", "reach-child-go", "1"),
];

fn build_all(compiler: &Command, sources: &Path, into: &Path, wanted: impl Fn(&str) -> bool) {
    // A program whose source is gone must not be run again.
    let _ = fs::remove_dir_all(into);
    fs::create_dir_all(into).expect("target/ is writable");
    let mut files: Vec<_> = fs::read_dir(sources)
        .expect("c-tests/ is there")
        .map(|entry| entry.expect("c-tests/ is readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "c"))
        .collect();
    files.sort();
    for source in files {
        let name = source.file_stem().unwrap().to_str().unwrap();
        if !wanted(name) {
            continue;
        }
        let mut command = Command::new(compiler.get_program());
        command.args(compiler.get_args());
        command.args([
            "-std=gnu11",
            "-O1",
            "-g",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-pthread",
        ]);
        let output = if name.starts_with("preload-") {
            command.args(["-shared", "-fPIC"]);
            into.join(name).with_extension("so")
        } else {
            into.join(name)
        };
        command.arg(&source);
        if name == "reach-child" || name == "ask" {
            let mut fixed = Command::new(command.get_program());
            fixed.args(command.get_args()).arg("-static");
            run(fixed.arg("-o").arg(into.join(format!("{name}-static"))));
        }
        match name {
            "old-glibc" => command.arg("-nostartfiles"),
            // Built before it, by its name. The program uses nothing of it.
            "reach-needs" => command
                .args(["-Wl,-rpath,$ORIGIN", "-Wl,--no-as-needed"])
                .arg(into.join("preload-reach.so")),
            // res_query(), before glibc 2.34. musl's library of this name is empty.
            "hook-reach" => command.args(["-ldl", "-lresolv"]),
            // A cancelled thread unwinds its stack there, but for musl's.
            "hook-foreign" if into.ends_with("gnu") => command.args(["-ldl", "-fexceptions"]),
            _ => command.arg("-ldl"),
        };
        run(command.arg("-o").arg(output));
    }
}

fn run(command: &mut Command) {
    let status = command.status().expect("the C compiler can be run");
    assert!(status.success(), "{command:?} failed");
}
