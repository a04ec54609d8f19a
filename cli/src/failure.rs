//! Why a subcommand did not do its work, and the exit statuses that are ours.

/// Why a subcommand did not do its work.
#[derive(Debug)]
pub struct Failure {
    /// The exit status.
    pub status: u8,
    /// What follows "vrfbind: " on standard error, without a full stop at its end.
    pub sentence: String,
}

/// What env(1), nohup(1) and timeout(1) return when they themselves fail.
pub const OURS: u8 = 125;
/// What shells return for a command that is there and cannot be started.
pub const NOT_EXECUTABLE: u8 = 126;
/// What they return for one that is not there.
pub const NOT_FOUND: u8 = 127;

/// A failure of ours, before there is a program.
pub fn refuse(sentence: impl Into<String>) -> Failure {
    Failure {
        status: OURS,
        sentence: sentence.into(),
    }
}
