//! A decoded transaction and the hashes that name it (batch §4).

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_rlp::{Encodable, Header};

use super::signer::Signature;
use zkevm_tree::{Digest, linear_hash};

/// One legacy transaction of a batch, not validated beyond its encoding (batch §3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Nonce.
    pub nonce: u64,
    /// Signed gas price in wei.
    pub gas_price: U256,
    /// Gas limit.
    pub gas_limit: u64,
    /// Recipient; `None` deploys a contract.
    pub to: Option<Address>,
    /// Value in wei.
    pub value: U256,
    /// Call data or init code.
    pub data: Bytes,
    /// Chain id of an EIP-155 transaction, as encoded; `None` when the list has six fields.
    pub chain_id: Option<u64>,
    /// Signature r, not range-checked.
    pub r: B256,
    /// Signature s, not range-checked.
    pub s: B256,
    /// Signature v as sent; 27 or 28 when valid.
    pub v: u8,
    /// Effective percentage byte; 0 before fork 5.
    pub percentage: u8,
    /// The RLP list as received: the signing payload.
    pub signed_rlp: Bytes,
}

impl Transaction {
    /// Returns the hash the sender signed: keccak of the list as received.
    pub fn signing_hash(&self) -> B256 {
        keccak256(&self.signed_rlp)
    }

    /// Returns the signature with the hash it signs.
    pub fn signature(&self) -> Signature {
        Signature { hash: self.signing_hash(), r: self.r, s: self.s, v: self.v }
    }

    /// Returns the canonical signed RLP, of which the Ethereum hash is made.
    ///
    /// Integers are minimal, also where the batch encoded them otherwise. zkevm-prover up to v6.0.2 left out the length byte
    /// of data of one byte from 0x80 on, and hashed that (batch §4).
    pub fn rlp(&self) -> Bytes {
        let v = match self.chain_id.unwrap_or(0) {
            0 => u64::from(self.v),
            chain_id => chain_id.wrapping_mul(2).wrapping_add(8 + u64::from(self.v)),
        };
        let to: &[u8] = self.to.as_ref().map_or(&[], |to| to.as_slice());
        let fields: [&dyn Encodable; 9] = [
            &self.nonce,
            &self.gas_price,
            &self.gas_limit,
            &to,
            &self.value,
            &self.data,
            &v,
            &U256::from_be_bytes(self.r.0),
            &U256::from_be_bytes(self.s.0),
        ];
        let payload_length = fields.iter().map(|field| field.length()).sum();
        let mut out = Vec::with_capacity(payload_length + 4);
        Header { list: true, payload_length }.encode(&mut out);
        fields.iter().for_each(|field| field.encode(&mut out));
        out.into()
    }

    /// Returns the L2 hash of a V2 transaction: a linear Poseidon hash over fixed-width fields and the sender (batch §4).
    ///
    /// `from` is zero when the signature does not recover.
    pub fn l2_hash(&self, from: Address) -> Digest {
        linear_hash(&self.l2_preimage(from))
    }

    /// Returns what [`Self::l2_hash`] digests, for those who digest many at once.
    pub fn l2_preimage(&self, from: Address) -> Vec<u8> {
        let mut preimage = Vec::with_capacity(self.l2_hash_bytes() as usize);
        preimage.push(u8::from(self.chain_id.is_some()));
        preimage.extend_from_slice(&self.nonce.to_be_bytes());
        preimage.extend_from_slice(&self.gas_price.to_be_bytes::<32>());
        preimage.extend_from_slice(&self.gas_limit.to_be_bytes());
        preimage.push(u8::from(self.to.is_none()));
        preimage.extend_from_slice(self.to.as_ref().map_or(&[], |to| to.as_slice()));
        preimage.extend_from_slice(&self.value.to_be_bytes::<32>());
        preimage.extend_from_slice(&(self.data.len() as u32).to_be_bytes()[1..]);
        preimage.extend_from_slice(&self.data);
        if let Some(chain_id) = self.chain_id {
            preimage.extend_from_slice(&chain_id.to_be_bytes());
        }
        preimage.extend_from_slice(from.as_slice());
        preimage
    }

    /// Returns the bytes that the L2 hash digests (batch §4).
    pub fn l2_hash_bytes(&self) -> u64 {
        const FIXED: usize = 1 + 8 + 32 + 8 + 1 + 32 + 3 + 20;
        let recipient = if self.to.is_some() { 20 } else { 0 };
        let chain_id = if self.chain_id.is_some() { 8 } else { 0 };
        (FIXED + recipient + chain_id + self.data.len()) as u64
    }

    /// Returns intrinsic gas: 21 000 or 53 000, plus 4 per zero and 16 per other data byte (batch §2).
    pub fn intrinsic_gas(&self) -> u64 {
        let base = if self.to.is_none() { 53_000 } else { 21_000 };
        let zeros = self.data.iter().filter(|&&byte| byte == 0).count() as u64;
        base + 4 * zeros + 16 * (self.data.len() as u64 - zeros)
    }

    /// Returns ⌊gasPrice · (percentage + 1) / 256⌋, computed exactly (batch §8.2).
    pub fn scaled_gas_price(&self) -> U256 {
        let factor = U256::from(u16::from(self.percentage) + 1);
        // 264 bits: scale the high and the low part separately. The high part times 256 is exactly divisible.
        let high = self.gas_price >> 8;
        let low = self.gas_price & U256::from(0xff);
        high * factor + ((low * factor) >> 8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{address, b256};

    fn transfer() -> Transaction {
        Transaction {
            nonce: 0,
            gas_price: U256::from(1_000_000_000),
            gas_limit: 100_000,
            to: Some(address!("4d5Cf5032B2a844602278b01199ED191A86c93ff")),
            value: U256::from(22_000_000_000_000_000_000_u128),
            data: Bytes::new(),
            chain_id: Some(1000),
            r: b256!("f9ea8e90ae323e360a22bd0b1a972d15cb33df6ccbfbada4a0d49792d1164ea5"),
            s: b256!("6029d84d5093a7186fb5bf2f1b7258d57e9c09ac89c4cb8eb44a3c961c4dd89b"),
            v: 27,
            percentage: 255,
            signed_rlp: hex::decode(
                "ef80843b9aca00830186a0944d5cf5032b2a844602278b01199ed191a86c93ff8901314fb37062980000808203e88080",
            )
            .unwrap()
            .into(),
        }
    }

    #[test]
    fn hashes_of_the_specification_example() {
        let tx = transfer();
        assert_eq!(tx.signing_hash(), b256!("5d62354c599338d6895f7898ad0a3e45beaae359f1a180c244f13d92dfeb3a5b"));
        assert_eq!(keccak256(tx.rlp()), b256!("5da56360f34658d23f2aa9fca6c022bdf0fc9e6013ad5976b01aabb244740a71"));
        let from = address!("617b3a3528F9cDd6630fd3301B9c8911F7Bf063D");
        assert_eq!(
            tx.l2_hash(from).to_b256(),
            b256!("f3931966832714d2ff842e3ec070a96b03dafb8d501e6e26244d988b66b42033")
        );
    }

    #[test]
    fn data_of_one_byte_is_encoded_as_ethereum_does() {
        let rlp = |byte| Transaction { data: vec![byte].into(), ..transfer() }.rlp();
        let value = hex::decode("8901314fb37062980000").unwrap();
        let after_value = |rlp: &Bytes| {
            let at = rlp.windows(value.len()).position(|window| window == value).unwrap() + value.len();
            rlp[at..at + 2].to_vec()
        };
        assert_eq!(after_value(&rlp(0x7f)), [0x7f, 0x82]);
        assert_eq!(after_value(&rlp(0x80)), [0x81, 0x80]);
        assert_eq!(after_value(&rlp(0xff)), [0x81, 0xff]);
    }

    #[test]
    fn effective_price_scales_without_overflow() {
        let price = |gas_price, percentage| Transaction { gas_price, percentage, ..transfer() }.scaled_gas_price();
        assert_eq!(price(U256::from(1000), 255), U256::from(1000));
        assert_eq!(price(U256::from(1001), 127), U256::from(500));
        assert_eq!(price(U256::from(255), 0), U256::ZERO);
        assert_eq!(price(U256::MAX, 255), U256::MAX);
        assert_eq!(price(U256::MAX, 127), U256::MAX >> 1);
    }

    #[test]
    fn intrinsic_gas_counts_zero_and_other_bytes() {
        let tx = Transaction { data: Bytes::from_static(&[0, 1, 0]), ..transfer() };
        assert_eq!(tx.intrinsic_gas(), 21_000 + 4 + 16 + 4);
        assert_eq!(Transaction { to: None, ..tx }.intrinsic_gas(), 53_024);
    }
}
