//! What a step shows as return data (main-state-machine §9.7).

use alloy_primitives::Bytes;

use super::low_u64;
use crate::{Abort, Variable, View};

const RETURN: u8 = 0xf3;

/// What a create returned is shown in its creator's frame. The original reads it once in a batch, whatever creates follow.
#[derive(Clone, Debug, Default)]
pub(super) struct ReturnedByCreate {
    is_on: bool,
    /// Context of the create.
    create: u64,
    /// Context of its creator.
    creator: u64,
    returned: Option<Bytes>,
}

impl ReturnedByCreate {
    /// Returns the return data before an opcode.
    pub(super) fn before(&mut self, op: u8, view: &View<'_, '_>) -> Result<Bytes, Abort> {
        let mut shown = Bytes::new();
        if self.is_on {
            let returned = match self.returned.take() {
                Some(returned) => returned,
                None => returned_in(self.create, view)?,
            };
            if self.creator == low_u64(view.global(Variable::CurrentCtx)?) {
                shown = returned.clone();
            } else {
                self.is_on = false;
            }
            self.returned = Some(returned);
        }
        if low_u64(view.local(Variable::IsCreate)?) != 0 {
            if op == RETURN {
                self.is_on = true;
                self.creator = low_u64(view.local(Variable::OriginCtx)?);
                self.create = view.context();
            }
            return Ok(shown);
        }
        let context = low_u64(view.local(Variable::RetDataCtx)?);
        if context == 0 {
            return Ok(shown);
        }
        let own = returned_in(context, view)?;
        Ok(if shown.is_empty() { own } else { [&shown[..], &own[..]].concat().into() })
    }
}

/// Returns what a context says it returned.
fn returned_in(context: u64, view: &View<'_, '_>) -> Result<Bytes, Abort> {
    let offset = low_u64(view.local_of(Variable::RetDataOffset, context)?);
    let length = low_u64(view.local_of(Variable::RetDataLength, context)?);
    Ok(view.memory.bytes_at(context, offset, length)?.into())
}
