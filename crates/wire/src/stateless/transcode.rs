//! A signed Ethereum transaction → its form in `batch_l2_data` (executor-service §5.10, batch §3.1).

use alloy_rlp::{Encodable, Header};

use super::reader::padded_word;

/// Fields of a signed legacy transaction: nonce, gas price, gas limit, to, value, data, v, r, s.
const FIELDS: usize = 9;
/// Those of them that are signed.
const SIGNED_FIELDS: usize = 6;
/// v of a signature without a chain id; with one it is twice the chain id and 35 more (EIP-155).
const V_PLAIN: u64 = 27;
const V_EIP155: u64 = 35;

/// Appends RLP(nonce, …, data, chain id, 0, 0) ‖ r ‖ s ‖ v ‖ percentage.
///
/// A transaction from before EIP-155 has no chain id, and its list six fields: the original could not express it up to
/// v6.0.2-RC4 and does since, and clients send it. Fields are passed on as they are; the batch's own grammar judges them.
/// Fails with what is wrong.
pub(super) fn append_transaction(
    out: &mut Vec<u8>,
    encoded: &[u8],
    chain_id: u64,
    percentage: u8,
) -> Result<(), &'static str> {
    let fields = fields(encoded).ok_or("not a list of nine strings")?;
    let [.., v, r, s] = fields;
    let (is_plain, v) = match number(v).ok_or("v of more than 8 bytes")? {
        v @ (V_PLAIN | 28) => (true, v),
        v => {
            let parity = v.checked_sub(V_EIP155).ok_or("v of no signature")?;
            if parity / 2 != chain_id {
                return Err("signed for another chain");
            }
            (false, V_PLAIN + parity % 2)
        }
    };
    let (r, s) = (padded_word(r).ok_or("r of more than 32 bytes")?, padded_word(s).ok_or("s of more than 32 bytes")?);

    let mut list: Vec<&dyn Encodable> = fields[..SIGNED_FIELDS].iter().map(|field| field as &dyn Encodable).collect();
    if !is_plain {
        list.extend([&chain_id as &dyn Encodable, &0_u8, &0_u8]);
    }
    let payload_length = list.iter().map(|field| field.length()).sum();
    Header { list: true, payload_length }.encode(out);
    list.iter().for_each(|field| field.encode(out));
    out.extend(r.iter().chain(&s));
    out.extend([v as u8, percentage]);
    Ok(())
}

fn fields(mut encoded: &[u8]) -> Option<[&[u8]; FIELDS]> {
    let mut payload = Header::decode_bytes(&mut encoded, true).ok()?;
    let mut fields = [&[][..]; FIELDS];
    for field in &mut fields {
        *field = Header::decode_bytes(&mut payload, false).ok()?;
    }
    (payload.is_empty() && encoded.is_empty()).then_some(fields)
}

fn number(bytes: &[u8]) -> Option<u64> {
    (bytes.len() <= 8).then(|| bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{B256, Bytes, hex};

    use super::*;
    use zkevm_batch::{BatchItem, Transaction, decode};
    use zkevm_types::ForkId;

    /// The transaction of batch §16.1.
    const TRANSFER: &str = "ef80843b9aca00830186a0944d5cf5032b2a844602278b01199ed191a86c93ff8901314fb37062980000808203e88080\
        f9ea8e90ae323e360a22bd0b1a972d15cb33df6ccbfbada4a0d49792d1164ea56029d84d5093a7186fb5bf2f1b7258d57e9c09ac89c4cb8eb44a3c961c4dd89b1bff";

    fn transfer() -> Transaction {
        let data: Bytes = hex::decode(TRANSFER.replace(char::is_whitespace, "")).unwrap().into();
        match decode(&data, ForkId::new(9).unwrap().rules(), true, true).unwrap().pop() {
            Some(BatchItem::Transaction(tx)) => *tx,
            item => panic!("{item:?}"),
        }
    }

    fn appended(tx: &Transaction, chain_id: u64) -> Result<String, &'static str> {
        let mut out = Vec::new();
        append_transaction(&mut out, &tx.rlp(), chain_id, tx.percentage)?;
        Ok(hex::encode(out))
    }

    #[test]
    fn the_transfer_of_the_specification_comes_out_as_it_stands_in_a_batch() {
        assert_eq!(appended(&transfer(), 1000).unwrap(), TRANSFER.replace(char::is_whitespace, ""));
        assert_eq!(appended(&transfer(), 1001), Err("signed for another chain"));
    }

    #[test]
    fn a_transaction_without_chain_id_gets_six_fields() {
        let plain = Transaction { chain_id: None, v: 28, percentage: 7, ..transfer() };
        let text = appended(&plain, 1000).unwrap();
        let data: Bytes = hex::decode(text).unwrap().into();
        let items = decode(&data, ForkId::new(9).unwrap().rules(), true, true).unwrap();
        let [BatchItem::Transaction(read)] = items.as_slice() else { panic!("{items:?}") };
        let expected = Transaction { signed_rlp: read.signed_rlp.clone(), ..plain };
        assert_eq!(**read, expected);
    }

    #[test]
    fn short_signature_numbers_are_padded() {
        let short = Transaction { r: B256::with_last_byte(1), s: B256::ZERO, ..transfer() };
        let text = appended(&short, 1000).unwrap();
        assert!(text.ends_with(&format!("{}01{}1bff", "00".repeat(31), "00".repeat(32))), "{text}");
    }

    #[test]
    fn what_is_no_signed_transaction_is_refused() {
        let tx = transfer();
        let rlp = tx.rlp();
        let mut out = Vec::new();
        for (bytes, why) in [
            (Vec::new(), "not a list of nine strings"),
            (vec![0xc0], "not a list of nine strings"),
            (rlp[..rlp.len() - 1].to_vec(), "not a list of nine strings"),
            ([&rlp[..], &[0]].concat(), "not a list of nine strings"),
            // The signed list has nine fields as well, with the chain id in the place of v.
            (tx.signed_rlp.to_vec(), "signed for another chain"),
            (hex::decode("d18080808080808088ffffffffffffffff80").unwrap(), "v of no signature"),
            (hex::decode("d2808080808080898fffffffffffffffff8080").unwrap(), "v of more than 8 bytes"),
        ] {
            let refused = append_transaction(&mut out, &bytes, 1000, 0);
            assert_eq!(refused, Err(why), "{}", hex::encode(&bytes));
        }
        assert!(out.is_empty());
    }
}
