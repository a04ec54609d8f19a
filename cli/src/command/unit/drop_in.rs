//! Our drop-in: its path, its text, and how it is recognised.

use super::commands::{Commands, line};
use super::read::{DROP_IN, FIRST_LINE, is_ours, not_ours};
use super::root::Root;
use super::syntax::{escaped_path, literal, quoted};
use crate::failure::{Failure, refuse};
use rules::list::To;
use rules::list::parse::parse;
use rules::{RULES_VARIABLE, VRF_VARIABLE, preload};
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

pub struct DropIn {
    directory: PathBuf,
}

impl DropIn {
    pub fn of(unit: &str) -> Self {
        let directory = format!("/etc/systemd/system/{unit}.d").into();
        Self { directory }
    }

    pub fn shown(&self, root: &Root) -> PathBuf {
        root.shown(&self.directory.join(DROP_IN))
    }

    /// None: it does not exist. A failure: the file at its path is not ours.
    pub fn read(&self, root: &Root) -> Result<Option<Vec<u8>>, Failure> {
        let shown = self.shown(root);
        let fails = |error: io::Error| refuse(format!("cannot read {}: {error}", shown.display()));
        let text = root.read_own(&self.directory, DROP_IN).map_err(fails)?;
        match text {
            Some(text) if !is_ours(&text) => Err(not_ours(&shown)),
            text => Ok(text),
        }
    }

    /// Returns whether it replaces an older one.
    pub fn write(&self, root: &Root, text: &str) -> Result<bool, Failure> {
        let old = self.read(root)?;
        root.write(&self.directory, DROP_IN, text)
            .map_err(|error| {
                refuse(format!(
                    "cannot write {}: {error}",
                    self.shown(root).display()
                ))
            })?;
        Ok(old.is_some())
    }

    pub fn remove(&self, root: &Root) -> Result<(), Failure> {
        root.remove(&self.directory, DROP_IN).map_err(|errno| {
            let shown = self.shown(root);
            refuse(format!(
                "cannot remove {}: {}",
                shown.display(),
                errno.desc()
            ))
        })
    }

    pub fn exists(&self, root: &Root) -> bool {
        root.exists(&self.directory.join(DROP_IN))
    }
}

/// What it sets for a service.
pub struct Service<'a> {
    pub vrf: &'a str,
    /// Valid ones.
    pub rules: Option<&'a str>,
    pub library: &'a str,
    /// The path of `vrfbind` for the unit.
    pub command: &'a str,
    /// The unit's own LD_PRELOAD, with unresolved specifiers.
    pub preload: Option<&'a str>,
    pub commands: &'a Commands,
    /// Other files that have to be executable.
    pub executable: &'a [&'a str],
    pub any_device: bool,
}

impl Service<'_> {
    /// The units of the devices that rules name, except the VRF's own, and except devices for which systemd has no unit.
    fn devices_of_rules(&self) -> Vec<String> {
        let list = self.rules.and_then(|rules| parse(rules.as_bytes()).ok());
        let devices = list.iter().flat_map(|list| list.rules());
        let devices = devices.filter_map(|rule| match rule.to() {
            To::Device(device) => str::from_utf8(device.as_bytes()).map(str::to_owned).ok(),
            _ => None,
        });
        let mut devices: Vec<_> = devices
            .filter(|device| device != self.vrf && !device.contains(['"', '\'', '\\']))
            .collect();
        devices.sort_unstable();
        devices.dedup();
        devices.iter().map(|device| device_unit(device)).collect()
    }

    pub fn text(&self) -> String {
        let vrf = self.vrf;
        let device = device_unit(vrf);
        let mut text = format!("{FIRST_LINE}\n[Unit]\nBindsTo={device}\nAfter={device}\n");
        for device in self.devices_of_rules() {
            let _ = write!(text, "Wants={device}\nAfter={device}\n");
        }
        text.push_str("\n[Service]\n");
        let mut set = |name: &str, value: &str| {
            let _ = writeln!(text, "{name}={value}");
        };
        let library = literal(self.library);
        let there = self.preload.unwrap_or_default();
        let preload = preload::with(there.as_bytes(), library.as_bytes()).concat();
        let preload = String::from_utf8_lossy(&preload);
        set("Environment", &quoted(&format!("LD_PRELOAD={preload}")));
        let mut variable = |name: &str, value: &str| {
            set("Environment", &quoted(&literal(&format!("{name}={value}"))));
        };
        variable(VRF_VARIABLE, vrf);
        if let Some(rules) = self.rules {
            variable(RULES_VARIABLE, rules);
        }
        if !self.executable.is_empty() {
            let paths = self.executable.iter().map(|path| quoted(&literal(path)));
            set("ExecPaths", &paths.collect::<Vec<_>>().join(" "));
        }
        for (setting, lines) in &self.commands.supervised {
            set(setting, "");
            for line in lines {
                set(setting, line);
            }
        }
        let any = self.any_device.then_some("--any-device");
        let check = |what: &'static str| {
            let words = [self.command, "check", "--quiet", what]
                .into_iter()
                .chain(any);
            line(&words.chain(["--", vrf]).collect::<Vec<_>>(), false)
        };
        let loaded = check("--loaded");
        for (rights, program) in &self.commands.preloaded {
            set("ExecStartPre", &format!("{rights}{loaded} {program}"));
        }
        if self.commands.preloaded.is_empty() {
            set("ExecStartPre", &loaded);
        }
        // For all processes of the unit, whoever their user is.
        set(
            "ExecStartPost",
            &format!("+{} $MAINPID", check("--running")),
        );
        text
    }
}

/// The unit of a network device, by its name.
fn device_unit(name: &str) -> String {
    escaped_path(&format!("sys/subsystem/net/devices/{name}")) + ".device"
}

/// What it sets for a socket unit.
pub fn of_socket(vrf: &str) -> String {
    format!("{FIRST_LINE}\n[Socket]\nBindToDevice={vrf}\n")
}

/// Whether systemd accepts the name as a device's (ifname_valid of its socket-util.c); it ignores BindToDevice= with any
/// other name.
pub fn is_name_for_socket(vrf: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'%';
    vrf.bytes().all(is_plain) && !vrf.bytes().all(|byte| byte.is_ascii_digit()) && vrf != "all"
}
