//! vrf: between two VRFs (topology.sh), on a kernel that has them.
//!
//! tests/with-vrf.sh decides which machine a program runs on: this one if its kernel has VRFs, otherwise a guest. Each
//! machine is a thread that takes the next of its programs until there is none. The first test that needs a machine
//! starts them all, and they run what the command line selects. A test waits for its own program and judges it. A
//! program's output is in target/vrf/, NAME.out and NAME.err, while it is written.

use crate::machine::{Gone, Machine};
use crate::place::Place;
use crate::programs;
use crate::verdict::{Output, skip};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::thread::{available_parallelism, spawn};
use std::time::Instant;

pub fn trials(place: &Arc<Place>, arguments: &Arguments) -> Vec<Trial> {
    let mut all = programs::scripts(place, "vrf");
    all.extend(programs::examples(place));
    all.extend(programs::compiled(place, "vrf", "gnu"));
    let title = |program: &Path| format!("vrf: {}", programs::title(place, program));
    let wanted = all
        .iter()
        .filter(|program| selected(arguments, &title(program)))
        .cloned()
        .collect();
    let tier = Arc::new(Tier {
        place: Arc::clone(place),
        out: place.root.join("target/vrf"),
        wanted,
        started: OnceLock::new(),
        progress: Mutex::default(),
        ended: Condvar::new(),
    });
    all.into_iter()
        .map(|program| {
            let tier = Arc::clone(&tier);
            Trial::ignorable_test(title(&program), move || tier.judge(&program))
        })
        .collect()
}

/// libtest's rule for its filters.
fn selected(arguments: &Arguments, title: &str) -> bool {
    let matches = |pattern: &String| {
        if arguments.exact {
            title == pattern
        } else {
            title.contains(pattern.as_str())
        }
    };
    arguments.filter.as_ref().is_none_or(matches) && !arguments.skip.iter().any(matches)
}

struct Tier {
    place: Arc<Place>,
    /// The directory of the programs' output.
    out: PathBuf,
    /// The programs that are to be run.
    wanted: Vec<PathBuf>,
    started: OnceLock<Result<(), String>>,
    progress: Mutex<Progress>,
    /// Signals that one more program has ended.
    ended: Condvar,
}

#[derive(Default)]
struct Progress {
    /// For each machine, the programs that it has not begun.
    queues: BTreeMap<String, VecDeque<PathBuf>>,
    ends: BTreeMap<PathBuf, End>,
}

/// How a program ended.
enum End {
    Status(i32),
    /// Not run: there is no machine.
    Nowhere,
    /// Its machine ended before it did, for this reason.
    Lost(String),
}

impl Tier {
    fn judge(self: &Arc<Self>, program: &Path) -> Result<Completion, Failed> {
        self.started.get_or_init(|| self.start()).clone()?;
        let mut progress = self.progress();
        let end = loop {
            match progress.ends.remove(program) {
                Some(end) => break end,
                None => progress = self.ended.wait(progress).expect("no thread panics"),
            }
        };
        drop(progress);
        let name = programs::name(program);
        let said = |extension: &str| {
            let bytes = fs::read(self.out.join(format!("{name}.{extension}"))).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let mut output = Output {
            stdout: said("out"),
            stderr: said("err"),
            status: None,
        };
        match end {
            End::Nowhere => skip("there is neither a native VRF nor a machine; see above"),
            End::Lost(why) => Err(output.fails(&why)),
            // An example is no TAP program: it shows sockets and answers, and judges them itself.
            End::Status(0) if name.starts_with("example-") => Ok(Completion::Completed),
            End::Status(status) => {
                output.status = Some(status);
                output.judge()
            }
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().expect("no thread panics")
    }

    fn start(self: &Arc<Self>) -> Result<(), String> {
        let _ = fs::remove_dir_all(&self.out);
        fs::create_dir_all(&self.out)
            .map_err(|error| format!("{}: {error}", self.out.display()))?;
        let mut command = Command::new(self.place.script("with-vrf.sh"));
        command.arg("--machines").args(&self.wanted);
        let output =
            Output::of(&mut command).map_err(|why| why.message().unwrap_or_default().to_owned())?;
        let machines: Vec<_> = output.stdout.lines().collect();
        if output.status != Some(0) || machines.len() != self.wanted.len() {
            return Err(format!("{command:?}: {}{}", output.stdout, output.stderr));
        }
        let mut progress = self.progress();
        for (machine, program) in machines.into_iter().zip(&self.wanted) {
            let queue = progress.queues.entry(machine.to_owned()).or_default();
            queue.push_back(program.clone());
        }
        for (machine, queue) in &progress.queues {
            for _ in 0..guests(machine, queue.len()) {
                let (tier, machine) = (Arc::clone(self), machine.clone());
                spawn(move || tier.work(&machine));
            }
        }
        Ok(())
    }

    /// One machine, from its boot to the end of its queue.
    fn work(&self, queue: &str) {
        let mut name = queue;
        let mut machine = None;
        while let Some(program) = self.next(queue) {
            let title = programs::name(&program);
            eprintln!("vrf tier: {title} on {name}");
            let begin = Instant::now();
            let end = loop {
                match self.run(&mut machine, name, &program) {
                    Ok(status) => break End::Status(status),
                    Err(Gone::Never) if name == "uml" => name = "qemu",
                    Err(Gone::Never) => break End::Nowhere,
                    Err(Gone::Hung) => break End::Lost("it hung, and was ended".to_owned()),
                    Err(Gone::Early(why)) => break End::Lost(format!("its machine ended: {why}")),
                }
            };
            if let End::Status(status) = end {
                let took = begin.elapsed().as_secs();
                eprintln!("vrf tier: {title} on {name}: exit status {status} after {took} s");
            }
            self.progress().ends.insert(program, end);
            self.ended.notify_all();
        }
        if let Some(machine) = machine {
            machine.end();
        }
    }

    fn next(&self, queue: &str) -> Option<PathBuf> {
        self.progress().queues.get_mut(queue)?.pop_front()
    }

    /// On the running machine, or on a new one.
    fn run(&self, up: &mut Option<Machine>, name: &str, program: &Path) -> Result<i32, Gone> {
        let mut machine = match up.take() {
            Some(machine) => machine,
            None => Machine::boot(&self.place, name)?,
        };
        let out = self.out.join(programs::name(program));
        let topology = self.place.script("topology.sh");
        let status = machine.run(&out, &[topology.as_ref() as &OsStr, program.as_ref()])?;
        *up = Some(machine);
        Ok(status)
    }
}

/// How many programs of a machine run at the same time. user-mode Linux has one CPU, the other guests two, which few
/// programs use.
fn guests(machine: &str, programs: usize) -> usize {
    let cpus = available_parallelism().map_or(1, usize::from);
    let most = match machine {
        "native" => 1,
        _ => cpus.min(4),
    };
    most.min(programs)
}
