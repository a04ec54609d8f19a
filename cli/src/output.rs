//! Everything that is written to standard output and standard error.
//!
//! Names, paths and settings of other processes are untrusted bytes. They must not be able to control a terminal, to
//! begin a line of a table or to hide a part of one, so each line is escaped here ([`escape`]), whether a terminal or a
//! pipe reads it. The only escape sequences in the output are our own colours.
//!
//! 1. [`text`] turns bytes into text as they are read. Nothing is lost: a byte that is not UTF-8 becomes `\xNN`.
//! 2. [`word`] is for a value in a sentence or in a column: a line must not be broken at a blank in it.
//! 3. [`line`] and [`say`] escape the whole line, and [`json`] the whole document.
//!
//! Nothing here panics. println!() and eprintln!() do, on a full disk or a closed pipe, and must not be used. Nor must
//! std::io's standard output, which treats a closed descriptor as success (EBADF); [`crate::sys::hold_standard`] keeps
//! other files from getting its number.

use crate::failure::{Failure, refuse};
use nix::errno::Errno;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;
use std::os::fd::AsFd;

/// Bytes as text. Only bytes that are not UTF-8 are escaped.
pub fn text(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// The text with invisible characters, and those that move others, as `\n`, `\x1b` or `\u{202e}`. Escaped text stays as
/// it is.
pub fn escape(text: &str) -> Cow<'_, str> {
    escape_if(text, is_unseen)
}

/// A value whose end has to be visible in a line: blanks are escaped as well.
pub fn word(text: &str) -> Cow<'_, str> {
    escape_if(text, |one| one == ' ' || is_unseen(one))
}

fn escape_if(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::new();
    for one in text.chars() {
        let _ = match one {
            '\n' | '\r' | '\t' => write!(escaped, "{}", one.escape_default()),
            _ if !is_escaped(one) => write!(escaped, "{one}"),
            '\0'..='\x7f' => write!(escaped, "\\x{:02x}", u32::from(one)),
            _ => write!(escaped, "{}", one.escape_unicode()),
        };
    }
    Cow::Owned(escaped)
}

/// Control characters (C0, DEL, C1), and what Unicode has for the same ends: directions of writing, ends of lines and
/// paragraphs, characters without a width, and blanks that are not U+0020.
fn is_unseen(one: char) -> bool {
    one.is_control()
        || one != ' ' && one.is_whitespace()
        || matches!(one,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Adds a line.
pub fn line(text: &mut String, line: &str) {
    text.push_str(&escape(line));
    text.push('\n');
}

/// JSON in which strings have none of those characters: they become `\uXXXX`, which is the same string to whoever
/// parses it. Outside of strings there are none but the line feeds and tabs of its layout, which no string has unescaped.
pub fn json(document: &str) -> String {
    let mut text = String::with_capacity(document.len() + 1);
    for one in document.chars() {
        if matches!(one, '\n' | '\t') || !is_unseen(one) {
            text.push(one);
            continue;
        }
        for unit in one.encode_utf16(&mut [0; 2]) {
            let _ = write!(text, "\\u{unit:04x}");
        }
    }
    text.push('\n');
    text
}

/// Writes lines, or JSON, to standard output.
pub fn print(text: &str) -> Result<(), Failure> {
    write(io::stdout(), text.as_bytes())
        .map_err(|errno| refuse(format!("write to standard output: {}", errno.desc())))
}

/// Writes a sentence to standard error. If this fails, only the exit status tells.
pub fn say(sentence: &str) {
    let mut text = String::new();
    line(&mut text, &format!("vrfbind: {sentence}"));
    let _ = write(io::stderr(), text.as_bytes());
}

fn write(to: impl AsFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match nix::unistd::write(&to, bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read_stays_and_what_cannot_is_escaped() {
        for (bytes, escaped, as_word) in [
            (&b"tmux: server"[..], "tmux: server", r"tmux:\x20server"),
            (
                "zażółć 日本 e\u{301} \\".as_bytes(),
                "zażółć 日本 e\u{301} \\",
                "zażółć\\x20日本\\x20e\u{301}\\x20\\",
            ),
            (
                b"a\n1 sshd\x1b[8m\x7f\0",
                r"a\n1 sshd\x1b[8m\x7f\x00",
                r"a\n1\x20sshd\x1b[8m\x7f\x00",
            ),
            (b"v\xff\xc3", r"v\xff\xc3", r"v\xff\xc3"),
            (
                "\u{9b}2J\u{202e}\u{2028}\u{a0}".as_bytes(),
                r"\u{9b}2J\u{202e}\u{2028}\u{a0}",
                r"\u{9b}2J\u{202e}\u{2028}\u{a0}",
            ),
        ] {
            let text = text(bytes);
            assert_eq!(escape(&text), escaped);
            assert_eq!(word(&text), as_word);
            assert_eq!(escape(&word(&text)), as_word, "once is enough");
        }
    }

    #[test]
    fn a_line_is_one_line() {
        let mut text = String::new();
        line(&mut text, "a\nb");
        line(&mut text, "c");
        assert_eq!(text, "a\\nb\nc\n");
    }

    #[test]
    fn json_is_the_same_to_whoever_parses_it() {
        let all: String = (0..0x3000)
            .chain(0xe0000..0xe0100)
            .filter_map(char::from_u32)
            .collect();
        let text = json(&serde_json::to_string_pretty(&[&all]).unwrap());
        assert!(text.chars().all(|one| one == '\n' || !is_unseen(one)));
        assert_eq!(serde_json::from_str::<[String; 1]>(&text).unwrap(), [all]);
    }

    #[test]
    fn mutated_names() {
        let valid: [&[u8]; 2] = [
            b"a\n1 sshd\x1b[8m\x7f\0v\xff",
            "\u{9b}2J\u{202e} é日".as_bytes(),
        ];
        crate::fuzz::each_input(&valid, |name| {
            let text = text(&name[..name.len().min(1 << 14)]);
            assert!(!escape(&text).contains(is_unseen));
            assert!(!word(&text).contains(' '));
        });
    }
}
