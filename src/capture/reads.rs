//! Everything one batch reads from the store: what a file needs to replay it alone.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use revm::primitives::Bytes;

use super::file_writer::FileWriter;
use super::input::{self, NODE_TEXT_BYTES, input_json};
use zkevm_tree::{Digest, NodeData};
use zkevm_tree::{StateReader, StoreError};
use zkevm_types::BatchInput;
use zkevm_types::BatchRoots;

/// Nodes and programs that were read.
#[derive(Clone, Debug, Default)]
pub struct Reads {
    pub(super) nodes: BTreeMap<Digest, NodeData>,
    pub(super) programs: BTreeMap<Digest, Bytes>,
}

impl Reads {
    fn estimated_bytes(&self) -> usize {
        self.nodes.len() * NODE_TEXT_BYTES + self.programs.values().map(|code| 2 * code.len() + 128).sum::<usize>()
    }
}

/// Notes the reads of one batch and saves them with its input.
pub struct DbReads {
    file_writer: FileWriter,
    path: PathBuf,
    input: Arc<BatchInput>,
    reads: Arc<Mutex<Reads>>,
    on_change: bool,
    /// A rewrite waits for the saving thread: it will see what is noted until then.
    rewrite_waits: Arc<AtomicBool>,
}

impl DbReads {
    pub(super) fn new(file_writer: FileWriter, path: PathBuf, input: BatchInput, on_change: bool) -> Self {
        let (reads, rewrite_waits) = Default::default();
        Self { file_writer, path, input: Arc::new(input), reads, on_change, rewrite_waits }
    }

    /// Returns a reader over `base` that notes what it finds.
    pub fn over<'a>(&'a self, base: &'a dyn StateReader) -> RecordingReader<'a> {
        RecordingReader { base, notes: self }
    }

    /// Saves what was read, with the roots the batch came to.
    pub fn finish(self, roots: Option<BatchRoots>) {
        let Self { file_writer, path, input, reads, .. } = self;
        let bytes = input::estimated_bytes(&input) + reads.lock().estimated_bytes();
        file_writer.save(path, bytes, move || input::text(&input_json(&input, Some((&*reads.lock(), roots)))));
    }

    fn note(&self, insert: impl FnOnce(&mut Reads)) {
        insert(&mut self.reads.lock());
        // At most one rewrite waits, so the file follows the reads as fast as the disk allows and no batch waits for it.
        if self.on_change && !self.rewrite_waits.swap(true, Ordering::AcqRel) {
            let (input, reads, waits) =
                (Arc::clone(&self.input), Arc::clone(&self.reads), Arc::clone(&self.rewrite_waits));
            let bytes = input::estimated_bytes(&input);
            self.file_writer.save(self.path.clone(), bytes, move || {
                waits.store(false, Ordering::Release);
                let reads = reads.lock().clone();
                input::text(&input_json(&input, Some((&reads, None))))
            });
        }
    }
}

/// Reads from a store and notes what it finds. What is missing is not noted.
pub struct RecordingReader<'a> {
    base: &'a dyn StateReader,
    notes: &'a DbReads,
}

impl StateReader for RecordingReader<'_> {
    fn node(&self, hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        let found = self.base.node(hash)?;
        if let Some(data) = found {
            self.notes.note(|reads| {
                reads.nodes.insert(*hash, data);
            });
        }
        Ok(found)
    }

    fn nodes(&self, hashes: &[Digest]) -> Result<Vec<Option<NodeData>>, StoreError> {
        let found = self.base.nodes(hashes)?;
        self.notes.note(|reads| {
            let pairs = hashes.iter().zip(&found);
            reads.nodes.extend(pairs.filter_map(|(hash, data)| Some((*hash, (*data)?))));
        });
        Ok(found)
    }

    fn prefers_many(&self) -> bool {
        self.base.prefers_many()
    }

    fn program(&self, hash: &Digest) -> Result<Option<Bytes>, StoreError> {
        let found = self.base.program(hash)?;
        if let Some(code) = &found {
            self.notes.note(|reads| {
                reads.programs.insert(*hash, code.clone());
            });
        }
        Ok(found)
    }
}
