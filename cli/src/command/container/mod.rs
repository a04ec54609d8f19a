//! Containers: `vrfbind cdi`, `vrfbind oci`, and the hook that the specification of `vrfbind cdi` names.
//!
//! A container has two ways into a VRF; each is some words in the config.json that its OCI runtime reads:
//!
//! 1. By its environment ([`cdi`]). A device of the Container Device Interface mounts the library and sets the variables. An
//!    entry program that cannot be preloaded would run unbound, so the device brings the hook ([`hook`]), which
//!    judges that program before it starts and fails the container's creation.
//! 2. By `vrfbind exec` as its entry program ([`oci`]; by hand: `--entrypoint`). `vrfbind exec` judges the program
//!    itself, and supervises what cannot be preloaded.
//!
//! Either way the files of this machine appear read-only in the container, at [`LIBRARY`] and [`COMMAND`]: in a directory of
//! their own, which images do not have and engines do not mount over.

pub mod cdi;
pub mod hook;
pub mod oci;
mod runtime;

use crate::failure::{Failure, refuse};
use crate::{installed, library, output, program};
use serde::Serialize;
use std::env;
use std::path::{Path, PathBuf};

/// The library's path in a container.
const LIBRARY: &str = "/opt/vrfbind/libvrfbind.so";

/// The command's path in a container; it looks for the library beside itself first.
const COMMAND: &str = "/opt/vrfbind/vrfbind";

/// The mount options of both. They are only executed.
const OPTIONS: [&str; 4] = ["bind", "ro", "nosuid", "nodev"];

/// The files of this machine that a container gets.
#[derive(Serialize)]
struct Files {
    library: String,
    command: String,
}

impl Files {
    fn find(library: Option<&Path>) -> Result<Self, Failure> {
        let command =
            env::current_exe().map_err(|error| refuse(format!("read /proc/self/exe: {error}")))?;
        if let Some(loader) = program::loader(&command) {
            return Err(refuse(format!(
                "{} is linked dynamically, and most containers do not have its {}; use the static command that `make` \
                 builds and the packages contain",
                command.display(),
                loader.display()
            )));
        }
        let text = |path: PathBuf| {
            path.into_os_string().into_string().map_err(|path| {
                refuse(format!(
                    "{} is not UTF-8, which JSON requires",
                    path.display()
                ))
            })
        };
        Ok(Self {
            library: text(library::find(library)?)?,
            command: text(command)?,
        })
    }

    /// Prints the note of [`installed`].
    fn note(&self, user: &str, named: Option<&Path>) {
        if let Some(note) = installed::note(user, &self.command, &self.library, named) {
            output::say(&note);
        }
    }
}
