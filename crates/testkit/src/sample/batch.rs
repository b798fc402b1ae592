//! Encodes batches: ChangeL2Block items and signed legacy transactions (batch §3).

use alloy_rlp::{Encodable, Header};
use revm::primitives::{Address, Bytes, U256, keccak256};

use super::Account;
use zkevm_types::{ApiVersion, ForkId};

const CHANGE_L2_BLOCK_PREFIX: u8 = 0x0b;

/// Kind of a generated transaction.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// Nonce of the sender.
    pub nonce: u64,
    /// Gas price in wei.
    pub gas_price: U256,
    /// Gas limit.
    pub gas_limit: u64,
    /// Recipient; `None` deploys.
    pub to: Option<Address>,
    /// Value in wei.
    pub value: U256,
    /// Call data.
    pub data: Bytes,
}

/// Collects the items of one batch.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    fork_id: ForkId,
    chain_id: u64,
    bytes: Vec<u8>,
}

impl BatchBuilder {
    /// Starts an empty batch.
    pub fn new(fork_id: ForkId, chain_id: u64) -> Self {
        Self { fork_id, chain_id, bytes: Vec::new() }
    }

    /// Opens an L2 block `delta_timestamp` seconds after the one before; forks without L2 blocks ignore it.
    pub fn block(&mut self, delta_timestamp: u32, l1_info_index: u32) -> &mut Self {
        if self.fork_id.rules().api == ApiVersion::V2 {
            self.bytes.push(CHANGE_L2_BLOCK_PREFIX);
            self.bytes.extend_from_slice(&delta_timestamp.to_be_bytes());
            self.bytes.extend_from_slice(&l1_info_index.to_be_bytes());
        }
        self
    }

    /// Signs a transaction and adds it, at its full gas price.
    pub fn transaction(&mut self, sender: &Account, transfer: &Transfer) -> &mut Self {
        self.append(sender, transfer, true)
    }

    /// The same without the chain id, as before EIP-155.
    pub fn plain_transaction(&mut self, sender: &Account, transfer: &Transfer) -> &mut Self {
        self.append(sender, transfer, false)
    }

    fn append(&mut self, sender: &Account, transfer: &Transfer, with_chain_id: bool) -> &mut Self {
        let to = transfer.to.as_ref().map_or(&[][..], |to| to.as_slice());
        let fields: [&dyn Encodable; 9] = [
            &transfer.nonce,
            &transfer.gas_price,
            &transfer.gas_limit,
            &to,
            &transfer.value,
            &transfer.data,
            &self.chain_id,
            &0_u8,
            &0_u8,
        ];
        let fields = if with_chain_id { &fields[..] } else { &fields[..6] };
        let payload_length = fields.iter().map(|field| field.length()).sum();
        let mut list = Vec::with_capacity(payload_length + 4);
        Header { list: true, payload_length }.encode(&mut list);
        fields.iter().for_each(|field| field.encode(&mut list));

        let signature = sender.sign(keccak256(&list));
        self.bytes.extend_from_slice(&list);
        self.bytes.extend_from_slice(signature.r.as_slice());
        self.bytes.extend_from_slice(signature.s.as_slice());
        self.bytes.push(signature.v);
        if self.fork_id.rules().effective_percentage {
            self.bytes.push(u8::MAX);
        }
        self
    }

    /// Adds bytes that are no item of these.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Replaces the percentage of the transaction added last; forks without one ignore it.
    pub fn percentage(&mut self, percentage: u8) -> &mut Self {
        if let (true, Some(last)) = (self.fork_id.rules().effective_percentage, self.bytes.last_mut()) {
            *last = percentage;
        }
        self
    }

    /// Returns the size so far, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the encoded batch.
    pub fn finish(self) -> Bytes {
        self.bytes.into()
    }
}
