//! The text of a list, as `VRFBIND_RULES` or a file has it.
//!
//!     LIST      = RULE { (";" | newline) RULE }; from "#" to the end of the line is a comment
//!     RULE      = ("bind" | "connect") [PROTOCOL] ADDRESSES DEVICE | "loopback" (DEVICE | "auto")
//!     PROTOCOL  = "tcp" | "udp" | "sctp" | "icmp" | "raw"
//!     ADDRESSES = ("*" | IPV4 ["/" LENGTH] | "[" IPV6 "]" ["/" LENGTH]) [":" PORT ["-" PORT]]
//!     DEVICE    = a device's name | "lo" | "default"
//!
//! The words of a rule are separated by blanks. Anything else is an error that names the rule and the place in it: a list
//! is accepted as a whole or not at all.

use super::{Addresses, Call, EVERYTHING, IPV4, LOOPBACK, List, Protocol, Rule, To, mask};
use crate::device::{BadName, DeviceName};
use core::fmt;

/// The most bytes that a file may have: 64 rules of the longest kind, and as much again for comments.
pub const LARGEST_FILE: usize = 16 << 10;

/// Why a text is not a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Invalid<'a> {
    /// Which rule, from 1.
    pub number: usize,
    /// The rule.
    pub rule: &'a [u8],
    /// The place in it; empty: at its end.
    pub place: &'a [u8],
    /// The reason, to be put after the place.
    pub why: &'static str,
}

impl fmt::Display for Invalid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = self.rule.escape_ascii();
        write!(f, "rule {}, \"{rule}\", at ", self.number)?;
        match self.place {
            b"" => f.write_str("its end")?,
            place => write!(f, "\"{}\"", place.escape_ascii())?,
        }
        write!(f, ": {}", self.why)
    }
}

/// What is wrong at the current place.
type Fault = &'static str;

/// Parses a text.
pub fn parse(text: &[u8]) -> Result<List, Invalid<'_>> {
    let mut list = List::empty();
    add(&mut list, text)?;
    Ok(list)
}

/// Parses a text, and adds its rules to an empty list.
pub fn add<'a>(list: &mut List, text: &'a [u8]) -> Result<(), Invalid<'a>> {
    let (mut rest, mut number) = (text, 0);
    while let Some(text) = next_rule(&mut rest) {
        let mut words = Words {
            rest: text,
            word: text,
            place: text,
        };
        let parsed = match list.rules.get_mut(number) {
            Some(place) => {
                let rule = place.insert(LOOPBACK_RULE);
                words.rule(rule).map(|()| rule)
            }
            None => Err("a list has at most 64 rules"),
        };
        number += 1;
        let rule = parsed.map_err(|fault| invalid(number, text, words.found(), fault))?;
        list.first_port = list.first_port.min(rule.first_port);
        list.last_port = list.last_port.max(rule.last_port);
    }
    match number {
        0 => Err(invalid(1, b"", b"", "there is no rule")),
        _ => Ok(()),
    }
}

fn invalid<'a>(number: usize, rule: &'a [u8], place: &'a [u8], fault: Fault) -> Invalid<'a> {
    Invalid {
        number,
        rule,
        place,
        why: fault,
    }
}

/// The rules of a text, as they stand in it.
pub fn texts(mut text: &[u8]) -> impl Iterator<Item = &[u8]> {
    core::iter::from_fn(move || next_rule(&mut text))
}

/// Takes the next rule off a text; rules that consist of blanks and comments are skipped.
fn next_rule<'a>(text: &mut &'a [u8]) -> Option<&'a [u8]> {
    while !text.is_empty() {
        let rule = trimmed(until(text, b";\n#"));
        if text.first() == Some(&b'#') {
            until(text, b"\n");
        }
        *text = text.get(1..).unwrap_or_default();
        if !rule.is_empty() {
            return Some(rule);
        }
    }
    None
}

/// The text without blanks at its beginning and end.
#[inline(never)]
fn trimmed(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

/// Takes what is before the first byte that is one of `ends`.
#[inline(never)]
fn until<'a>(text: &mut &'a [u8], ends: &[u8]) -> &'a [u8] {
    let end = text.iter().position(|byte| ends.contains(byte));
    let (before, rest) = text
        .split_at_checked(end.unwrap_or(text.len()))
        .unwrap_or_default();
    *text = rest;
    before
}

/// Takes what is before the first `end`, and this byte too. None: there is no such byte, and nothing is taken.
#[inline(never)]
fn before<'a>(text: &mut &'a [u8], end: u8) -> Option<&'a [u8]> {
    let mut rest = *text;
    let before = until(&mut rest, &[end]);
    *text = rest.get(1..)?;
    Some(before)
}

/// The position of the word among these names, which are separated by blanks.
#[inline(never)]
fn index(names: &[u8], word: &[u8]) -> Option<usize> {
    let mut names = names.split(|byte| *byte == b' ');
    names.position(|name| name == word)
}

/// The rule `loopback`, before its device is parsed.
const LOOPBACK_RULE: Rule = Rule {
    call: None,
    protocol: None,
    addresses: LOOPBACK,
    first_port: 0,
    last_port: u16::MAX,
    to: To::LoUnlessInVrf,
};

const PROTOCOLS: [Protocol; 5] = [
    Protocol::Tcp,
    Protocol::Udp,
    Protocol::Sctp,
    Protocol::Icmp,
    Protocol::Raw,
];

/// The words of a rule.
struct Words<'a> {
    /// The rest of the rule.
    rest: &'a [u8],
    /// The current word; empty at the end.
    word: &'a [u8],
    /// The part of it that an error names; empty: all of it.
    place: &'a [u8],
}

impl<'a> Words<'a> {
    /// The next word; empty at the end.
    #[inline(never)]
    fn next(&mut self) -> &'a [u8] {
        self.rest = trimmed(self.rest);
        self.word = until(&mut self.rest, b" \t\r\x0c");
        self.place = b"";
        self.word
    }

    /// What an error names.
    fn found(&self) -> &'a [u8] {
        if self.place.is_empty() {
            self.word
        } else {
            self.place
        }
    }

    #[inline(never)]
    fn rule(&mut self, rule: &mut Rule) -> Result<(), Fault> {
        rule.call = match index(b"bind connect loopback", self.next()) {
            Some(0) => Some(Call::Bind),
            Some(1) => Some(Call::Connect),
            Some(_) => None,
            None => return Err("a rule begins with bind, connect or loopback"),
        };
        if rule.call.is_some() {
            let protocol = index(b"tcp udp sctp icmp raw", self.next());
            rule.protocol = protocol.and_then(|index| PROTOCOLS.get(index).copied());
            if rule.protocol.is_some() {
                self.next();
            }
            let has_ports = self.addresses(rule)?;
            if has_ports && matches!(rule.protocol, Some(Protocol::Icmp | Protocol::Raw)) {
                self.place = b"";
                return Err("icmp and raw have no ports");
            }
        }
        let device = self.next();
        rule.to = match index(b"lo default auto", device) {
            Some(0) => To::Lo,
            Some(1) => To::Default,
            Some(_) if rule.call.is_none() => To::LoUnlessInVrf,
            Some(_) => return Err("only loopback can be auto"),
            None if device.is_empty() => return Err("a device, lo or default is missing"),
            None => To::Device(DeviceName::new(device).map_err(BadName::reason)?),
        };
        match self.next() {
            b"" => Ok(()),
            _ => Err("the rule should end before it"),
        }
    }

    /// Sets the addresses of a rule from this word, and its ports if the word has any. Returns whether it has.
    #[inline(never)]
    fn addresses(&mut self, rule: &mut Rule) -> Result<bool, Fault> {
        let word = self.word;
        let mut rest = word.get(1..).ok_or("an address is missing")?;
        let (network, shortest) = match word.first() {
            Some(b'*') => {
                rule.addresses = EVERYTHING;
                return self.ports(rule, rest);
            }
            Some(b'[') => {
                self.place = before(&mut rest, b']').ok_or("']' is missing")?;
                (ipv6(self.place).ok_or("it is not an IPv6 address")?, 0)
            }
            _ => {
                rest = word;
                self.place = until(&mut rest, b"/:");
                let network =
                    ipv4(self.place).ok_or("it is not *, an IPv4 or an [IPv6] address")?;
                (IPV4.network | u128::from(network), IPV4.length)
            }
        };
        let mut length = 128;
        if rest.first() == Some(&b'/') {
            rest = rest.get(1..).unwrap_or_default();
            self.place = until(&mut rest, b":");
            let fault = match shortest {
                0 => "the length of an IPv6 prefix is 0 to 128",
                _ => "the length of an IPv4 prefix is 0 to 32",
            };
            let most = 128 - u32::from(shortest);
            length = shortest + number(self.place, most).ok_or(fault)? as u8;
        }
        if network & mask(length) != network {
            self.place = b"";
            return Err("the address has bits set behind the prefix");
        }
        rule.addresses = Addresses { network, length };
        self.ports(rule, rest)
    }

    fn ports(&mut self, rule: &mut Rule, text: &'a [u8]) -> Result<bool, Fault> {
        self.place = text;
        let range = match text {
            [] => return Ok(false),
            [b':', range @ ..] => range,
            _ => return Err("only a port can follow, after ':'"),
        };
        self.place = range;
        let port = |text| {
            number(text, u16::MAX.into()).ok_or("a port is 0 to 65535, and ports are FIRST-LAST")
        };
        let mut last = range;
        let first = before(&mut last, b'-').unwrap_or(range);
        (rule.first_port, rule.last_port) = (port(first)? as u16, port(last)? as u16);
        if rule.last_port < rule.first_port {
            return Err("the last port is before the first");
        }
        Ok(true)
    }
}

/// A decimal number without leading zeros.
#[inline(never)]
fn number(text: &[u8], most: u32) -> Option<u32> {
    let has_zeros = text.len() > 1 && text.first() == Some(&b'0');
    digits(text, 10, 5).filter(|number| *number <= most && !has_zeros)
}

/// At least one digit, and no more than `most`.
#[inline(never)]
fn digits(text: &[u8], radix: u32, most: usize) -> Option<u32> {
    if text.is_empty() || text.len() > most {
        return None;
    }
    let mut number = 0;
    for byte in text {
        number = number * radix + char::from(*byte).to_digit(radix)?;
    }
    Some(number)
}

#[inline(never)]
fn ipv4(text: &[u8]) -> Option<u32> {
    let (mut bits, mut rest) = (0, text);
    for _ in 0..3 {
        let part = before(&mut rest, b'.')?;
        bits = bits << 8 | number(part, 255)?;
    }
    Some(bits << 8 | number(rest, 255)?)
}

fn ipv6(text: &[u8]) -> Option<u128> {
    const COUNT: u32 = 8;
    let Some(gap) = text.windows(2).position(|two| two == b"::") else {
        return groups(text, true).and_then(|(bits, count)| (count == COUNT).then_some(bits));
    };
    let (high, before) = groups(text.get(..gap)?, false)?;
    let (low, behind) = groups(text.get(gap + 2..)?, true)?;
    // `::` stands for at least one group.
    (before + behind < COUNT).then(|| high.checked_shl(16 * (COUNT - before)).unwrap_or(0) | low)
}

/// The groups of an IPv6 address, and how many there are. The last two can be written as an IPv4 address.
fn groups(text: &[u8], is_end: bool) -> Option<(u128, u32)> {
    let (mut bits, mut count) = (0, 0);
    let (mut rest, mut is_last) = (text, text.is_empty());
    while !is_last {
        let group = before(&mut rest, b':');
        is_last = group.is_none();
        let group = group.unwrap_or(rest);
        match ipv4(group) {
            Some(v4) if is_end && is_last => {
                bits = bits << 32 | u128::from(v4);
                count += 2;
            }
            _ => {
                bits = bits << 16 | u128::from(digits(group, 16, 4)?);
                count += 1;
            }
        }
        if count > 8 {
            return None;
        }
    }
    Some((bits, count))
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::super::MOST;
    use super::*;
    use core::net::Ipv6Addr;
    use std::string::{String, ToString};
    use std::vec::Vec;

    fn only(text: &str) -> Rule {
        let list = parse(text.as_bytes()).unwrap_or_else(|why| panic!("{text}: {why:?}"));
        assert_eq!(list.rules().count(), 1, "{text}");
        list.rules[0].unwrap()
    }

    fn device(name: &str) -> To {
        To::Device(DeviceName::new(name.as_bytes()).unwrap())
    }

    const V6: fn(u128, u8) -> Addresses = |network, length| Addresses { network, length };
    const V4: fn(u128, u8) -> Addresses = |network, length| V6(IPV4.network | network, 96 + length);

    #[test]
    fn a_rule_says_what_the_manual_says() {
        let (bind, connect) = (Some(Call::Bind), Some(Call::Connect));
        for (text, call, protocol, addresses, ports, to) in [
            (
                "bind tcp *:5380 mgmt",
                bind,
                Some(Protocol::Tcp),
                EVERYTHING,
                (5380, 5380),
                device("mgmt"),
            ),
            (
                "connect 10.99.0.0/16 mgmt",
                connect,
                None,
                V4(0x0a63_0000, 16),
                (0, 65535),
                device("mgmt"),
            ),
            ("bind * lo", bind, None, EVERYTHING, (0, 65535), To::Lo),
            (
                "bind\tudp  0.0.0.0:0 default",
                bind,
                Some(Protocol::Udp),
                V4(0, 32),
                (0, 0),
                To::Default,
            ),
            (
                "connect 0.0.0.0/0:1-1024 tcp",
                connect,
                None,
                V4(0, 0),
                (1, 1024),
                device("tcp"),
            ),
            (
                "connect sctp 1.2.3.4 a",
                connect,
                Some(Protocol::Sctp),
                V4(0x0102_0304, 32),
                (0, 65535),
                device("a"),
            ),
            (
                "bind icmp [::] a",
                bind,
                Some(Protocol::Icmp),
                V6(0, 128),
                (0, 65535),
                device("a"),
            ),
            (
                "bind raw [::]/0 a",
                bind,
                Some(Protocol::Raw),
                V6(0, 0),
                (0, 65535),
                device("a"),
            ),
            (
                "bind [2001:db8::]/32:53 a",
                bind,
                None,
                V6(0x2001_0db8 << 96, 32),
                (53, 53),
                device("a"),
            ),
            (
                "bind [::ffff:10.0.0.0]/104 a",
                bind,
                None,
                V4(0x0a00_0000, 8),
                (0, 65535),
                device("a"),
            ),
            (
                "bind [::ffff:0:0]/96 a",
                bind,
                None,
                V4(0, 0),
                (0, 65535),
                device("a"),
            ),
            (
                "bind [::fffe:0:0]/95 a",
                bind,
                None,
                V6(0xfffe << 32, 95),
                (0, 65535),
                device("a"),
            ),
            ("loopback lo", None, None, EVERYTHING, (0, 65535), To::Lo),
            (
                "loopback auto",
                None,
                None,
                EVERYTHING,
                (0, 65535),
                To::LoUnlessInVrf,
            ),
            (
                "loopback default",
                None,
                None,
                EVERYTHING,
                (0, 65535),
                To::Default,
            ),
            (
                "loopback mgmt",
                None,
                None,
                EVERYTHING,
                (0, 65535),
                device("mgmt"),
            ),
        ] {
            let expected = Rule {
                call,
                protocol,
                addresses: match text.starts_with("loopback") {
                    true => LOOPBACK,
                    false => addresses,
                },
                first_port: ports.0,
                last_port: ports.1,
                to,
            };
            assert_eq!(only(text), expected, "{text}");
        }
    }

    #[test]
    fn rules_are_separated_by_semicolons_and_lines_and_comments_are_skipped() {
        let text = b"# bind * a\n;; bind * a ;\tbind * b # ; bind * c\r\n\n  bind * d;";
        let list = parse(text).unwrap();
        let to: Vec<_> = list.rules().map(|rule| rule.to).collect();
        assert_eq!(to, ["a", "b", "d"].map(device));
        let expected: [&[u8]; 3] = [b"bind * a", b"bind * b", b"bind * d"];
        assert!(texts(text).eq(expected));
    }

    #[test]
    fn an_error_names_the_rule_and_the_place() {
        for (text, number, place, why) in [
            ("", 1, "", "no rule"),
            ("# nothing\n ; ", 1, "", "no rule"),
            ("accept * a", 1, "accept", "begins with"),
            ("bind * a; connect", 2, "", "address is missing"),
            ("bind * a\n\n# c\nconnect tcp", 2, "", "address is missing"),
            ("bind *", 1, "", "device"),
            ("loopback", 1, "", "device"),
            ("bind * auto", 1, "auto", "only loopback"),
            ("bind * a b", 1, "b", "should end"),
            ("loopback lo lo", 1, "lo", "should end"),
            ("bind * a/b", 1, "a/b", "'/'"),
            ("bind * abcdefghijklmnop", 1, "abcdefghijklmnop", "15 bytes"),
            ("bind TCP *:1 a", 1, "TCP", "not *"),
            ("bind host a", 1, "host", "not *"),
            ("bind 1.2.3 a", 1, "1.2.3", "not *"),
            ("bind 1.2.3.4.5 a", 1, "1.2.3.4.5", "not *"),
            ("bind 1.2.3.256 a", 1, "1.2.3.256", "not *"),
            ("bind 1.2.3.04 a", 1, "1.2.3.04", "not *"),
            ("bind ::1 a", 1, "::1", "not *"),
            ("bind tcp :80 a", 1, ":80", "not *"),
            ("bind [::1 a", 1, "[::1", "']'"),
            ("bind [::1%lo] a", 1, "::1%lo", "not an IPv6"),
            ("bind [::1]x a", 1, "x", "only a port"),
            ("bind **:1 a", 1, "*:1", "only a port"),
            ("bind */8 a", 1, "/8", "only a port"),
            ("bind 1.2.3.4/33 a", 1, "33", "0 to 32"),
            ("bind 1.2.3.4/ a", 1, "1.2.3.4/", "0 to 32"),
            ("bind [::]/129:5 a", 1, "129", "0 to 128"),
            ("bind 1.2.3.4/24 a", 1, "1.2.3.4/24", "behind the prefix"),
            ("bind [::1]/64 a", 1, "[::1]/64", "behind the prefix"),
            (
                "bind [::ffff:0:0]/95 a",
                1,
                "[::ffff:0:0]/95",
                "behind the prefix",
            ),
            (
                "bind [::ffff:1.2.3.4]/120 a",
                1,
                "[::ffff:1.2.3.4]/120",
                "behind the prefix",
            ),
            ("bind *:65536 a", 1, "65536", "a port is"),
            ("bind *: a", 1, "*:", "a port is"),
            ("bind *:1- a", 1, "1-", "a port is"),
            ("bind *:-1 a", 1, "-1", "a port is"),
            ("bind *:0x1 a", 1, "0x1", "a port is"),
            ("bind *:2-1 a", 1, "2-1", "before the first"),
            ("bind icmp *:1 a", 1, "*:1", "no ports"),
            ("bind raw *:1 a", 1, "*:1", "no ports"),
        ] {
            let invalid = parse(text.as_bytes()).expect_err(text);
            assert_eq!(invalid.number, number, "{text}");
            let found = String::from_utf8_lossy(invalid.place);
            assert_eq!(found, place, "{text}");
            assert!(invalid.why.contains(why), "{text}: {}", invalid.why);
        }
        let said = |text: &str| parse(text.as_bytes()).unwrap_err().to_string();
        let at_end = "rule 2, \"bind *\", at its end: a device, lo or default is missing";
        assert_eq!(said("bind * a; bind *"), at_end);
        assert!(said("bind \x1b a").starts_with(r#"rule 1, "bind \x1b a", at "\x1b": it is"#));
    }

    #[test]
    fn a_list_has_so_many_rules_and_not_one_more() {
        let mut text = "bind * a;".repeat(MOST);
        assert_eq!(parse(text.as_bytes()).unwrap().rules().count(), MOST);
        text.push_str("bind * b");
        let invalid = parse(text.as_bytes()).unwrap_err();
        assert_eq!((invalid.number, invalid.rule), (MOST + 1, &b"bind * b"[..]));
    }

    /// The standard library parses the same addresses.
    #[test]
    fn ipv6_addresses_are_those_of_everybody() {
        let parts = [
            "",
            "0",
            "1",
            "ffff",
            "fffff",
            "g",
            "1.2.3.4",
            "1.2.3.4.5",
            "::",
            ":",
        ];
        let mut addresses: Vec<String> = [
            "1:2:3:4:5:6:7:8",
            "1:2:3:4:5:6:7::",
            "::2:3:4:5:6:7:8",
            "1:2:3:4:5:6:7:8:9",
            "1:2:3:4::5:6:7:8",
            "1:2:3:4:5:6:1.2.3.4",
            "1:2:3:4:5:6:7:1.2.3.4",
            "1:2:3:4:5::1.2.3.4",
        ]
        .map(str::to_string)
        .into();
        for a in parts {
            for b in parts {
                for c in parts {
                    for d in parts {
                        addresses.push([a, b, c, d].concat());
                        addresses.push([a, b, c, d].join(":"));
                    }
                }
            }
        }
        for address in addresses {
            let expected: Option<Ipv6Addr> = address.parse().ok();
            let found = ipv6(address.as_bytes()).map(Ipv6Addr::from_bits);
            assert_eq!(found, expected, "{address}");
        }
    }
}
