//! The synopsis and the options in vrfbind(1) are those of the command line's definition.
//!
//! man/vrfbind.1 has them between two comments, `.\" BEGIN NAME` and `.\" END`, where NAME is `synopsis` or a subcommand. The
//! test fails where they differ from what clap_mangen renders. `make man` writes them anew: VRFBIND_WRITE_MANUAL is set then.

use clap::{Command, CommandFactory};
use std::fs;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../man/vrfbind.1");

/// The synopsis: a line for each subcommand.
fn synopsis(command: &Command) -> String {
    // Only then a subcommand knows whose it is.
    let mut command = command.clone();
    command.build();
    let usage = |command: &Command| {
        let usage = command.clone().render_usage().to_string();
        let words = usage.trim_start_matches("Usage: ").replace('-', "\\-");
        match words.split_once(" [") {
            Some((name, rest)) => format!("\\fB{name}\\fR [{rest}\n"),
            None => match words.split_once(" <") {
                Some((name, rest)) => format!("\\fB{name}\\fR <{rest}\n"),
                None => format!("\\fB{words}\\fR\n"),
            },
        }
    };
    let lines: String = shown(&command).map(usage).collect();
    format!(".nf\n{lines}.fi\n")
}

/// Arguments and options, as tagged paragraphs: a sentence is a line, and the last one has its full stop.
fn options(command: &Command) -> String {
    let mut rendered = Vec::new();
    let manual = clap_mangen::Man::new(command.clone().disable_help_flag(true));
    manual.render_options_section(&mut rendered).unwrap();
    let rendered = String::from_utf8(rendered).unwrap();
    let mut text = String::new();
    let mut lines = rendered.lines().skip_while(|line| *line != ".TP");
    while let Some(line) = lines.next() {
        assert_eq!(line, ".TP", "an option's help is one paragraph: {rendered}");
        let (tag, help) = (lines.next().unwrap(), lines.next().unwrap());
        let help = help.trim_end_matches('.').replace(". ", ".\n");
        text += &format!(".TP\n{tag}\n{help}.\n");
    }
    text
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    let mut subcommands = command.get_subcommands();
    std::iter::from_fn(move || {
        subcommands.find(|one| !one.is_hide_set() && one.get_name() != "help")
    })
}

/// The page with what belongs between its comments.
fn page(old: &str, command: &Command) -> String {
    let mut new = String::new();
    let mut lines = old.lines();
    let mut names = Vec::new();
    while let Some(line) = lines.next() {
        new += &format!("{line}\n");
        let Some(name) = line.strip_prefix(".\\\" BEGIN ") else {
            continue;
        };
        names.push(name);
        new += &match name {
            "synopsis" => synopsis(command),
            _ => options(command.find_subcommand(name).unwrap()),
        };
        lines.find(|line| *line == ".\\\" END").unwrap();
        new += ".\\\" END\n";
    }
    let expected = shown(command).map(Command::get_name);
    let expected: Vec<_> = std::iter::once("synopsis").chain(expected).collect();
    assert_eq!(names, expected, "sections of vrfbind(1)");
    new
}

#[test]
fn the_manual_has_the_options_of_the_command_line() {
    let command = crate::Arguments::command();
    let old = fs::read_to_string(PAGE).unwrap();
    let new = page(&old, &command);
    if std::env::var_os("VRFBIND_WRITE_MANUAL").is_some() {
        fs::write(PAGE, &new).unwrap();
        return;
    }
    let differs = old.lines().zip(new.lines()).find(|(old, new)| old != new);
    assert_eq!(
        differs, None,
        "`make man` writes the options into vrfbind(1)"
    );
    assert_eq!(
        old.len(),
        new.len(),
        "`make man` writes the options into vrfbind(1)"
    );
}
