//! Transactions whose data is one byte from 0x80 on: zkevm-prover up to v6.0.2 left out the length byte in `rlp_tx`, and made
//! `tx_hash` of that.

use super::fields::Flat;

/// Length byte of a string of one byte.
const ONE_BYTE: u8 = 0x81;

/// True if a recorded `rlp_tx` is ours without the length byte of its data.
pub(super) fn is_in(ours: &Flat, recorded: &Flat) -> bool {
    let transactions = recorded.iter().filter(|(place, _)| place.ends_with("rlp_tx"));
    transactions.filter_map(|(place, theirs)| Some((bytes(ours.get(place)?)?, bytes(theirs)?))).any(|(ours, theirs)| {
        let (Some(ours), Some(theirs)) = (payload(&ours), payload(&theirs)) else { return false };
        let same = ours.iter().zip(theirs).take_while(|(ours, theirs)| ours == theirs).count();
        ours.get(same) == Some(&ONE_BYTE) && ours.get(same + 1..) == theirs.get(same..)
    })
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    hex::decode(text.strip_prefix("0x")?).ok()
}

/// Returns what a list holds, without its header.
fn payload(list: &[u8]) -> Option<&[u8]> {
    match *list.first()? {
        0xc0..=0xf7 => list.get(1..),
        first @ 0xf8.. => list.get(1 + usize::from(first - 0xf7)..),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(rlp: &str) -> Flat {
        [("responses[0].rlp_tx".to_owned(), rlp.to_owned())].into()
    }

    #[test]
    fn only_the_missing_length_byte_is_told() {
        let ours = flat("0xc40181ff02");
        assert!(is_in(&ours, &flat("0xc301ff02")));
        assert!(!is_in(&ours, &ours));
        assert!(!is_in(&ours, &flat("0xc301fe02")));
        assert!(!is_in(&ours, &flat("0xc40181fe02")));
        // A list of 56 bytes with our length byte has 55 without it.
        let tail = "00".repeat(53);
        assert!(is_in(&flat(&format!("0xf8380181ff{tail}")), &flat(&format!("0xf701ff{tail}"))));
    }
}
