//! Poseidon throughput by kernel: `cargo bench --bench poseidon`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use zkevm_tree::Digest;
use zkevm_tree::poseidon::{Kernel, hash_many, hash_node};

/// Hashes per measurement: many full packs of every kernel.
const STATES: usize = 1024;

fn kernels(criterion: &mut Criterion) {
    let states: Vec<[u64; 12]> = (0..STATES as u64)
        .map(|i| std::array::from_fn(|j| (i * 12 + j as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        .collect();
    let mut group = criterion.benchmark_group("poseidon");
    group.throughput(Throughput::Elements(STATES as u64));
    for kernel in Kernel::available() {
        let mut out = vec![Digest::ZERO; STATES];
        group.bench_function(format!("{kernel:?}"), |bencher| {
            bencher.iter(|| kernel.hash_many(black_box(&states), black_box(&mut out)))
        });
    }
    group.finish();

    // Each hash needs the one before: the latency, as in the hash of one long bytecode.
    let mut group = criterion.benchmark_group("poseidon_chained");
    group.throughput(Throughput::Elements(1));
    let mut state = states[1];
    group.bench_function("scalar", |bencher| {
        bencher.iter(|| {
            let digest = hash_node(black_box(&state));
            state[8..].copy_from_slice(&digest.0);
        })
    });
    group.finish();

    // Few at once, as near the root of a tree: where the vector kernels start to pay.
    let mut group = criterion.benchmark_group("poseidon_few");
    for count in [1usize, 2, 3, 4, 8, 9] {
        let mut out = vec![Digest::ZERO; count];
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(count.to_string(), |bencher| {
            bencher.iter(|| hash_many(black_box(&states[..count]), black_box(&mut out)))
        });
    }
    group.finish();
}

criterion_group!(benches, kernels);
criterion_main!(benches);
