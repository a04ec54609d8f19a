//! The command `vrfbind`: starts programs in a VRF, and shows which sockets are in one.
//!
//! This file is the table of subcommands and nothing else. Each subcommand is a module with its
//! arguments and a function `run`, which returns the exit status, or a [`failure::Failure`]: one sentence for
//! standard error and the status that goes with it.
//!
//! The command does not link the library and makes no socket that the library could bind. What both must
//! agree on is in [`rules`]. Unsafe code is in [`sys`], and where what it offers asks for a promise: after fork(2).
#![deny(unsafe_code)]
// The unit tests have a `main` of their own, and no command line.
#![cfg_attr(not(test), no_main)]
#![cfg_attr(test, allow(dead_code))]

mod auxv;
mod command;
mod environ;
mod failure;
mod file;
#[cfg(test)]
mod fuzz;
mod installed;
mod library;
#[cfg(test)]
mod manual;
mod output;
mod proc_status;
mod process;
mod program;
mod supervisor;
#[allow(unsafe_code)]
mod sys;
mod values;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use command::{check, completions, container, exec, identify, rule_options, status, unit};
use failure::Failure;
use std::ffi::OsString;
use std::process::{ExitCode, exit};

/// Start programs in a Linux VRF, and show which sockets are in a VRF
///
/// `vrfbind check` says what works on this machine. vrfbind(1) is the manual.
#[derive(Parser)]
#[command(name = "vrfbind", version, propagate_version = false)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Exec(exec::Args),
    Status(status::Args),
    Check(check::Args),
    Enable(unit::Enable),
    Disable(unit::Disable),
    Identify(identify::Identify),
    Pids(identify::Pids),
    Cdi(container::cdi::Args),
    Oci(container::oci::Args),
    Hook(container::hook::Args),
    Completions(completions::Args),
}

#[cfg(not(test))]
sys::starts!(run);

/// What `main` does.
fn run(arguments: Vec<OsString>) -> ! {
    sys::hold_standard();
    // In place of a program, misuse is told apart from what the program could return.
    let misused = match arguments.get(1) {
        Some(argument) if argument == "exec" => failure::EXIT_SELF.into(),
        _ => 2,
    };
    let parsed = Arguments::command().try_get_matches_from(&arguments);
    if let Some(sentence) = rule_options::detached_device(&arguments, &parsed) {
        output::say(&sentence);
        exit(misused)
    }
    let parsed = parsed.and_then(|matches| Arguments::from_arg_matches(&matches));
    let result = match parsed {
        Ok(arguments) => start(arguments.command),
        // What was asked for: --help, --version.
        Err(message) if !message.use_stderr() => {
            output::print(&message.render().to_string()).map(|()| ExitCode::SUCCESS)
        }
        Err(misuse) => {
            let _ = misuse.print();
            exit(match misuse.exit_code() {
                2 => misused,
                status => status,
            })
        }
    };
    let code = result.unwrap_or_else(|failure| {
        output::say(&failure.sentence);
        ExitCode::from(failure.status)
    });
    // An ExitCode says its number to Rust's `main` alone (rust-lang/rust#97100).
    let status = (0..=u8::MAX).find(|&status| ExitCode::from(status) == code);
    exit(status.unwrap_or(failure::EXIT_SELF).into())
}

fn start(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Exec(args) => exec::run(args),
        Command::Status(args) => status::run(args),
        Command::Check(args) => check::run(args),
        Command::Enable(args) => unit::enable(args),
        Command::Disable(args) => unit::disable(args),
        Command::Identify(args) => identify::identify(args),
        Command::Pids(args) => identify::pids(args),
        Command::Cdi(args) => container::cdi::run(args),
        Command::Oci(args) => container::oci::run(args),
        Command::Hook(args) => container::hook::run(args),
        Command::Completions(args) => completions::run(args, Arguments::command()),
    }
}
