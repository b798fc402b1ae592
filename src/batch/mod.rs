//! `batch_l2_data` and the hashes made of it (batch §3, §4).
