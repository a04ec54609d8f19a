//! The files of a unit: its own and its drop-ins, in the order in which systemd applies them, without ours.
//!
//! On `/`, where systemd runs, systemd is asked (systemctl show): for these files, for the unit's name, and for the
//! settings that several files may contribute to. It is not asked about a unit whose files have changed since systemd has
//! read them (NeedDaemonReload=): the files will be in effect.
//!
//! Otherwise the files are found by the rules of systemd.unit(5), below the root: the search path in order; aliases,
//! templates and masks; drop-ins of all names, of templates, of prefixes (`foo-.service.d`) and of the type
//! (`service.d`), sorted by their names, whatever their directories; the first one of a name masks the others.

use super::root::Root;
use super::syntax::{self, Assignment, is_yes, unescaped_name, words};
use crate::failure::{Failure, refuse};
use nix::sys::stat::SFlag;
use std::collections::HashMap;
use std::env;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

/// The name of our drop-in, and its first line. A file that begins otherwise is not ours.
pub const DROP_IN: &str = "50-vrfbind.conf";
pub const FIRST_LINE: &str = "# Written by vrfbind enable; vrfbind disable removes it.";

/// The search path of system units, by priority (systemd.unit(5), and lib for distributions with a /lib of its own).
const SEARCH_PATH: [&str; 13] = [
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/run/systemd/generator.early",
    "/etc/systemd/system",
    "/etc/systemd/system.attached",
    "/run/systemd/system",
    "/run/systemd/system.attached",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/generator.late",
];

pub struct Unit {
    /// systemd's name for it, whichever of its names was given.
    pub id: String,
    pub files: Vec<File>,
    /// Its properties, as systemd reports them.
    shown: Option<HashMap<String, String>>,
}

pub struct File {
    pub path: PathBuf,
    pub assignments: Vec<Assignment>,
}

/// What was found under a name.
pub enum Found {
    Unit(Unit),
    /// Its file is a link to /dev/null, or empty.
    Masked(PathBuf),
    Nothing,
}

/// The properties that systemd is asked for. Not ExecPaths=: a part of it may be ours.
const PROPERTIES: [&str; 20] = [
    "Id",
    "LoadState",
    "NeedDaemonReload",
    "FragmentPath",
    "DropInPaths",
    "TriggeredBy",
    "Type",
    "PIDFile",
    "User",
    "DynamicUser",
    "NoNewPrivileges",
    "NoExecPaths",
    "RestrictAddressFamilies",
    "SystemCallFilter",
    "RootDirectory",
    "RootImage",
    "EnvironmentFiles",
    "CapabilityBoundingSet",
    "AmbientCapabilities",
    "PrivateUsers",
];

impl Unit {
    pub fn find(root: &Root, name: &str) -> Result<Found, Failure> {
        let is_asked = root.is_host && Path::new("/run/systemd/system").is_dir();
        let shown = if is_asked { show(name) } else { None };
        let property = |name| shown.as_ref()?.get(name).map(String::as_str);
        let is_current = property("NeedDaemonReload") == Some("no");
        let (id, paths) = match property("LoadState") {
            Some("masked") if is_current => {
                return Ok(Found::Masked(
                    property("FragmentPath").unwrap_or_default().into(),
                ));
            }
            Some("not-found") | None => (name.to_owned(), None),
            Some(_) if !is_current => (name.to_owned(), None),
            Some(_) => {
                let id = property("Id").unwrap_or(name);
                let paths = property("FragmentPath")
                    .into_iter()
                    .chain(property("DropInPaths").unwrap_or_default().split(' '));
                let paths = paths.filter(|path| !path.is_empty()).map(PathBuf::from);
                (as_asked_for(id, name), Some(paths.collect()))
            }
        };
        let (id, paths, shown) = match paths {
            Some(paths) => (id, paths, shown),
            None => match Search::new(root, is_asked).find(name) {
                Located::Files { id, paths } => (id, paths, None),
                Located::Masked(path) => return Ok(Found::Masked(path)),
                Located::Nothing => return Ok(Found::Nothing),
            },
        };
        let mut files = Vec::new();
        for path in paths {
            let Some(text) = root.read(&path)? else {
                continue;
            };
            if path.file_name().is_none_or(|name| name != DROP_IN) {
                let assignments = syntax::assignments(&text);
                files.push(File { path, assignments });
            } else if !is_ours(&text) {
                return Err(not_ours(&root.shown(&path)));
            }
        }
        Ok(Found::Unit(Self { id, files, shown }))
    }

    /// The values of a setting; an empty value resets those before it.
    pub fn values(&self, section: &str, setting: &str) -> Vec<&str> {
        let mut values = Vec::new();
        let assignments = self.files.iter().flat_map(|file| &file.assignments);
        for one in assignments.filter(|one| one.section == section && one.name == setting) {
            match one.value.as_str() {
                "" => values.clear(),
                value => values.push(value),
            }
        }
        values
    }

    /// The value of a setting of [Service] that has only one.
    pub fn value(&self, setting: &str) -> &str {
        match self.property(setting) {
            Some(value) => value,
            None => self
                .values("Service", setting)
                .last()
                .copied()
                .unwrap_or_default(),
        }
    }

    pub fn is_set(&self, setting: &str) -> bool {
        is_yes(self.value(setting))
    }

    /// The words of a setting of [Service] that is a list.
    pub fn list(&self, setting: &str) -> Vec<String> {
        self.lines(setting)
            .into_iter()
            .flat_map(words)
            .map(|word| word.text)
            .collect()
    }

    fn lines(&self, setting: &str) -> Vec<&str> {
        match self.property(setting) {
            // Also for RestrictAddressFamilies=none.
            None | Some("") => self.values("Service", setting),
            Some(value) => vec![value],
        }
    }

    fn property(&self, setting: &str) -> Option<&str> {
        self.shown.as_ref()?.get(setting).map(String::as_str)
    }

    /// Whether a list of what is allowed, or after a `~` of what is not, allows this: the first line decides which of the
    /// two it is, and the others add to it or take from it (systemd.exec(5)).
    pub fn allows(&self, setting: &str, what: &str) -> bool {
        let (mut is_of_allowed, mut listed) = (None, false);
        for line in self.lines(setting) {
            let (is_inverted, line) = match line.strip_prefix('~') {
                Some(line) => (true, line),
                None => (false, line),
            };
            let is_of_allowed = *is_of_allowed.get_or_insert(!is_inverted);
            // A system call may have an error of its own after a colon.
            let names = words(line).into_iter().map(|word| word.text);
            if names
                .into_iter()
                .any(|name| name.split(':').next() == Some(what))
            {
                listed = is_of_allowed != is_inverted;
            }
        }
        is_of_allowed.is_none_or(|is_of_allowed| listed == is_of_allowed)
    }

    /// Whether a set of capabilities (systemd.exec(5)) has one. `by_default`: whether it has all or none before the
    /// first line.
    pub fn has_capability(&self, setting: &str, by_default: bool, name: &str) -> bool {
        let names_it = |words: Vec<syntax::Word>| {
            let mut names = words.iter();
            names.any(|word| word.text.eq_ignore_ascii_case(name))
        };
        if let Some(names) = self.property(setting) {
            return names_it(words(names));
        }
        let lines = self.files.iter().flat_map(|file| &file.assignments);
        let lines = lines.filter(|one| one.section == "Service" && one.name == setting);
        let (mut has, mut is_default) = (by_default, true);
        for line in lines.map(|one| one.value.as_str()) {
            let (is_inverted, names) = match line.strip_prefix('~') {
                Some(names) => (true, names),
                None => (false, line),
            };
            let is_named = names_it(words(names));
            // A line without names resets the set; others add to it or take from it.
            let is_empty = names.trim().is_empty();
            has = match is_inverted {
                _ if is_empty || is_default => is_inverted != is_named,
                true => has && !is_named,
                false => has || is_named,
            };
            is_default = is_empty && is_inverted == by_default;
        }
        has
    }

    /// The units that start it, as far as systemd knows.
    pub fn triggered_by(&self) -> impl Iterator<Item = &str> {
        self.property("TriggeredBy").unwrap_or_default().split(' ')
    }

    /// Its environment files.
    pub fn environment_files(&self) -> Vec<PathBuf> {
        if let Some(shown) = self.property("EnvironmentFiles") {
            let files = shown
                .lines()
                .filter_map(|line| line.rsplit_once(" (ignore_errors="));
            return files.map(|(path, _)| path.into()).collect();
        }
        let files = self.values("Service", "EnvironmentFile").into_iter();
        let resolved = files.filter_map(|file| self.resolved(file.trim_start_matches('-')));
        resolved.map(PathBuf::from).collect()
    }

    /// A text with its specifiers resolved; None if it has a specifier that does not depend on the unit's name alone.
    pub fn resolved(&self, text: &str) -> Option<String> {
        let (prefix, instance) = match stem(&self.id).split_once('@') {
            Some((prefix, instance)) => (prefix, instance),
            None => (stem(&self.id), ""),
        };
        let mut resolved = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            resolved.push_str(before);
            match after.chars().next() {
                Some('%') => resolved.push('%'),
                // An instance that is not known.
                Some('i' | 'I') if self.id.contains("@.") => return None,
                Some('i') => resolved.push_str(instance),
                Some('I') => resolved.push_str(&unescaped_name(instance)),
                Some('p') => resolved.push_str(prefix),
                Some('P') => resolved.push_str(&unescaped_name(prefix)),
                Some('n') => resolved.push_str(&self.id),
                Some('N') => resolved.push_str(stem(&self.id)),
                _ => return None,
            }
            rest = after.get(1..).unwrap_or_default();
        }
        resolved.push_str(rest);
        Some(resolved)
    }
}

pub fn is_ours(drop_in: &[u8]) -> bool {
    drop_in.split(|&byte| byte == b'\n').next() == Some(FIRST_LINE.as_bytes())
}

pub fn not_ours(path: &Path) -> Failure {
    refuse(format!(
        "{} was not written by vrfbind enable, and is left as it is; give it another name",
        path.display()
    ))
}

// ---- Names ----

/// Without the suffix.
pub fn stem(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// `a@.service` of `a@b.service`.
pub fn template(name: &str) -> Option<String> {
    let (stem, suffix) = name.rsplit_once('.')?;
    let (prefix, instance) = stem.split_once('@')?;
    (!instance.is_empty()).then(|| format!("{prefix}@.{suffix}"))
}

/// The instance that systemd is asked for when a template is meant, which has no state of its own.
const ANY_INSTANCE: &str = "vrfbind";

fn as_asked_for(id: &str, name: &str) -> String {
    if name.contains("@.") {
        template(id)
    } else {
        None
    }
    .unwrap_or_else(|| id.to_owned())
}

// ---- systemd's own view ----

fn show(name: &str) -> Option<HashMap<String, String>> {
    let name = name.replace("@.", &format!("@{ANY_INSTANCE}."));
    let properties = format!("--property={}", PROPERTIES.join(","));
    systemctl(&["show", &properties, "--", &name])
}

/// A property with several values may have several lines. None: systemd does not run, or cannot be asked.
fn systemctl(arguments: &[&str]) -> Option<HashMap<String, String>> {
    let output = Command::new("systemctl")
        .arg("--no-pager")
        .args(arguments)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout)
        .ok()
        .filter(|_| output.status.success())?;
    let mut shown = HashMap::<String, String>::new();
    for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
        let values = shown.entry(name.to_owned()).or_default();
        if !values.is_empty() {
            values.push('\n');
        }
        values.push_str(value);
    }
    (!shown.is_empty()).then_some(shown)
}

// ---- The files below a root ----

struct Search<'a> {
    root: &'a Root,
    directories: Vec<PathBuf>,
    /// For each name in the search path, the first entry.
    entries: HashMap<String, Target>,
}

enum Target {
    Alias(String),
    File(PathBuf),
    /// A link to /dev/null, which an image need not have.
    Null(PathBuf),
}

enum Located {
    Files { id: String, paths: Vec<PathBuf> },
    Masked(PathBuf),
    Nothing,
}

/// How many aliases may follow one another (FOLLOW_MAX of systemd's unit-file.c).
const ALIASES: usize = 8;

impl<'a> Search<'a> {
    fn new(root: &'a Root, is_asked: bool) -> Self {
        let asked = if is_asked {
            systemctl(&["show", "--property=UnitPath"])
        } else {
            None
        };
        let given = env::var_os("SYSTEMD_UNIT_PATH").filter(|_| root.is_host);
        let directories: Vec<PathBuf> = match (
            asked.as_ref().and_then(|asked| asked.get("UnitPath")),
            given,
        ) {
            (Some(directories), _) => directories.split(' ').map(PathBuf::from).collect(),
            (None, Some(directories)) => env::split_paths(&directories)
                .filter(|directory| directory.is_absolute())
                .collect(),
            (None, None) => SEARCH_PATH.map(PathBuf::from).into(),
        };
        let mut search = Self {
            root,
            directories,
            entries: HashMap::new(),
        };
        for directory in search.directories.clone() {
            for entry in root.list(&directory) {
                let is_unit = entry.name.ends_with(".service") || entry.name.ends_with(".socket");
                if !is_unit || search.entries.contains_key(&entry.name) {
                    continue;
                }
                let path = directory.join(&entry.name);
                let target = match &entry.link {
                    None => Target::File(path),
                    Some(link) if link == Path::new("/dev/null") => Target::Null(path),
                    Some(link) => match search.alias(&directory, link) {
                        // As made by systemctl enable, from one directory of the search path to another.
                        Some(alias) if alias == entry.name => continue,
                        Some(alias) => Target::Alias(alias),
                        None => Target::File(path),
                    },
                };
                search.entries.insert(entry.name, target);
            }
        }
        search
    }

    /// The unit that a link names. None: it points out of the search path, to a file that is a unit nevertheless.
    fn alias(&self, directory: &Path, link: &Path) -> Option<String> {
        let mut target = PathBuf::new();
        for component in directory.join(link).components() {
            match component {
                Component::CurDir => {}
                Component::ParentDir => drop(target.pop()),
                other => target.push(other),
            }
        }
        let parent = target.parent()?;
        let is_in_path = self.directories.iter().any(|directory| directory == parent);
        is_in_path.then(|| target.file_name()?.to_str().map(str::to_owned))?
    }

    /// The unit that a name finally stands for: the unit's own name, and no alias.
    fn resolve(&self, name: &str) -> Option<(String, &Target)> {
        let mut id = name.to_owned();
        for _ in 0..ALIASES {
            let entry = self.entries.get(&id);
            match entry.or_else(|| self.entries.get(&template(&id)?))? {
                Target::Alias(alias) => id = instance_of(alias, &id),
                target => return Some((id, target)),
            }
        }
        None
    }

    fn find(&self, name: &str) -> Located {
        let (id, path) = match self.resolve(name) {
            Some((id, Target::File(path))) => (id, path),
            Some((_, Target::Null(path))) => return Located::Masked(path.clone()),
            _ => return Located::Nothing,
        };
        match self.root.stat(path) {
            Err(_) => return Located::Nothing,
            Ok(file) if is_null_or_empty(&file) => return Located::Masked(path.clone()),
            Ok(_) => {}
        }
        let mut aliases: Vec<_> = self.entries.keys().filter(|other| **other != id).collect();
        aliases.retain(|other| self.resolve(other).is_some_and(|(other, _)| other == id));
        aliases.sort_unstable();
        let mut directories = Vec::new();
        let (_, suffix) = id.rsplit_once('.').unwrap_or_default();
        let names = [id.as_str()]
            .into_iter()
            .chain(aliases.into_iter().map(String::as_str));
        for name in names.chain([suffix]) {
            for directory in &self.directories {
                let names = drop_in_names(name).into_iter();
                directories.extend(names.map(|name| directory.join(format!("{name}.d"))));
            }
        }
        let mut paths = vec![path.clone()];
        paths.extend(self.drop_ins(&directories));
        Located::Files { id, paths }
    }

    /// Sorted as systemd sorts them.
    fn drop_ins(&self, directories: &[PathBuf]) -> Vec<PathBuf> {
        let mut found: Vec<(String, PathBuf)> = Vec::new();
        for directory in directories {
            for entry in self.root.list(directory) {
                let is_seen = found.iter().any(|(name, _)| *name == entry.name);
                if entry.name.ends_with(".conf") && !is_seen {
                    let path = directory.join(&entry.name);
                    found.push((entry.name, path));
                }
            }
        }
        found.sort_unstable();
        found.into_iter().map(|(_, path)| path).collect()
    }
}

fn is_null_or_empty(file: &libc::stat) -> bool {
    match SFlag::from_bits_truncate(file.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFREG => file.st_size == 0,
        SFlag::S_IFCHR => true,
        _ => false,
    }
}

/// The instance for which a template alias stands.
fn instance_of(alias: &str, id: &str) -> String {
    match (alias.split_once("@."), stem(id).split_once('@')) {
        (Some((prefix, suffix)), Some((_, instance))) => format!("{prefix}@{instance}.{suffix}"),
        _ => alias.to_owned(),
    }
}

/// The names whose drop-ins a unit of this name has (unit_file_find_dirs of systemd's dropin.c): of `a-b@c.service`
/// besides
/// its own `a-b@.service`, `a-.service`, `a-@c.service` and `a-@.service`.
fn drop_in_names(name: &str) -> Vec<String> {
    let mut names = vec![name.to_owned()];
    if let Some(template) = template(name) {
        names.extend(drop_in_names(&template));
    }
    names.extend(
        shorter(name)
            .into_iter()
            .flat_map(|name| drop_in_names(&name)),
    );
    names
}

/// The name without the last part of its prefix.
fn shorter(name: &str) -> Option<String> {
    let (stem, suffix) = name.rsplit_once('.')?;
    let (prefix, instance) = stem.split_once('@').unwrap_or((stem, ""));
    let (shorter, _) = prefix
        .strip_suffix('-')
        .unwrap_or(prefix)
        .rsplit_once('-')?;
    let instance = if instance.is_empty() {
        String::new()
    } else {
        format!("@{instance}")
    };
    (!shorter.is_empty()).then(|| format!("{shorter}-{instance}.{suffix}"))
}
