//! The rules that the sockets of a process come under (VRFBIND_RULES, libvrfbind(7)).
//!
//! The rules in effect are those that the library has read at load, and keeps in memory that nobody writes to
//! ([`rules::info`]). If there is no library, or it cannot be read, the rules are taken from the environment with which
//! the process was started, and from the file as it is now. If the two differ, a note reports it.

use super::directory::{Directory, open_below};
use super::{Library, variable};
use crate::environ;
use crate::output::{text, word};
use crate::values::RulesSource;
use rules::info::{STATE_DEVICE, STATE_INVALID};
use rules::list::List;
use rules::list::parse::{LARGEST_FILE, parse, texts};
use rules::{DEFAULT, RULES_VARIABLE, VRF_VARIABLE};
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

pub struct Rules {
    pub list: Box<List>,
    /// Each rule as it is in the text.
    pub texts: Vec<String>,
    pub from: RulesSource,
    /// The file that the environment names.
    pub file: Option<String>,
}

/// The rules that VRFBIND_RULES names in an environment.
struct Named {
    file: Option<String>,
    /// The text, or why it cannot be read.
    text: Result<Vec<u8>, String>,
}

impl Rules {
    /// None: all sockets belong to the VRF, or cannot be created.
    pub fn of(
        process: &Directory,
        environ: &[u8],
        library: Option<&Library>,
        notes: &mut Vec<String>,
    ) -> Option<Self> {
        let named = Named::read(process, environ);
        let Some(info) = library.and_then(|library| library.info.as_ref()) else {
            let vrf = variable(environ, VRF_VARIABLE).filter(|vrf| vrf != DEFAULT);
            let named = vrf.and(named)?;
            let text = named.valid(notes)?;
            return Self::new(text, RulesSource::Environment, named.file);
        };
        match info.state {
            STATE_DEVICE => {}
            STATE_INVALID => {
                if let Some(Named {
                    file: Some(file), ..
                }) = named.filter(|named| named.valid(notes).is_some())
                {
                    notes.push(format!(
                        "one of its settings was invalid when it was started; its rules file {} is valid now",
                        word(&file)
                    ));
                }
                return None;
            }
            _ => return None,
        }
        let known = library.and_then(|library| library.rules.as_deref());
        let difference = match (&named, known) {
            // An environment without the variable was overwritten: a library with rules had found it there.
            (None, _) => None,
            (Some(Named { text: Ok(text), .. }), Some(known)) if text == known => None,
            (
                Some(Named {
                    file: Some(file),
                    text,
                }),
                Some(_),
            ) => Some(match text {
                Ok(_) => format!(
                    "its rules file {} has changed since: its sockets are judged by the rules that its library has read \
                     at the start",
                    word(file)
                ),
                Err(why) => format!(
                    "its rules file {} {why}: its sockets are judged by the rules that its library has read at the start",
                    word(file)
                ),
            }),
            _ => Some(format!(
                "its library has other rules than {RULES_VARIABLE} in its environment; its sockets are judged by the \
                 library's rules"
            )),
        };
        notes.extend(difference);
        let file = named.and_then(|named| named.file);
        let rules = Self::new(known?.to_owned(), RulesSource::Library, file);
        if rules.is_none() {
            notes.push("the rules of its library are invalid".to_owned());
        }
        rules
    }

    fn new(text: Vec<u8>, from: RulesSource, file: Option<String>) -> Option<Self> {
        let list = Box::new(parse(&text).ok()?);
        let texts = texts(&text).map(self::text).collect();
        Some(Self {
            list,
            texts,
            from,
            file,
        })
    }

    /// The rule of this number, from 1.
    pub fn text(&self, number: usize) -> &str {
        let text = self.texts.get(number.wrapping_sub(1));
        text.map_or("", String::as_str)
    }
}

impl Named {
    fn read(process: &Directory, environ: &[u8]) -> Option<Self> {
        let value = environ::value(environ, RULES_VARIABLE).filter(|value| !value.is_empty())?;
        Some(match value {
            [b'/', ..] => Self {
                file: Some(text(value)),
                text: read_file(process, value),
            },
            _ => Self {
                file: None,
                text: Ok(value.to_owned()),
            },
        })
    }

    /// The text, if it is a list of rules.
    fn valid(&self, notes: &mut Vec<String>) -> Option<Vec<u8>> {
        let file = self.file.as_deref().map(word);
        let invalid = match &self.text {
            Ok(text) => match parse(text) {
                Ok(_) => return Some(text.clone()),
                Err(invalid) => format!("is invalid: {}", invalid),
            },
            Err(why) => why.clone(),
        };
        notes.push(match file {
            Some(file) => format!(
                "its {RULES_VARIABLE}, the file {file}, {invalid}: it cannot create IPv4 and IPv6 \
                                   sockets"
            ),
            None => {
                format!("its {RULES_VARIABLE} {invalid}: it cannot create IPv4 and IPv6 sockets")
            }
        });
        None
    }
}

/// The process has chosen the path: it is resolved below the process's root, and only a regular file is read.
fn read_file(process: &Directory, path: &[u8]) -> Result<Vec<u8>, String> {
    let cannot = |error| format!("cannot be read ({error})");
    let path = Path::new(OsStr::from_bytes(path));
    let file = open_below(&process.path("root"), path).map_err(cannot)?;
    let file = file.ok_or("does not exist, or is not a regular file")?;
    let mut bytes = Vec::new();
    let most = LARGEST_FILE as u64 + 1;
    file.take(most).read_to_end(&mut bytes).map_err(cannot)?;
    match bytes.len() > LARGEST_FILE {
        true => Err("has more than 16 KiB".to_owned()),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutated_rules() {
        let valid: &[u8] =
            b"# a\nbind tcp 10.0.0.0/8:1-9 a; connect [2001:db8::]/32 default\nloopback auto # b";
        crate::fuzz::each_input(&[valid], |rules| match parse(rules) {
            Ok(list) => {
                let texts = texts(rules).count();
                assert_eq!(texts, list.rules().count());
                assert!(list.shadowed().count() <= texts);
            }
            Err(invalid) => assert!(!invalid.to_string().contains('\n')),
        });
    }
}
