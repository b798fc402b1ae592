//! Logs (main-state-machine §9.10).

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Bytes};
use zkevm_types::LogOutput;

use super::{Tracer, address_of, low_u64};
use crate::{Abort, Register, Variable, View};

/// Bytes of a word.
const WORD_BYTES: u64 = 32;

/// The logs of a transaction that still count: by context, then by index.
#[derive(Debug, Default)]
pub(super) struct Logs {
    by_context: BTreeMap<u64, BTreeMap<u64, Entry>>,
}

#[derive(Debug, Default)]
struct Entry {
    address: Address,
    topics: Vec<B256>,
    data: Vec<u8>,
}

impl Logs {
    pub(super) fn clear(&mut self) {
        self.by_context.clear();
    }

    /// Forgets the logs of these contexts, both ends included.
    pub(super) fn drop_contexts(&mut self, first: u64, last: u64) {
        self.by_context.retain(|context, _| !(first..=last).contains(context));
    }

    fn entry(&mut self, context: u64, index: u64) -> &mut Entry {
        self.by_context.entry(context).or_default().entry(index).or_default()
    }

    /// Takes the logs in the order of their indexes; a later context wins a tie.
    pub(super) fn take(&mut self) -> Vec<LogOutput> {
        let mut by_index = BTreeMap::new();
        for entries in std::mem::take(&mut self.by_context).into_values() {
            by_index.extend(entries);
        }
        let output = |(index, entry): (u64, Entry)| {
            let Entry { address, topics, data } = entry;
            LogOutput { address, topics, data: Bytes::from(data), index: index as u32 }
        };
        by_index.into_iter().map(output).collect()
    }
}

impl Tracer<'_> {
    /// A topic, or a word of data.
    pub(super) fn store_log(
        &mut self,
        index: Register,
        is_topic: bool,
        value: Register,
        view: &View<'_, '_>,
    ) -> Result<(), Abort> {
        let index = low_u64(view.register(index)?);
        let word = B256::from(view.register(value)?);
        let bytes = match self.rules.exact_logs && !is_topic {
            true => low_u64(view.register(Register::C)?).min(WORD_BYTES),
            false => WORD_BYTES,
        };
        self.take(WORD_BYTES as usize)?;
        let address = address_of(view.local(Variable::StorageAddr)?);
        self.target().ok_or(Abort::unspecified("a log without a transaction"))?;
        let entry = self.logs.entry(view.context(), index);
        if is_topic {
            entry.topics.push(word);
        } else {
            entry.data.extend_from_slice(&word[..bytes as usize]);
        }
        entry.address = address;
        Ok(())
    }

    /// LOG0 makes its entry before it has data: that is how one without data exists.
    pub(super) fn begin_log0(&mut self, view: &View<'_, '_>) -> Result<(), Abort> {
        let index = low_u64(view.global(Variable::CurrentLogIndex)?);
        let address = address_of(view.local(Variable::StorageAddr)?);
        self.take(WORD_BYTES as usize)?;
        let entry = self.logs.entry(view.context(), index);
        entry.data.clear();
        entry.address = address;
        Ok(())
    }
}
