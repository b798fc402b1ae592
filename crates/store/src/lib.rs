//! Where nodes and programs live: in memory, in an embedded database, in PostgreSQL; and the batch sessions of the HashDB
//! service over them.
//!
//! Decides: what is kept how long, in which order it is stored, and under which flush id. Must not know: which roots are in
//! use, batches, the wire.
//!
//! | Module | What |
//! |---|---|
//! | `writer` | [`StateWriter`], [`Durability`]; reading is [`zkevm_tree::StateReader`] |
//! | `state_store` | [`StateStore`]: permanent state in a database or in memory, volatile state in memory |
//! | `memory` | [`MemoryStore`]: nodes and programs in this process |
//! | `database` | [`Database`], which what survives the process implements, and [`WriteSet`] |
//! | `embedded`, `postgres` | the two databases of this crate |
//! | `cache`, `flush` | in front of a database: what was read or is queued; the queue and its flush ids |
//! | `overlay` | [`RequestOverlay`]: what a request brings along, in front of a store |
//! | [`hashdb`] | the state database behind the HashDB service |
//! | `async_bridge` | [`AsyncBridge`]: from callers that block to drivers that do not |
//! | [`encoding`], [`pem`] | bytes of rows; certificates |

#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod async_bridge;
mod cache;
mod database;
mod embedded;
pub mod encoding;
mod flush;
pub mod hashdb;
mod memory;
mod overlay;
pub mod pem;
mod postgres;
mod state_store;
mod writer;

pub use async_bridge::{AsyncBridge, Retries};
pub use cache::{CacheStats, ReadCache};
pub use database::{Database, Entry, WriteSet};
pub use embedded::{DamagedPart, EmbeddedDatabase, Rebuilt};
pub use flush::{FlushGroup, FlushStatus, QueueLimits};
pub use memory::{MemoryLimits, MemoryStore, MemoryStoreStats};
pub use overlay::{NoState, RequestOverlay, verified_nodes, verified_programs};
pub use postgres::{PostgresDatabase, PostgresOptions};
pub use state_store::{
    DurableOptions, IntegrityStats, StateStats, StateStore, VerifiedReader, WitnessEntries, WriterStep,
};
pub use writer::{Durability, StateWriter};
