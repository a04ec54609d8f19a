//! `vrfbind oci VRF BUNDLE`: a bundle whose process is started by `vrfbind exec`, for runtimes and engines without CDI.
//!
//! Two places of the bundle's config.json are changed: our mounts are added after the others, and our words before the
//! process's arguments. All other bytes stay: the text is cut at the values that the parser found in it, and not
//! serialised again. Ours are recognised by their paths. They are always removed first, so that nothing occurs twice, and
//! `--remove` leaves the original text.

use super::{COMMAND, Files, LIBRARY, OPTIONS};
use crate::command::device;
use crate::failure::{Failure, refuse};
use crate::{file, output};
use rules::DEFAULT;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::ffi::OsString;
use std::fmt::Display;
use std::fs;
use std::io::Read;
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;

/// Put an OCI bundle into a VRF, by its config.json
///
/// The process of the bundle is then started by vrfbind exec. A bundle that is in a VRF already is moved to VRF.
#[derive(clap::Args)]
#[command(allow_missing_positional = true)]
pub struct Args {
    /// The VRF. It need not exist yet
    #[arg(required_unless_present = "remove", conflicts_with = "remove")]
    vrf: Option<OsString>,
    /// The directory of config.json
    bundle: PathBuf,
    /// Print the new config.json, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Take the bundle out of its VRF: config.json is again what it was
    #[arg(long, conflicts_with_all = ["any_device", "library"])]
    remove: bool,
    /// Make vrfbind exec accept a device that is not a VRF
    #[arg(long)]
    any_device: bool,
    /// The path of libvrfbind.so on the host
    #[arg(long, value_name = "PATH")]
    library: Option<PathBuf>,
}

pub fn run(args: Args) -> Result<ExitCode, Failure> {
    let ours = match &args.vrf {
        Some(vrf) => Some(Ours::new(vrf, &args)?),
        None => None,
    };
    let path = args.bundle.join("config.json");
    let shown = path.display();
    let fails = |what: &str, error: &dyn Display| refuse(format!("cannot {what} {shown}: {error}"));
    // The file is replaced, and not a link to it.
    let path = fs::canonicalize(&path).map_err(|error| fails("read", &error))?;
    let old = file::open(&path).map_err(|error| fails("read", &error))?;
    let owner = old.metadata().map_err(|error| fails("read", &error))?;
    let mut text = String::new();
    old.take(MOST)
        .read_to_string(&mut text)
        .map_err(|error| fails("read", &error))?;
    let new = edited(&text, ours.as_ref()).map_err(|error| fails("edit", &error))?;
    if args.remove && new == text {
        return Err(refuse(format!("{shown} was not put into a VRF by vrfbind")));
    }
    if let Some(ours) = &ours {
        ours.files.note("the bundle", args.library.as_deref());
    }
    if args.dry_run {
        output::print(&output::json(new.trim_end_matches('\n')))?;
        return Ok(ExitCode::SUCCESS);
    }
    if new != text {
        file::replace(&path, new.as_bytes(), Some(&owner))
            .map_err(|error| fails("write", &error))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// More than any config.json has.
const MOST: u64 = 16 << 20;

/// What is added.
struct Ours {
    files: Files,
    arguments: Vec<String>,
}

impl Ours {
    fn new(vrf: &OsString, args: &Args) -> Result<Self, Failure> {
        let name = device::name(vrf)?;
        if name.as_bytes() == DEFAULT.as_bytes() {
            return Err(refuse(
                "\"default\" is no VRF; to take the bundle out of its VRF, run `vrfbind oci --remove`",
            ));
        }
        let vrf = str::from_utf8(name.as_bytes())
            .map_err(|_| refuse(format!("{name} is not UTF-8, which JSON requires")))?;
        let files = Files::find(args.library.as_deref())?;
        let any = args.any_device.then_some("--any-device");
        let words = ["exec"].into_iter().chain(any).chain(["--", vrf]);
        Ok(Self {
            arguments: [COMMAND]
                .into_iter()
                .chain(words)
                .map(str::to_owned)
                .collect(),
            files,
        })
    }

    fn mounts(&self) -> [serde_json::Value; 2] {
        let Files { library, command } = &self.files;
        [(library, LIBRARY), (command, COMMAND)].map(|(source, destination)| {
            json!({"destination": destination, "type": "none", "source": source, "options": OPTIONS})
        })
    }
}

/// The places of config.json that are changed.
#[derive(Deserialize)]
struct Config<'a> {
    #[serde(borrow)]
    process: Option<Process<'a>>,
    #[serde(borrow)]
    mounts: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Process<'a> {
    #[serde(borrow)]
    args: Option<&'a RawValue>,
}

/// The text with ours in it, or without.
fn edited(text: &str, ours: Option<&Ours>) -> Result<String, String> {
    let config: Config = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let arguments = config.process.and_then(|process| process.args);
    let arguments = Array::new(text, arguments).ok_or("it has no array process.args")?;
    let mounts = Array::new(text, config.mounts).ok_or("it has no array mounts")?;
    if arguments.values.is_empty() {
        return Err("its process has no arguments".to_owned());
    }

    let count = count_ours(&arguments.values);
    let mut edits = arguments.without(|index, _| index < count);
    if let Some(ours) = ours {
        let words = ours
            .arguments
            .iter()
            .map(|word| json!(word).to_string() + ", ");
        edits.push((arguments.start..arguments.start, words.collect()));
    }
    let is_ours = |mount: &RawValue| {
        let destination =
            serde_json::from_str(mount.get()).map(|Mount { destination }| destination);
        destination.is_ok_and(|path| path == LIBRARY || path == COMMAND)
    };
    edits.extend(mounts.without(|_, mount| is_ours(mount)));
    if let Some(ours) = ours {
        let is_first = mounts.values.iter().all(|mount| is_ours(mount));
        let mounts_text = ours.mounts().each_ref().map(ToString::to_string).join(", ");
        let separator = if is_first { "" } else { ", " };
        edits.push((mounts.end..mounts.end, separator.to_owned() + &mounts_text));
    }

    // From the last edit to the first, so that the positions of the others stay valid.
    edits.sort_by_key(|(range, _)| (range.start, range.end));
    let mut text = text.to_owned();
    for (range, new) in edits.into_iter().rev() {
        text.replace_range(range, &new);
    }
    Ok(text)
}

#[derive(Deserialize)]
struct Mount {
    destination: String,
}

/// How many of the first arguments are ours.
fn count_ours(arguments: &[&RawValue]) -> usize {
    let words = arguments
        .iter()
        .map(|word| serde_json::from_str(word.get()));
    let words: Vec<String> = words.map_while(Result::ok).take(5).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [COMMAND, "exec", "--", _, ..] => 4,
        [COMMAND, "exec", "--any-device", "--", _, ..] => 5,
        _ => 0,
    }
}

/// An array, and the positions of its values in the text.
struct Array<'a> {
    text: &'a str,
    values: Vec<&'a RawValue>,
    /// The beginning of the first value and the end of the last; both behind the bracket, if there is none.
    start: usize,
    end: usize,
}

impl<'a> Array<'a> {
    fn new(text: &'a str, array: Option<&'a RawValue>) -> Option<Self> {
        let array = array?;
        let values: Vec<&RawValue> = serde_json::from_str(array.get()).ok()?;
        let inside = range(text, array).start + 1;
        Some(Self {
            text,
            start: values
                .first()
                .map_or(inside, |value| range(text, value).start),
            end: values.last().map_or(inside, |value| range(text, value).end),
            values,
        })
    }

    /// The edits that remove the values for which `goes` is true, each with one comma.
    fn without(&self, goes: impl Fn(usize, &RawValue) -> bool) -> Vec<(Range<usize>, String)> {
        let goes: Vec<_> = self
            .values
            .iter()
            .enumerate()
            .map(|(index, value)| goes(index, value))
            .collect();
        let ranges: Vec<_> = self
            .values
            .iter()
            .map(|value| range(self.text, value))
            .collect();
        let mut edits = Vec::new();
        let mut first_kept = None;
        for (index, (goes, range)) in goes.iter().zip(&ranges).enumerate() {
            if !goes {
                first_kept.get_or_insert(range.start);
            } else if first_kept.is_some()
                && let Some(before) = index.checked_sub(1)
            {
                edits.push(ranges.get(before).map_or(range.start, |before| before.end)..range.end);
            }
        }
        if goes.first() == Some(&true) {
            edits.push(self.start..first_kept.unwrap_or(self.end));
        }
        edits
            .into_iter()
            .map(|range| (range, String::new()))
            .collect()
    }
}

/// The position in the text of a value that was parsed from it: a raw value is a part of the text itself.
fn range(text: &str, value: &RawValue) -> Range<usize> {
    let start = value.get().as_ptr().addr() - text.as_ptr().addr();
    start..start + value.get().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(vrf: &str) -> Ours {
        Ours {
            arguments: [COMMAND, "exec", "--", vrf].map(str::to_owned).to_vec(),
            files: Files {
                library: "/x".to_owned(),
                command: "/x".to_owned(),
            },
        }
    }

    const CONFIGS: [&str; 4] = [
        "{\n\t\"process\": {\n\t\t\"args\": [\n\t\t\t\"sh\"\n\t\t],\n\t\t\"n\": 1.0\n\t},\n\t\"mounts\": \
         [\n\t\t{\"destination\": \"/proc\"}\n\t]\n}\n",
        r#"{"mounts":[],"process":{"args":["a","\u003c\u0022","é"],"x":18446744073709551615}}"#,
        r#"{"mounts":[ ],"process":{"args":[ "exec" , "--" ]}}"#,
        r#"{"process":{"args":["a"]},"mounts":[{"destination":"/a"} , {"destination":"/b"}],"mountsx":null}"#,
    ];

    #[test]
    fn what_is_taken_out_leaves_what_was_there() {
        for config in CONFIGS {
            let blue = edited(config, Some(&ours("blue"))).unwrap();
            assert_ne!(blue, config);
            assert_eq!(edited(&blue, Some(&ours("blue"))).unwrap(), blue, "once");
            let red = edited(&blue, Some(&ours("red"))).unwrap();
            assert_eq!(red, edited(config, Some(&ours("red"))).unwrap());
            assert_eq!(edited(&red, None).unwrap(), config);
            assert_eq!(edited(config, None).unwrap(), config);
        }
    }

    #[test]
    fn our_words_come_first_and_our_mounts_last() {
        for config in CONFIGS {
            let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            let (old, new) = (
                parse(config),
                parse(&edited(config, Some(&ours("blue"))).unwrap()),
            );
            let arguments = new["process"]["args"].as_array().unwrap();
            assert_eq!(
                arguments[..4],
                [COMMAND, "exec", "--", "blue"].map(|word| json!(word))
            );
            assert_eq!(
                arguments[4..],
                *old["process"]["args"].as_array().unwrap().as_slice()
            );
            let (mut mounts, new) = (old["mounts"].as_array().unwrap().clone(), &new["mounts"]);
            mounts.extend(ours("blue").mounts());
            assert_eq!(new.as_array().unwrap(), &mounts);
        }
    }

    /// Written anew by another program, with a mount behind ours.
    #[test]
    fn ours_are_known_wherever_they_are() {
        let blue = edited(CONFIGS[3], Some(&ours("blue"))).unwrap();
        let mut value: serde_json::Value = serde_json::from_str(&blue).unwrap();
        value["mounts"]
            .as_array_mut()
            .unwrap()
            .push(json!({"destination": "/c"}));
        value["mounts"].as_array_mut().unwrap().swap(0, 3);
        let text = serde_json::to_string_pretty(&value).unwrap();
        let value: serde_json::Value = serde_json::from_str(&edited(&text, None).unwrap()).unwrap();
        assert_eq!(value["process"]["args"], json!(["a"]));
        let destinations = value["mounts"].as_array().unwrap().iter();
        let destinations: Vec<_> = destinations.map(|mount| &mount["destination"]).collect();
        assert_eq!(destinations, ["/b", "/a", "/c"]);
    }

    #[test]
    fn what_is_no_bundle_is_an_error() {
        for config in [
            "",
            "[]",
            "{}",
            r#"{"process":{},"mounts":[]}"#,
            r#"{"process":{"args":[]},"mounts":[]}"#,
            r#"{"process":{"args":["a"]}}"#,
            r#"{"process":{"args":["a"]},"mounts":null}"#,
            r#"{"process":{"args":{}},"mounts":[]}"#,
        ] {
            assert!(edited(config, Some(&ours("blue"))).is_err(), "{config}");
        }
    }

    #[test]
    fn mutated_bundles() {
        crate::fuzz::each_input(&CONFIGS.map(str::as_bytes), |config| {
            if let Ok(text) = str::from_utf8(config)
                && let Ok(new) = edited(text, Some(&ours("blue")))
            {
                assert!(serde_json::from_str::<serde_json::Value>(&new).is_ok());
            }
        });
    }
}
