//! The subcommands, a file each: arguments, and a function that returns the exit status or a
//! [`Failure`](crate::failure::Failure).

pub mod check;
pub mod completions;
pub mod container;
mod device;
pub mod exec;
pub mod identify;
mod inherited;
pub mod rule_options;
pub mod status;
pub mod unit;
mod verdict;
