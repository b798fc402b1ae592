//! What a stateless batch brings along instead of a state root and `batch_l2_data` (executor-service §5.10).
//!
//! - the *witness*: the part of the tree the batch needs, as nodes in pre-order, with programs;
//! - the *data stream*: blocks and transactions, as a node streams them to others.
//!
//! Both are bytes of a client: every loop is bounded, nothing recurses, and what does not fit is an error.

mod reader;
mod stream;
mod transcode;
mod witness;

pub use stream::{StreamBatch, StreamError, read_stream};
pub use witness::{Witness, WitnessError, WitnessMemo, read_witness, read_witness_while};
