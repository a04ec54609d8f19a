//! Whether what a unit or a container will use of vrfbind is installed, or lies in a build directory, say.

use crate::output::word;
use std::path::Path;

/// A message if `user` would use files that are not installed. If the library was named by an option, it is meant.
pub fn note(user: &str, command: &str, library: &str, named: Option<&Path>) -> Option<String> {
    let library = Some(library).filter(|_| named.is_none());
    let is_installed = |path: &&str| path.starts_with("/usr/") || path.starts_with("/opt/");
    let files = [Some(command), library];
    let files = files
        .into_iter()
        .flatten()
        .filter(|path| !is_installed(path));
    let files: Vec<_> = files.map(word).collect();
    (!files.is_empty()).then(|| {
        format!(
            "{user} will use {}, and fail if these files are moved or removed; to use installed ones, run `make install`, \
             then use the installed vrfbind",
            files.join(" and ")
        )
    })
}
