//! Reads TAP (testanything.org), strictly: whatever is not valid is an error, and nothing is guessed.
//!
//! A plan `1..N`, once, before the points or after them. Points `ok N` and `not ok N`, numbered from 1 without a gap, each
//! perhaps with a `# SKIP REASON`. `Bail out!` is an error. All other lines are for people.

/// The results of a program's points.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Points {
    pub ok: usize,
    pub not_ok: usize,
    /// The reasons of those of `ok` that are skips.
    pub skipped: Vec<String>,
}

pub fn read(text: &str) -> Result<Points, String> {
    let mut points = Points::default();
    let mut plan = None;
    // The plan was after the points.
    let mut closed = false;
    for line in text.lines() {
        let said = points.ok + points.not_ok;
        if line.starts_with("Bail out!") {
            return Err(line.to_owned());
        } else if let Some(count) = line.strip_prefix("1..") {
            if plan.is_some() {
                return Err(format!("a second plan: {line}"));
            }
            let count = number(count).ok_or_else(|| format!("this is no plan: {line}"))?;
            plan = Some(count);
            closed = said > 0;
        } else if let Some((ok, rest)) = verdict(line) {
            if closed {
                return Err(format!("a point behind the plan: {line}"));
            }
            let (count, description) = rest.split_once(' ').unwrap_or((rest, ""));
            if number(count) != Some(said + 1) {
                return Err(format!("this should be point {}: {line}", said + 1));
            }
            if ok {
                points.ok += 1;
            } else {
                points.not_ok += 1;
            }
            match (skip(description), ok) {
                (Some(reason), true) => points.skipped.push(reason.to_owned()),
                (Some(_), false) => return Err(format!("skipped, and not ok: {line}")),
                (None, _) => {}
            }
        }
    }
    match (plan, points.ok + points.not_ok) {
        (None, _) => Err("there is no plan".to_owned()),
        (_, 0) => Err("not one test point".to_owned()),
        (Some(planned), said) if planned != said => {
            Err(format!("{said} test points, planned were {planned}"))
        }
        _ => Ok(points),
    }
}

/// The result and the rest of a line that begins with `ok` or `not ok`.
fn verdict(line: &str) -> Option<(bool, &str)> {
    let (ok, rest) = match line.strip_prefix("not ") {
        Some(rest) => (false, rest),
        None => (true, line),
    };
    match rest.strip_prefix("ok")? {
        "" => Some((ok, "")),
        rest => Some((ok, rest.strip_prefix(' ')?)),
    }
}

/// Digits and nothing else.
fn number(text: &str) -> Option<usize> {
    let text = text.trim_end();
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

/// The reason behind `# SKIP`.
fn skip(description: &str) -> Option<&str> {
    let (_, directive) = description.split_once("# SKIP")?;
    Some(directive.trim())
}
