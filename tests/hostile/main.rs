//! Requests that want all of the memory, all of the time, or all of the threads of a server, while another client sends a
//! small batch every 100 ms. Each call ends with the sentence of its limit, the other client's calls are all answered, and
//! afterwards nothing is held.
//!
//! By default with small limits, in seconds. `ZKEVM_HOSTILE=long` runs with the limits of `config/default.toml` and prints a
//! row for each: peak memory, and the slowest of the other client's calls.

mod answering;
mod attacks;
mod interrupt;
mod limits;
mod limits_of_state;
#[path = "../service/process.rs"]
#[allow(dead_code)]
mod process;
mod sequence;
mod support;
mod unread;
