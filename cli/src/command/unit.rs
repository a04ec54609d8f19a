//! `vrfbind enable` and `vrfbind disable`: a drop-in that puts a systemd unit into a VRF, and takes it out
//! again.
//!
//! The unit's own files are read, and never written. The drop-in,
//! `etc/systemd/system/UNIT.d/50-vrfbind.conf`, says of a service:
//!
//! 1. Environment= names the library, before the preloads that the unit has already, and the VRF.
//! 2. BindsTo= and After= let it start when the VRF is there, and stop when the VRF goes.
//! 3. ExecStartPre= runs `vrfbind check --loaded` as the service's user and inside whatever confines the
//!    service. It has the service's environment, so that it is what it checks: a process with the library,
//!    whose socket is bound. If ld.so could not load the library there, or something took the variables
//!    away, the service fails and does not run unbound.
//!
//! ExecStart= and all confinement stay as they are. Of a socket unit it says BindToDevice=, which is
//! systemd's own way; systemd adds the dependency on the device.
//!
//! systemd is not spoken to: a drop-in can be made in an image, below `--root`.

use crate::failure::{Failure, refuse};
use crate::library;
use rules::{DeviceName, VRF_VARIABLE};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

const DROP_IN: &str = "50-vrfbind.conf";

/// Put a systemd unit into a VRF, by a drop-in
///
/// A service gets the library and a check that fails it rather than running it unbound; a socket unit gets
/// BindToDevice=. It takes effect with systemctl daemon-reload and a restart of the unit.
#[derive(clap::Args)]
pub struct Enable {
    /// The unit; .service is added to a name without a suffix
    unit: String,
    /// The VRF, which need not be there yet
    vrf: OsString,
    /// Print the drop-in and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Look for the unit, the library and vrfbind below DIR, and write there
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Let the check at start take a device that is not a VRF
    #[arg(long)]
    any_device: bool,
    /// The path of libvrfbind.so, as the unit sees it
    #[arg(long, value_name = "PATH")]
    library: Option<PathBuf>,
}

/// Take a systemd unit out of its VRF: remove the drop-in that enable made
#[derive(clap::Args)]
pub struct Disable {
    /// The unit; .service is added to a name without a suffix
    unit: String,
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Look below DIR
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

pub fn enable(args: Enable) -> Result<ExitCode, Failure> {
    let name = unit_name(&args.unit)?;
    let device = DeviceName::new(args.vrf.as_bytes()).map_err(|why| {
        refuse(format!(
            "\"{}\" is not a device name: {}",
            args.vrf.display(),
            why.reason()
        ))
    })?;
    let text = str::from_utf8(device.as_bytes()).map_err(|_| {
        refuse(format!(
            "{device} is not UTF-8, which systemd takes no other text than"
        ))
    })?;
    let unit = Unit::read(&args.root, &name)?;
    let drop_in = if name.ends_with(".socket") {
        of_socket(text)
    } else {
        let (library, command) = programs(&args)?;
        of_service(&Service {
            vrf: text,
            library: &library,
            command: &command,
            preload: &unit.preload()?,
            starts: &unit.starts(),
            any_device: args.any_device,
        })
    };
    let path = drop_in_path(&args.root, &name);
    if args.dry_run {
        print(&format!("# {}\n{drop_in}", path.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    write(&path, &drop_in)
        .map_err(|error| refuse(format!("cannot write {}: {error}", path.display())))?;
    print(&format!(
        "{} is written; systemctl daemon-reload and systemctl restart {name} put it into effect\n",
        path.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

pub fn disable(args: Disable) -> Result<ExitCode, Failure> {
    let name = unit_name(&args.unit)?;
    let path = drop_in_path(&args.root, &name);
    let shown = path.display();
    if !path.exists() {
        return Err(refuse(format!(
            "{name} is in no VRF by vrfbind: there is no {shown}"
        )));
    }
    if args.dry_run {
        print(&format!("{shown} would be removed\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    fs::remove_file(&path).map_err(|error| refuse(format!("cannot remove {shown}: {error}")))?;
    // Other drop-ins keep the folder.
    if let Some(folder) = path.parent() {
        let _ = fs::remove_dir(folder);
    }
    print(&format!(
        "{shown} is removed; systemctl daemon-reload and systemctl restart {name} put it into effect\n"
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn print(text: &str) -> Result<(), Failure> {
    io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| refuse(format!("write to standard output: {error}")))
}

/// In one step, so that systemd never reads half of it.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let new = path.with_extension("conf.new");
    fs::write(&new, text)?;
    fs::rename(&new, path)
}

fn drop_in_path(root: &Path, unit: &str) -> PathBuf {
    let folder = format!("etc/systemd/system/{unit}.d");
    root.join(folder).join(DROP_IN)
}

/// The unit's full name. The characters are those of systemd.unit(5); others would be a path.
fn unit_name(unit: &str) -> Result<String, Failure> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    if unit.is_empty() || unit.starts_with('.') || !unit.chars().all(is_name) {
        return Err(refuse(format!("\"{unit}\" is not the name of a unit")));
    }
    match unit.rsplit_once('.').map(|(_, suffix)| suffix) {
        Some("service" | "socket") => Ok(unit.to_owned()),
        Some(
            "target" | "mount" | "automount" | "swap" | "timer" | "path" | "slice" | "scope"
            | "device",
        ) => Err(refuse(format!(
            "{unit} has no sockets: only a service or a socket unit can be in a VRF"
        ))),
        _ => Ok(format!("{unit}.service")),
    }
}

// ---- What is there already ----

/// The text of a unit and of its drop-ins but ours, in the order systemd reads them.
struct Unit(Vec<String>);

/// Where systemd looks for units, the first first (systemd.unit(5)).
const FOLDERS: [&str; 5] = [
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];

impl Unit {
    fn read(root: &Path, name: &str) -> Result<Self, Failure> {
        let mut names = vec![name.to_owned()];
        if let Some((template, rest)) = name.split_once('@')
            && let Some((_, suffix)) = rest.rsplit_once('.')
        {
            names.push(format!("{template}@.{suffix}"));
        }
        // systemd's own search path, if it was given another.
        let folders: Vec<PathBuf> = match env::var_os("SYSTEMD_UNIT_PATH") {
            Some(path) if root == Path::new("/") => env::split_paths(&path)
                .filter(|folder| folder.is_absolute())
                .collect(),
            _ => FOLDERS.iter().map(|folder| root.join(folder)).collect(),
        };
        let places = || {
            names
                .iter()
                .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        };
        let main = places().find_map(|place| fs::read_to_string(place).ok());
        let main = main
            .ok_or_else(|| refuse(format!("there is no unit {name} below {}", root.display())))?;
        let mut texts = vec![main];
        for place in places() {
            let mut folder = place.into_os_string();
            folder.push(".d");
            let files = fs::read_dir(PathBuf::from(folder))
                .into_iter()
                .flatten()
                .flatten();
            let mut files: Vec<_> = files.map(|file| file.path()).collect();
            files.retain(|file| {
                file.extension().is_some_and(|suffix| suffix == "conf")
                    && file.file_name().is_some_and(|name| name != DROP_IN)
            });
            files.sort();
            texts.extend(
                files
                    .iter()
                    .filter_map(|file| fs::read_to_string(file).ok()),
            );
        }
        Ok(Self(texts))
    }

    /// The values of a setting of the section [Service]; an empty one undoes those before it.
    fn values(&self, setting: &str) -> Vec<String> {
        let mut values = Vec::new();
        for text in &self.0 {
            let text = text.replace("\\\n", " ");
            let mut section = "";
            for line in text.lines().map(str::trim) {
                if line.starts_with('[') {
                    section = line;
                }
                if section != "[Service]" || line.starts_with(['#', ';']) {
                    continue;
                }
                let Some((name, value)) = line.split_once('=') else {
                    continue;
                };
                match (name.trim() == setting, value.trim()) {
                    (false, _) => {}
                    (true, "") => values.clear(),
                    (true, value) => values.push(value.to_owned()),
                }
            }
        }
        values
    }

    /// LD_PRELOAD as the unit's Environment= has it. EnvironmentFile= would come after our Environment= and
    /// win.
    fn preload(&self) -> Result<Option<String>, Failure> {
        let environment = self.values("Environment");
        let preload = environment.iter().flat_map(|line| words(line)).rev();
        let preload = preload
            .into_iter()
            .find_map(|word| Some(word.strip_prefix("LD_PRELOAD=")?.to_owned()));
        for file in self.values("EnvironmentFile") {
            let path = file.trim_start_matches('-');
            let text = fs::read_to_string(path).unwrap_or_default();
            let sets = |name: &str| {
                text.lines().any(|line| {
                    line.trim()
                        .strip_prefix(name)
                        .is_some_and(|rest| rest.starts_with('='))
                })
            };
            if let Some(name) = ["LD_PRELOAD", VRF_VARIABLE]
                .into_iter()
                .find(|name| sets(name))
            {
                return Err(refuse(format!(
                    "the unit's EnvironmentFile={path} sets {name}, and would win over the \
                     drop-in; take it out of there"
                )));
            }
        }
        Ok(preload.filter(|value| !value.is_empty()))
    }

    /// The programs of ExecStart=, each once, as the unit writes them.
    fn starts(&self) -> Vec<String> {
        let mut programs = Vec::new();
        for line in self.values("ExecStart") {
            let word = words(&line).into_iter().next().unwrap_or_default();
            let program = word
                .trim_start_matches(['@', '-', ':', '+', '!', '|'])
                .to_owned();
            if !program.is_empty() && !programs.contains(&program) {
                programs.push(program);
            }
        }
        programs
    }
}

/// Words as systemd parts them: quotes hold blanks together (systemd.syntax(7)). Escapes stay as they are.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in line.chars() {
        match quote {
            Some(mark) if c == mark => quote = None,
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c.is_ascii_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            _ => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

// ---- What is written ----

struct Service<'a> {
    vrf: &'a str,
    library: &'a str,
    command: &'a str,
    preload: &'a Option<String>,
    starts: &'a [String],
    any_device: bool,
}

fn of_service(service: &Service) -> String {
    let vrf = service.vrf;
    let device = format!("sys-subsystem-net-devices-{}.device", escaped(vrf));
    let mut text = format!(
        "# Written by vrfbind enable; vrfbind disable removes it.\n\
         [Unit]\nBindsTo={device}\nAfter={device}\n\n[Service]\n"
    );
    let preload = match service.preload {
        Some(there) if rules::preload::contains(there.as_bytes(), service.library.as_bytes()) => {
            there.clone()
        }
        Some(there) => format!("{}:{there}", service.library),
        None => service.library.to_owned(),
    };
    let _ = writeln!(
        text,
        "Environment={}",
        quoted(&format!("LD_PRELOAD={preload}"))
    );
    let _ = writeln!(
        text,
        "Environment={}",
        quoted(&format!("{VRF_VARIABLE}={vrf}"))
    );
    let any = if service.any_device {
        " --any-device"
    } else {
        ""
    };
    let head = format!(
        "ExecStartPre={} check --quiet --loaded{any}",
        quoted(service.command)
    );
    let vrf = quoted(vrf).replace('$', "$$");
    match service.starts {
        [] => {
            let _ = writeln!(text, "{head} {vrf}");
        }
        starts => {
            for start in starts {
                let _ = writeln!(text, "{head} {vrf} {start}");
            }
        }
    }
    text
}

fn of_socket(vrf: &str) -> String {
    format!(
        "# Written by vrfbind enable; vrfbind disable removes it.\n[Socket]\nBindToDevice={}\n",
        vrf.replace('%', "%%")
    )
}

/// As systemd-escape(1) does.
fn escaped(name: &str) -> String {
    let mut escaped = String::new();
    for (at, byte) in name.bytes().enumerate() {
        match byte {
            b'/' => escaped.push('-'),
            b'.' if at == 0 => escaped.push_str("\\x2e"),
            b':' | b'_' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                escaped.push(byte.into())
            }
            _ => {
                let _ = write!(escaped, "\\x{byte:02x}");
            }
        }
    }
    escaped
}

/// A word for Environment= and Exec...=, where `%` is a specifier.
fn quoted(word: &str) -> String {
    let text = word
        .replace('%', "%%")
        .replace('\\', "\\\\")
        .replace('"', "\\\"");
    if text == word && !word.contains(['\'', ' ', '\t', ';']) {
        text
    } else {
        format!("\"{text}\"")
    }
}

/// The library and this command, as the unit will see them.
fn programs(args: &Enable) -> Result<(String, String), Failure> {
    let text = |path: PathBuf| {
        path.into_os_string().into_string().map_err(|path| {
            refuse(format!(
                "{} is not UTF-8, which systemd takes no other text than",
                path.display()
            ))
        })
    };
    if args.root == Path::new("/") {
        let command =
            env::current_exe().map_err(|error| refuse(format!("read /proc/self/exe: {error}")))?;
        return Ok((
            text(library::find(args.library.as_deref())?)?,
            text(command)?,
        ));
    }
    let multiarch = format!("/usr/lib/{}-linux-gnu/libvrfbind.so", env::consts::ARCH);
    let library = match &args.library {
        Some(library) => Some(library.clone()),
        None => below(
            &args.root,
            &[
                "/usr/local/lib/libvrfbind.so",
                "/usr/lib/libvrfbind.so",
                &multiarch,
            ],
        ),
    };
    let command = below(&args.root, &["/usr/local/bin/vrfbind", "/usr/bin/vrfbind"]);
    let root = args.root.display();
    let library = library.ok_or_else(|| {
        refuse(format!(
            "libvrfbind.so is not installed below {root}; name it by --library"
        ))
    })?;
    let command = command.ok_or_else(|| {
        refuse(format!(
            "vrfbind is not installed below {root}, and the unit needs it to check itself"
        ))
    })?;
    Ok((text(library)?, text(command)?))
}

fn below(root: &Path, paths: &[&str]) -> Option<PathBuf> {
    let path = paths
        .iter()
        .find(|path| root.join(path.trim_start_matches('/')).exists())?;
    Some(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(texts: &[&str]) -> Unit {
        Unit(texts.iter().map(|text| (*text).to_owned()).collect())
    }

    #[test]
    fn names_of_units() {
        assert_eq!(unit_name("radvd").unwrap(), "radvd.service");
        assert_eq!(unit_name("a.b").unwrap(), "a.b.service");
        assert_eq!(
            unit_name("dns@vrf\\x2dblue.service").unwrap(),
            "dns@vrf\\x2dblue.service"
        );
        assert_eq!(unit_name("x.socket").unwrap(), "x.socket");
        for bad in [
            "",
            "../x",
            "a/b.service",
            ".hidden",
            "multi-user.target",
            "a b",
        ] {
            assert!(unit_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn device_units_are_named_as_systemd_names_them() {
        assert_eq!(escaped("blue"), "blue");
        assert_eq!(escaped("vrf-blue"), "vrf\\x2dblue");
        assert_eq!(escaped(".a@b"), "\\x2ea\\x40b");
    }

    #[test]
    fn keeps_the_preloads_of_the_unit() {
        let unit = unit(&[
            "[Service]\nEnvironment=A=1 \"LD_PRELOAD=/usr/lib/libeatmydata.so\"\nExecStart=-/usr/sbin/radvd \
            -n\n",
            "[Service]\nEnvironment=B=2\n[Install]\nEnvironment=LD_PRELOAD=/not/here.so\n",
        ]);
        let preload = unit.preload().unwrap();
        assert_eq!(preload.as_deref(), Some("/usr/lib/libeatmydata.so"));
        let text = of_service(&Service {
            vrf: "vrf-blue",
            library: "/usr/lib/libvrfbind.so",
            command: "/usr/bin/vrfbind",
            preload: &preload,
            starts: &unit.starts(),
            any_device: false,
        });
        for line in [
            "BindsTo=sys-subsystem-net-devices-vrf\\x2dblue.device",
            "After=sys-subsystem-net-devices-vrf\\x2dblue.device",
            "Environment=LD_PRELOAD=/usr/lib/libvrfbind.so:/usr/lib/libeatmydata.so",
            "Environment=VRFBIND_VRF=vrf-blue",
            "ExecStartPre=/usr/bin/vrfbind check --quiet --loaded vrf-blue /usr/sbin/radvd",
        ] {
            assert!(
                text.lines().any(|other| other == line),
                "{line} is not in\n{text}"
            );
        }
    }

    #[test]
    fn an_empty_setting_undoes_those_before_it() {
        let unit = unit(&[
            "[Service]\nExecStart=/a\n",
            "[Service]\nExecStart=\nExecStart=@/b \\\n  c\nExecStart=/b\n",
        ]);
        assert_eq!(unit.starts(), ["/b"]);
    }

    #[test]
    fn quotes_what_systemd_would_read_otherwise() {
        assert_eq!(quoted("A=b"), "A=b");
        assert_eq!(quoted("A=50%\"\\"), "\"A=50%%\\\"\\\\\"");
    }
}
