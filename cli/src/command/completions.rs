//! `vrfbind completions SHELL`: what `make install` gives to the shells. It is generated from the
//! definitions that the command line is read by, so that it cannot differ from them. Neither `--help` nor
//! the completions show it, for nobody types it.

use crate::failure::Failure;
use crate::output;
use clap::Command;
use clap_complete::Shell;
use std::process::ExitCode;

/// Print the completions for a shell
#[derive(clap::Args)]
#[command(hide = true)]
pub struct Args {
    shell: Shell,
}

pub fn run(args: Args, command: Command) -> Result<ExitCode, Failure> {
    // clap_complete does not look at `hide` of a subcommand.
    let shown = command
        .get_subcommands()
        .filter(|command| !command.is_hide_set());
    let mut shown = Command::new("vrfbind")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommands(shown.cloned());
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut shown, "vrfbind", &mut text);
    output::print(&String::from_utf8_lossy(&text))?;
    Ok(ExitCode::SUCCESS)
}
