//! One batch, start to end: decode, execute, update the tree, answer.
//!
//! Decides: the order in which a batch runs, what its transactions and blocks leave behind, what its answer says. Must not
//! know: actors, gRPC, a runtime, where state is kept. The caller gives the state as a
//! [`StateReader`](zkevm_tree::StateReader) and writes the new nodes of the [`BatchOutput`](zkevm_types::BatchOutput) where
//! it wants.
//!
//! A batch executed in memory:
//!
//! ```
//! use std::sync::Arc;
//!
//! use zkevm_pool::CancelToken;
//! use zkevm_processor::Engine;
//! use zkevm_store::MemoryStore;
//! use zkevm_testkit::sample::{Kind, Workload};
//! use zkevm_types::ForkId;
//!
//! // A state of one client with a few funded accounts, and a batch of ten signed transfers among them.
//! let workload = Arc::new(Workload::new(ForkId::new(9).ok_or("unknown fork")?, 1)?);
//! let genesis = workload.genesis().build()?;
//! let batch = workload.chain(0, genesis.root.to_b256()).next_batch(Kind::Transfers, 10);
//!
//! let store = MemoryStore::new(0);
//! genesis.write_to(&store)?;
//! let output = Engine::default().process(&batch, &store, &CancelToken::default())?;
//! assert_eq!(output.gas_used, 10 * 21_000);
//! assert_ne!(output.roots.ok_or("aborted")?.new_state_root, batch.old_state_root);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The rules tell an [`Observer`] what happens. [`Engine::process`] counts zk counters with one, and nothing else here knows
//! of them.

#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod block_info;
mod engine;
mod prefixes;
mod prepare;
mod run;
mod state_view;
mod tracing;
mod v1;
mod v2;

pub use engine::Engine;
pub use prefixes::{PrefixCache, PrefixStats};

use zkevm_batch::observer::BatchObserver;
use zkevm_evm::observer::EvmObserver;

/// Listens to a batch, inside its transactions and outside. `()` listens to nothing.
pub trait Observer: BatchObserver + EvmObserver {}

impl<O: BatchObserver + EvmObserver> Observer for O {}
