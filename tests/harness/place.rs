//! The paths of everything under test, and whether it was built from the present sources.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;
use std::{env, fs};

pub struct Place {
    /// The project's root.
    pub root: PathBuf,
    /// The library under test.
    pub library: PathBuf,
    /// The command under test.
    pub command: PathBuf,
    /// target/c-tests, with gnu/ and perhaps musl/ in it.
    pub programs: PathBuf,
}

impl Place {
    pub fn new() -> Result<Self, String> {
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
        for product in [&library, &command] {
            refuse_stale(&root, product)?;
        }
        Ok(Self {
            root,
            library,
            command,
            programs: target.join("c-tests"),
        })
    }

    pub fn script(&self, name: &str) -> PathBuf {
        self.root.join("tests").join(name)
    }

    /// Passes to a test program, or to the script that runs it, what is tested and where everything is.
    pub fn set(&self, command: &mut Command) {
        command
            .env("VRFBIND_TEST_BIN", self.programs.join("gnu"))
            .env("VRFBIND_TEST_COMMAND", &self.command)
            .env("VRFBIND_TEST_LIB", &self.library);
    }
}

/// `cargo test` builds neither a cdylib nor a release, so the tested files could be outdated. cargo has written the
/// sources of a product beside it.
fn refuse_stale(root: &Path, product: &Path) -> Result<(), String> {
    let error = |path: &Path, error| format!("{}: {error}; run `make` first", path.display());
    let modified = |path: &Path| -> Result<SystemTime, String> {
        fs::metadata(path)
            .and_then(|metadata| metadata.modified())
            .map_err(|why| error(path, why))
    };
    let list = product.with_extension("d");
    let text = fs::read_to_string(&list).map_err(|why| error(&list, why))?;
    let built = modified(product)?;
    for source in made_from(&text).chain(["Cargo.toml", "Cargo.lock"].map(|name| root.join(name))) {
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

/// The paths behind the colon of a rule for make, where a backslash stands before a space that is part of a name.
fn made_from(rule: &str) -> impl Iterator<Item = PathBuf> {
    let (_, sources) = rule.split_once(": ").unwrap_or_default();
    sources
        .trim_end()
        .replace("\\ ", "\0")
        .split_whitespace()
        .map(|source| PathBuf::from(source.replace('\0', " ")))
        .collect::<Vec<_>>()
        .into_iter()
}
