//! The main state machine: runs a compiled ROM over one batch, exact in every counter and error (main-state-machine).
//!
//! Decides: what a ROM file may hold ([`load`]), what each of its lines does ([`Machine`]), and when which event happens
//! ([`EventHandler`]). Must not know: where state is kept, what an answer looks like on the wire.
//!
//! A ROM file belongs to the operator and is not trusted: whatever is in it, loading ends with a program or an error, and a
//! program ends with an outcome.

#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod abort;
mod engine;
mod event;
mod fea;
mod folder;
mod input;
mod load;
mod machine;
mod memory;
mod profile;
mod program;
mod request;
mod rules;
mod scalar;
mod tracer;
mod tree;

pub use abort::Abort;
pub use engine::RomEngine;
pub use event::{Event, EventHandler, NoHandler, TreeAccess, View};
pub use fea::Fea;
pub use folder::{Rom, Roms, RomsError};
pub use load::{LoadError, Loaded, load};
pub use machine::{Machine, Outcome, Registers};
pub use memory::Memory;
pub use profile::{Profile, ProfileEntry};
pub use program::{Place, Program, Register, Variable};
pub use request::Request;
pub use tree::RomTree;
