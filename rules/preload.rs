//! LD_PRELOAD as a list: whether it contains the library, how the library is added, and which paths it can contain.
//!
//! glibc separates entries at blanks and colons, musl at colons and all white space. glibc also expands `$LIB` and the
//! like (ld.so(8)).

/// Whether an entry can be this path and no other. It has to be absolute: a relative path depends on the current directory.
pub fn is_nameable(path: &[u8]) -> bool {
    let is_special = |byte: &u8| matches!(byte, b':' | b'$' | b' ' | 0x09..=0x0d);
    path.first() == Some(&b'/') && !path.iter().any(is_special)
}

/// Whether a value of LD_PRELOAD has this path in it.
pub fn contains(value: &[u8], path: &[u8]) -> bool {
    value
        .split(|&byte| byte == b':' || byte == b' ')
        .any(|entry| entry == path)
}

/// The parts of a value of LD_PRELOAD that contains this path: `value`, with the path before it if it was missing.
pub fn with<'a>(value: &'a [u8], path: &'a [u8]) -> [&'a [u8]; 3] {
    if contains(value, path) {
        return [value, b"", b""];
    }
    [path, if value.is_empty() { b"" } else { b":" }, value]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_other_preloads_and_comes_first() {
        let library = b"/usr/lib/libvrfbind.so";
        for (value, expected) in [
            (&b""[..], &b"/usr/lib/libvrfbind.so"[..]),
            (b"a.so", b"/usr/lib/libvrfbind.so:a.so"),
            (
                b"a.so /usr/lib/libvrfbind.so",
                b"a.so /usr/lib/libvrfbind.so",
            ),
            (
                b"/other/libvrfbind.so",
                b"/usr/lib/libvrfbind.so:/other/libvrfbind.so",
            ),
        ] {
            let mut joined = [0; 64];
            let mut length = 0;
            for part in with(value, library) {
                joined[length..][..part.len()].copy_from_slice(part);
                length += part.len();
            }
            assert_eq!(&joined[..length], expected, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn knows_a_path_in_a_list() {
        let library = b"/usr/lib/libvrfbind.so";
        for value in [
            &b"/usr/lib/libvrfbind.so"[..],
            b"libother.so:/usr/lib/libvrfbind.so",
            b"libother.so /usr/lib/libvrfbind.so libthird.so",
            b":/usr/lib/libvrfbind.so::",
        ] {
            assert!(contains(value, library), "{}", value.escape_ascii());
        }
        for value in [
            &b""[..],
            b"libother.so",
            b"libvrfbind.so",
            b"/elsewhere/libvrfbind.so",
            b"/usr/$LIB/libvrfbind.so",
            b"./libvrfbind.so",
            b"/usr/lib/libvrfbind.so.1",
        ] {
            assert!(!contains(value, library), "{}", value.escape_ascii());
        }
    }

    #[test]
    fn knows_what_a_list_cannot_name() {
        assert!(is_nameable(b"/usr/lib/libvrfbind.so"));
        for path in [
            &b""[..],
            b"libvrfbind.so",
            b"/usr/my lib/libvrfbind.so",
            b"/usr/my\tlib/libvrfbind.so",
            b"/usr/a:b/libvrfbind.so",
            b"/usr/$LIB/libvrfbind.so",
        ] {
            assert!(!is_nameable(path), "{}", path.escape_ascii());
        }
    }
}
