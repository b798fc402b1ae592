//! What the binary can do, one file per subcommand.

pub mod conformance;
pub mod process;
pub mod request;
pub mod table;
