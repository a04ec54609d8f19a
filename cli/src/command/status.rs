//! `vrfbind status`: the IP sockets of processes, and a verdict on each.
//!
//! Reading is in [`process`] and [`sockets`], the verdict in [`verdict`](super::verdict), and the rest lays out
//! what was found: a table of at most 80 columns, or JSON whose members are those of [`Report`] and are
//! documented in vrfbind(1).

use crate::command::device::{is_missing, no_vrf};
use crate::command::verdict::Judge;
use crate::failure::{EXIT_SELF, Failure, refuse};
use crate::output::{self, escape, text, word};
use crate::process::apart::{LIMIT, look_at_each};
use crate::process::container;
use crate::process::sockets::{Address, Device, Reader, Socket, Vrf};
use crate::process::{self, Process, Rules};
use crate::supervisor;
use crate::sys::SealState;
use crate::values::{Coverage, Method, Patch, RulesSource, Seal, State, Verdict, VrfSource};
use nix::errno::Errno;
use rules::DEFAULT;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

/// Show the IP sockets of processes, and whether each is in its VRF
///
/// Without PID: all processes that have the library, or were started with VRFBIND_VRF. Exit status 1: a socket is not ok.
#[derive(clap::Args)]
pub struct Args {
    /// The processes to show
    #[arg(value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pids: Vec<u32>,
    /// Expect all sockets in this VRF, instead of the one that each process asks for. Without PID, show only processes
    /// that belong to this VRF
    #[arg(long, value_name = "NAME")]
    vrf: Option<OsString>,
    /// Show all processes that have an IPv4 or IPv6 socket
    #[arg(long, conflicts_with = "pids")]
    all: bool,
    /// Print JSON: see OUTPUT in vrfbind(1)
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Serialize)]
struct Report {
    /// Whether all is.
    ok: bool,
    /// How many processes may not be looked at.
    hidden: usize,
    /// The other processes that are missing here.
    unread: Vec<NoEntry>,
    processes: Vec<Entry>,
}

/// A process that was named, or has not answered.
#[derive(Serialize)]
struct NoEntry {
    pid: u32,
    reason: String,
}

/// A process.
#[derive(Serialize, Deserialize)]
pub struct Entry {
    ok: bool,
    pub pid: u32,
    pub name: String,
    /// The part of its cgroup's path that is its container's.
    pub container: Option<String>,
    /// What its sockets are judged by, and who says so.
    pub vrf: Option<String>,
    vrf_from: Option<VrfSource>,
    rules: Option<RuleList>,
    library: Option<Library>,
    coverage: Option<Coverage>,
    seal: Option<Seal>,
    method: Method,
    notes: Vec<String>,
    pub sockets: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
struct Library {
    path: String,
    version: Option<String>,
    state: Option<State>,
    device: Option<String>,
    socket: Option<Patch>,
    execve: Option<Patch>,
    inherited: Option<u32>,
}

/// The rules that its sockets come under.
#[derive(Serialize, Deserialize)]
struct RuleList {
    from: RulesSource,
    file: Option<String>,
    list: Vec<String>,
}

impl RuleList {
    fn of(rules: &Rules) -> Self {
        Self {
            from: rules.from,
            file: rules.file.clone(),
            list: rules.texts.clone(),
        }
    }
}

/// One of them.
#[derive(Serialize, Deserialize)]
struct Rule {
    number: usize,
    text: String,
}

/// A socket.
#[derive(Serialize, Deserialize)]
pub struct Row {
    fd: i32,
    protocol: String,
    local: Option<Address>,
    peer: Option<Address>,
    device: Option<String>,
    pub vrf: Option<String>,
    /// The rule that it comes under.
    rule: Option<Rule>,
    /// Whether device and VRF are in another network namespace than this command.
    pub other_netns: bool,
    pub verdict: Verdict,
}

pub fn run(args: Args) -> Result<ExitCode, Failure> {
    let report = look(&args)?;
    if args.json {
        let text = serde_json::to_string_pretty(&report);
        output::print(&output::json(
            &text.map_err(|error| refuse(format!("JSON: {error}")))?,
        ))?;
    } else {
        let is_coloured = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        output::print(&table(&report, is_coloured))?;
        if report.hidden > 0 {
            output::say(&format!(
                "processes of other users are not shown ({}): this requires CAP_SYS_PTRACE",
                report.hidden
            ));
        }
    }
    for unread in &report.unread {
        output::say(&unread.reason);
    }
    if !args.pids.is_empty() && !report.unread.is_empty() {
        return Ok(ExitCode::from(EXIT_SELF));
    }
    Ok(ExitCode::from(u8::from(!report.ok)))
}

fn look(args: &Args) -> Result<Report, Failure> {
    process::need_proc()?;
    let named = !args.pids.is_empty();
    let pids = if named {
        args.pids.clone()
    } else {
        process::all().map_err(|error| refuse(format!("read /proc: {error}")))?
    };
    let mut reader = Reader::default();
    let answers = look_at_each(&pids, |pid| look_at(pid, args, &mut reader))?;
    let (mut processes, mut hidden, mut unread) = (Vec::new(), 0, Vec::new());
    for (pid, answer) in pids.into_iter().zip(answers) {
        match answer.unwrap_or_else(|| Err(Unread::without_answer(pid))) {
            Ok(entry) => processes.extend(entry),
            Err(Unread::Denied(_)) if !named => hidden += 1,
            Err(Unread::Ended(_)) if !named => {}
            Err(why) => unread.push(NoEntry {
                pid,
                reason: why.sentence(),
            }),
        }
    }
    if let Some(vrf) = &args.vrf
        && !named
        && processes.is_empty()
    {
        let vrf = text(vrf.as_bytes());
        if vrf != DEFAULT && is_missing(&vrf) {
            return Err(no_vrf(&vrf));
        }
    }
    Ok(Report {
        ok: unread.is_empty() && processes.iter().all(|entry: &Entry| entry.ok),
        hidden,
        processes,
        unread,
    })
}

/// A process, if it is among those that are asked for. A supervisor has sockets only on their way to others.
fn look_at(pid: u32, args: &Args, reader: &mut Reader) -> Result<Option<Entry>, Unread> {
    let named = !args.pids.is_empty();
    let process = Process::read(pid).map_err(|error| Unread::new(pid, &error))?;
    if !named && !args.all && args.vrf.is_none() && !process.is_ours() {
        return Ok(None);
    }
    let vrf = args.vrf.as_ref().map(|vrf| text(vrf.as_bytes()));
    let entry = Entry::new(&process, vrf.as_deref(), reader)
        .map_err(|errno| Unread::new(pid, &errno.into()))?;
    let is_of_vrf = vrf.is_none() || entry.belongs_to(&process, reader);
    let is_supervisor = || {
        entry.library.is_none()
            && entry.sockets.is_empty()
            && supervisor::is_listening(pid).unwrap_or(false)
    };
    let is_asked_for =
        named || is_of_vrf && (!args.all || !entry.sockets.is_empty()) && !is_supervisor();
    Ok(is_asked_for.then_some(entry))
}

/// Why a process could not be looked at: a sentence.
#[derive(Serialize, Deserialize)]
pub enum Unread {
    /// It is somebody else's.
    Denied(String),
    /// It is not there any more, or has no memory.
    Ended(String),
    Failed(String),
}

impl Unread {
    pub fn new(pid: u32, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Ended(format!("there is no process {pid}")),
            _ if error.raw_os_error() == Some(libc::ESRCH) => Self::Ended(format!(
                "process {pid} has no memory: it has ended, or is a kernel thread"
            )),
            io::ErrorKind::PermissionDenied => Self::Denied(format!(
                "cannot inspect process {pid}: read /proc/{pid}: {error}; run vrfbind as the owner of the process, or \
                 with CAP_SYS_PTRACE"
            )),
            _ => Self::Failed(format!(
                "cannot inspect process {pid}: read /proc/{pid}: {error}"
            )),
        }
    }

    pub fn without_answer(pid: u32) -> Self {
        Self::Failed(format!(
            "process {pid} does not answer: the kernel has waited for {} s for its memory, a file system or a socket \
             that a process blocks",
            LIMIT.as_secs()
        ))
    }

    pub fn sentence(self) -> String {
        let (Self::Denied(sentence) | Self::Ended(sentence) | Self::Failed(sentence)) = self;
        sentence
    }
}

impl Entry {
    pub fn new(
        process: &Process,
        option: Option<&str>,
        reader: &mut Reader,
    ) -> Result<Self, Errno> {
        let mut found = reader.read(&process.directory)?;
        let wants = option
            .map(|vrf| (vrf, VrfSource::Option))
            .or(process.wants());
        let judge = Judge::of(process, wants.map(|(vrf, _)| vrf), reader);
        let verdicts = judge.verdicts(&mut found.sockets, reader).into_iter();
        let rules = process.rules.as_ref();
        let verdicts = verdicts.map(|(verdict, rule)| {
            let rule = rules.zip(rule).map(|(rules, rule)| Rule {
                number: rule.number,
                text: rules.text(rule.number).to_owned(),
            });
            (verdict, rule)
        });
        let rows = found.sockets.into_iter().zip(verdicts);
        let sockets: Vec<_> = rows
            .map(|(socket, (verdict, rule))| Row::new(socket, verdict, rule))
            .collect();
        let mut notes = process.notes.clone();
        notes.extend(found.notes);
        if !reader.is_here(&process.directory) {
            notes.push(
                "it is in another network namespace, which has other devices and VRFs".to_owned(),
            );
        }
        let info = process
            .library
            .as_ref()
            .and_then(|library| library.info.as_ref());
        Ok(Self {
            ok: sockets.iter().all(|row| row.verdict == Verdict::Ok),
            pid: process.directory.pid,
            name: process.name.clone(),
            container: process.container.clone(),
            vrf: judge.vrf,
            rules: rules.map(RuleList::of),
            vrf_from: wants.map(|(_, from)| from),
            coverage: info.map(|info| coverage(Patch::of(info.socket))),
            seal: process.seal.map(seal),
            method: found.method,
            notes,
            sockets,
            library: process.library.as_ref().map(|library| Library {
                path: library.path.clone(),
                version: library.version.clone(),
                state: info.map(|info| State::of(info.state)),
                device: info.and_then(|info| info.device.clone()),
                socket: info.map(|info| Patch::of(info.socket)),
                execve: info.map(|info| Patch::of(info.execve)),
                inherited: info.map(|info| info.inherited),
            }),
        })
    }

    /// Whether the process wants the VRF that it is judged by, of itself, or has a socket in it. One of that name in
    /// another network namespace is another one.
    fn belongs_to(&self, process: &Process, reader: &mut Reader) -> bool {
        let wants = process
            .wants()
            .filter(|_| reader.is_here(&process.directory));
        let wants = wants.map(|(vrf, _)| reader.name_of(&process.directory, vrf));
        wants.is_some() && wants == self.vrf
            || self
                .sockets
                .iter()
                .filter(|row| !row.other_netns)
                .any(|row| row.vrf == self.vrf || row.device == self.vrf)
    }
}

fn coverage(socket: Patch) -> Coverage {
    match socket {
        Patch::Patched | Patch::PatchedByOtherCopy => Coverage::Libc,
        _ => Coverage::Exports,
    }
}

fn seal(seal: SealState) -> Seal {
    match seal {
        SealState::None => Seal::None,
        SealState::Sealed => Seal::Sealed,
        SealState::Supervised => Seal::Supervised,
    }
}

impl Row {
    fn new(socket: Socket, verdict: Verdict, rule: Option<Rule>) -> Self {
        let (device, vrf) = match socket.device {
            Device::Bound(name, Vrf::Name(vrf)) => (Some(name), Some(vrf)),
            Device::Bound(name, _) => (Some(name), None),
            _ => (None, None),
        };
        Self {
            fd: socket.fd,
            protocol: socket.protocol,
            local: socket.local,
            peer: socket.peer,
            device,
            vrf,
            rule,
            other_netns: socket.is_in_other_netns,
            verdict,
        }
    }
}

// -- The table.

const WIDTH: usize = 80;

/// Columns before the local address: descriptor and protocol, with the blanks behind them.
const BEFORE: usize = 6 + 10;

fn table(report: &Report, is_coloured: bool) -> String {
    let mut text = String::new();
    for entry in &report.processes {
        let (pid, name) = (entry.pid, escape(&entry.name));
        let mut facts = vec![match &entry.vrf {
            Some(vrf) => format!("{pid} {name}: VRF {}", word(vrf)),
            None => format!("{pid} {name}: no VRF requested"),
        }];
        match &entry.library {
            None => facts.push("no library".to_owned()),
            Some(library) => facts.push(format!(
                "library {}",
                library.version.as_deref().unwrap_or("of unknown version")
            )),
        }
        match entry.rules.as_ref().map_or(0, |rules| rules.list.len()) {
            0 => {}
            1 => facts.push("1 rule".to_owned()),
            count => facts.push(format!("{count} rules")),
        }
        if let Some(count @ 1..) = entry.library.as_ref().and_then(|of| of.inherited) {
            facts.push(format!("{count} inherited without a device"));
        }
        let state = entry.library.as_ref().and_then(|of| of.state);
        match entry.coverage {
            Some(Coverage::Libc) => facts.push("libc patched".to_owned()),
            Some(Coverage::Exports) if state == Some(State::Inert) => {
                facts.push("inert".to_owned())
            }
            Some(Coverage::Exports) => facts.push("exported symbols only".to_owned()),
            None => {}
        }
        facts.push(match entry.seal {
            Some(Seal::None) => "not sealed".to_owned(),
            Some(seal) => seal.word().to_owned(),
            None => "seal unknown".to_owned(),
        });
        if let Some(container) = &entry.container {
            facts.push(format!("container {}", word(container::short(container))));
        }
        wrap(&mut text, "", &facts.join(", "));
        for note in &entry.notes {
            wrap(&mut text, "  note: ", note);
        }
        rows(&mut text, &entry.sockets, is_coloured);
    }
    text
}

/// Words, in lines that fit; those after the first are indented as far as the text after `head`.
fn wrap(text: &mut String, head: &str, words: &str) {
    let indent = if head.is_empty() { 4 } else { head.len() };
    let mut line = head.to_owned();
    for word in words.split(' ') {
        let is_empty = line.trim_end().len() <= head.trim_end().len();
        if !is_empty && line.len() + word.len() > WIDTH {
            output::line(text, line.trim_end());
            line = " ".repeat(indent);
        }
        line.push_str(word);
        line.push(' ');
    }
    output::line(text, line.trim_end());
}

/// A socket is a line; an address that does not fit has one of its own, and so has a peer.
fn rows(text: &mut String, sockets: &[Row], is_coloured: bool) {
    let dash = |value: &Option<String>| word(value.as_deref().unwrap_or("-")).into_owned();
    if sockets.is_empty() {
        output::line(text, "    no IPv4 or IPv6 socket");
        return;
    }
    let width = |title: &str, value: fn(&Row) -> &Option<String>| {
        let widths = sockets.iter().map(|row| dash(value(row)).chars().count());
        widths.max().unwrap_or(0).max(title.len())
    };
    let device = width("DEVICE", |row| &row.device);
    let vrf = width("VRF", |row| &row.vrf);
    // Escaped names may leave nothing.
    let verdict = Verdict::ALL.iter().map(|one| one.word().len()).max();
    let behind = 1 + device + 1 + vrf + 1 + verdict.unwrap_or(0);
    let local = WIDTH.saturating_sub(BEFORE + behind);
    output::line(
        text,
        &format!(
            "{:>5} {:<10}{:<local$} {:<device$} {:<vrf$} VERDICT",
            "FD", "PROTOCOL", "LOCAL, PEER", "DEVICE", "VRF"
        ),
    );
    for row in sockets {
        let head = format!("{:>5} {:<10}", row.fd, row.protocol);
        let shown = |address: &Address| word(&address.to_string()).into_owned();
        let mut address = row.local.as_ref().map_or_else(|| "-".to_owned(), shown);
        if address.len() > local {
            output::line(text, &format!("{head}{address}"));
            address.clear();
        }
        let head = if address.is_empty() {
            String::new()
        } else {
            head
        };
        let (on, of) = (dash(&row.device), dash(&row.vrf));
        let columns = format!("{head:<BEFORE$}{address:<local$} {on:<device$} {of:<vrf$} ");
        let verdict = coloured(row.verdict, is_coloured);
        // The colour is ours, and the only thing that is not escaped.
        let _ = writeln!(text, "{}{verdict}", escape(&columns));
        if let Some(peer) = &row.peer {
            output::line(text, &format!("{:BEFORE$}to {}", "", shown(peer)));
        }
        if let Some(Rule { number, text: rule }) = &row.rule {
            let words = format!("rule {number}: {}", escape(rule));
            wrap(text, &" ".repeat(BEFORE), &words);
        }
    }
}

fn coloured(verdict: Verdict, is_coloured: bool) -> String {
    let colour = match verdict {
        Verdict::Ok => 32,
        Verdict::Unknown => 33,
        _ => 31,
    };
    match is_coloured {
        true => format!("\x1b[{colour}m{}\x1b[0m", verdict.word()),
        false => verdict.word().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_fits_80_columns_whatever_is_in_it() {
        let long = |address: &str| {
            Some(Address {
                address: address.to_owned(),
                port: Some(65535),
            })
        };
        let sockets = vec![Row {
            fd: 99999,
            protocol: "udplite/raw".chars().take(9).collect(),
            local: long("2001:db8:1111:2222:3333:4444:5555:6666"),
            peer: long("fe80::1111:2222:3333:4444%abcdefghijklmno"),
            device: Some("abcdefghijklmno".to_owned()),
            vrf: Some("ABCDEFGHIJKLMNO".to_owned()),
            rule: Some(Rule {
                number: 64,
                text: "connect sctp [2001:db8:1111:2222:3333:4444:5555:6666]/128:10000-65535 ABCDEFGHIJKLMNO".to_owned(),
            }),
            other_netns: false,
            verdict: Verdict::DeviceDeleted,
        }];
        let mut text = String::new();
        rows(&mut text, &sockets, false);
        assert_eq!(text.lines().count(), 7);
        wrap(&mut text, "  note: ", &"words of a note ".repeat(20));
        assert!(text.lines().count() > 5);
        for line in text.lines() {
            assert!(line.len() <= WIDTH, "{} columns: {line}", line.len());
        }
    }

    #[test]
    fn a_name_of_control_characters_is_a_word_of_one_line() {
        let name = "\x1b\n".repeat(7);
        let entry = Entry {
            ok: true,
            pid: 7,
            name: name.clone(),
            container: Some("c\n.scope".to_owned()),
            vrf: Some(format!("{name}    3 tcp       0.0.0.0:22")),
            vrf_from: None,
            rules: None,
            library: None,
            coverage: None,
            seal: None,
            method: Method::PidfdGetfd,
            notes: vec![format!("of {}", word(&name))],
            sockets: vec![Row {
                fd: 3,
                protocol: "udp".to_owned(),
                local: None,
                peer: None,
                device: Some(name.clone()),
                vrf: Some(name.clone()),
                rule: None,
                other_netns: false,
                verdict: Verdict::Ok,
            }],
        };
        let report = Report {
            ok: true,
            hidden: 0,
            unread: Vec::new(),
            processes: vec![entry],
        };
        let text = table(&report, false);
        let escaped = r"\x1b\n".repeat(7);
        let blank = r"\x20";
        let forged = format!(
            "{escaped}{0}3{1}tcp{2}0.0.0.0:22",
            blank.repeat(4),
            blank,
            blank.repeat(7)
        );
        let lines: Vec<_> = text.lines().map(str::trim_start).collect();
        assert_eq!(lines[0], format!("7 {escaped}: VRF"));
        assert_eq!(
            lines[1],
            format!("{forged}, no library, seal unknown, container c\\n")
                .split_at(forged.len() + 1)
                .0
        );
        assert!(lines.contains(&&*format!("note: of {escaped}")));
        assert!(
            lines
                .last()
                .unwrap()
                .ends_with(&format!("{escaped} {escaped} ok"))
        );
        assert!(text.chars().all(|one| one == '\n' || !one.is_control()));
    }
}
