//! Views of the executors' work for people: the batches at hand, and the slowest of the recent ones.

pub mod running;
pub mod slowest;
