//! The syntax of unit files (systemd.syntax(7)): read without loss, and written so that systemd reads the same.
//!
//! Specifiers (`%i`) are neither resolved nor escaped on the way from a unit into its drop-in: they mean the same there.

use std::borrow::Cow;
use std::fmt::Write as _;

/// `NAME=VALUE` below `[SECTION]`.
#[derive(Debug, PartialEq, Eq)]
pub struct Assignment {
    pub section: String,
    pub name: String,
    pub value: String,
}

/// The assignments of a file. Lines that are not UTF-8 are ignored, as by systemd.
pub fn assignments(file: &[u8]) -> Vec<Assignment> {
    let mut assignments = Vec::new();
    let mut section = String::new();
    let mut line = Vec::new();
    for piece in file.split(|&byte| byte == b'\n') {
        let start = piece.trim_ascii_start();
        // Comments may stand between a line and its continuation.
        if start.starts_with(b"#") || start.starts_with(b";") {
            continue;
        }
        line.extend_from_slice(piece.strip_suffix(b"\r").unwrap_or(piece));
        if ends_escaped(&line) {
            line.pop();
            line.push(b' ');
            continue;
        }
        let whole = std::mem::take(&mut line);
        let Ok(text) = str::from_utf8(&whole) else {
            continue;
        };
        let text = text.trim();
        if let Some(name) = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            section = name.to_owned();
        } else if let Some((name, value)) = text.split_once('=') {
            assignments.push(Assignment {
                section: section.clone(),
                name: name.trim_end().to_owned(),
                value: value.trim_start().to_owned(),
            });
        }
    }
    assignments
}

/// Whether the last byte is a backslash that no other escapes.
fn ends_escaped(line: &[u8]) -> bool {
    line.iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 1
}

/// A word of a value.
#[derive(Debug, PartialEq, Eq)]
pub struct Word<'a> {
    /// Without quotes and escapes.
    pub text: String,
    /// Its original text.
    pub raw: &'a str,
    /// The value from this word on.
    pub from: &'a str,
}

/// The words of a value: quotes hold white space together wherever they begin, and backslashes escape as in C.
pub fn words(value: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut rest = value.trim_start();
    while !rest.is_empty() {
        let (text, length) = word(rest);
        let (raw, after) = rest.split_at(length);
        words.push(Word {
            text,
            raw,
            from: rest,
        });
        rest = after.trim_start();
    }
    words
}

/// The first word, and its length in bytes.
fn word(value: &str) -> (String, usize) {
    let mut text = String::new();
    let mut quote = None;
    let mut at = 0;
    while let Some(c) = value.get(at..).and_then(|rest| rest.chars().next()) {
        let next = at + c.len_utf8();
        match (c, quote) {
            ('\\', _) => {
                let (escaped, length) = escape(value.get(next..).unwrap_or_default());
                text.push_str(&escaped);
                at = next + length;
                continue;
            }
            (c, Some(mark)) if c == mark => quote = None,
            ('"' | '\'', None) => quote = Some(c),
            (c, None) if c.is_ascii_whitespace() => break,
            (c, _) => text.push(c),
        }
        at = next;
    }
    (text, at)
}

/// The text that an escape sequence after a backslash stands for, and its length. An unknown sequence stays, as in
/// systemd.
fn escape(rest: &str) -> (Cow<'static, str>, usize) {
    let simple = |text| (Cow::Borrowed(text), 1);
    let code = |skip: usize, length: usize, radix| {
        let digits = rest.get(skip..skip + length)?;
        let is_code = digits.bytes().all(|byte| char::from(byte).is_digit(radix));
        let code = u32::from_str_radix(digits, radix)
            .ok()
            .filter(|_| is_code)?;
        let c = char::from_u32(code).filter(|&c| c != '\0')?;
        Some((Cow::Owned(c.to_string()), skip + length))
    };
    let escaped = match rest.bytes().next() {
        Some(b'a') => return simple("\x07"),
        Some(b'b') => return simple("\x08"),
        Some(b'f') => return simple("\x0c"),
        Some(b'n') => return simple("\n"),
        Some(b'r') => return simple("\r"),
        Some(b't') => return simple("\t"),
        Some(b'v') => return simple("\x0b"),
        Some(b's') => return simple(" "),
        Some(b'\\') => return simple("\\"),
        Some(b'"') => return simple("\""),
        Some(b'\'') => return simple("'"),
        Some(b'x') => code(1, 2, 16),
        Some(b'u') => code(1, 4, 16),
        Some(b'U') => code(1, 8, 16),
        Some(b'0'..=b'7') => code(0, 3, 8),
        _ => None,
    };
    escaped.unwrap_or((Cow::Borrowed("\\"), 0))
}

/// A word in which `%` still begins a specifier, with quotes around it if it needs any.
pub fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:=@,+%$".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            c if c.is_ascii_control() => {
                let _ = write!(quoted, "\\x{:02x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A text without specifiers.
pub fn literal(text: &str) -> String {
    text.replace('%', "%%")
}

/// An argument in which `$` is no variable (systemd.service(5), Command lines).
pub fn without_variables(argument: &str) -> String {
    argument.replace('$', "$$")
}

/// Whether a boolean is true.
pub fn is_yes(value: &str) -> bool {
    ["yes", "true", "on", "1", "y", "t"].contains(&value.to_ascii_lowercase().as_str())
}

/// As systemd-escape(1) --path does, without the first `/`.
pub fn escaped_path(path: &str) -> String {
    let mut escaped = String::new();
    for (at, byte) in path.bytes().enumerate() {
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

/// And back: `%I` from `%i`.
pub fn unescaped_name(name: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        let code = rest.strip_prefix("\\x").and_then(|code| code.get(..2));
        let byte = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        let length = match (byte, c) {
            (Some(byte), _) => {
                bytes.push(byte);
                "\\xff".len()
            }
            (None, '-') => {
                bytes.push(b'/');
                1
            }
            (None, c) => {
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                c.len_utf8()
            }
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(value: &str) -> Vec<String> {
        words(value).into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn lines_are_continued_over_comments() {
        let file = b"A=0\n [Service] \nExecStart=/a \\\n# no\n ; nor this\n  b \\\\\nB = c\\\n\nC=\xff\nno \
                     assignment\n\r\nD=e\r\n";
        let found: Vec<_> = assignments(file)
            .into_iter()
            .map(|one| format!("{}|{}|{}", one.section, one.name, one.value))
            .collect();
        assert_eq!(
            found,
            [
                "|A|0",
                "Service|ExecStart|/a    b \\\\",
                "Service|B|c",
                "Service|D|e",
            ]
        );
    }

    #[test]
    fn words_are_quoted_and_escaped() {
        assert_eq!(texts(r#"/a "b c"'d e' f"#), ["/a", "b cd e", "f"]);
        assert_eq!(texts(r#"A="1 2" 'x"y' "" "#), ["A=1 2", "x\"y", ""]);
        assert_eq!(
            texts(r"a\x20b \\ \; \t\145 \u00e9 \q"),
            ["a b", "\\", "\\;", "\te", "é", "\\q"]
        );
        let words = words("-/a  'b c' d");
        assert_eq!((words[1].raw, words[1].from), ("'b c'", "'b c' d"));
    }

    #[test]
    fn what_is_written_is_read_again() {
        for word in [
            "/a",
            "a b",
            "",
            "x\"y\\z",
            "it's",
            "a;b",
            ";",
            "é",
            "tab\tline\n\x07",
            "%i $A #",
        ] {
            assert_eq!(texts(&quoted(word)), [word], "{word}");
        }
        assert_eq!(quoted("/usr/bin/%i"), "/usr/bin/%i");
    }

    #[test]
    fn device_units_are_named_as_systemd_names_them() {
        for (path, escaped) in [
            ("sys/devices/blue", "sys-devices-blue"),
            ("sys/vrf-blue", "sys-vrf\\x2dblue"),
            ("sys/.a@b", "sys-.a\\x40b"),
            (".a%b", "\\x2ea\\x25b"),
        ] {
            assert_eq!(escaped_path(path), escaped);
            assert_eq!(unescaped_name(escaped), path);
        }
        assert_eq!(unescaped_name("srv-a\\xzz"), "srv/a\\xzz");
    }

    #[test]
    fn mutated_units() {
        let valid = b"[Service]\nExecStart=-/a \\\n# no\n 'b c'\"d\" \\x20\\u00e9 %i $A ${B} ; \
                      /c\r\nEnvironment=\"LD_PRELOAD=/x y\" A=1\n";
        crate::fuzz::each_input(&[valid], |file| {
            for one in assignments(file) {
                for word in words(&one.value) {
                    let text = without_variables(&literal(&word.text));
                    assert!(!quoted(&text).contains('\n'));
                }
            }
        });
    }
}
