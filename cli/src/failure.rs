//! Why a subcommand did not do its work, and the command's own exit statuses.

/// Why a subcommand did not do its work.
#[derive(Debug)]
pub struct Failure {
    /// The exit status.
    pub status: u8,
    /// What follows "vrfbind: " on standard error, without a full stop at its end.
    pub sentence: String,
}

/// The status of env(1), nohup(1) and timeout(1) when they themselves fail.
pub const EXIT_SELF: u8 = 125;
/// The status of shells for a command that exists and cannot be started.
pub const NOT_EXECUTABLE: u8 = 126;
/// The status of shells for a command that does not exist.
pub const NOT_FOUND: u8 = 127;

/// A failure before the program is started.
pub fn refuse(sentence: impl Into<String>) -> Failure {
    Failure {
        status: EXIT_SELF,
        sentence: sentence.into(),
    }
}
