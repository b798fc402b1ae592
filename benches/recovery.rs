//! Recovery of public keys by the number of signatures at once, in lanes and by libsecp256k1: `cargo bench --bench recovery`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use zkevm_recovery::{Recoverer, Signature};
use zkevm_testkit::signatures::Signatures;

fn recovery(criterion: &mut Criterion) {
    let single = Recoverer::single();
    let mut ways = vec![("libsecp256k1", single)];
    match Recoverer::lanes() {
        Ok(lanes) => ways.push(("lanes", lanes)),
        Err(refused) => println!("libsecp256k1 only: {refused}"),
    }
    // Without those that have no key: they cost libsecp256k1 less.
    let mut random = Signatures::new(1);
    let mut signatures: Vec<Signature> = Vec::new();
    while signatures.len() < 730 {
        let some = random.random();
        let keys = single.recover(&some);
        signatures.extend(some.iter().zip(keys).filter(|(_, recovery)| recovery.key.is_some()).map(|(some, _)| *some));
    }
    let mut group = criterion.benchmark_group("recovery");
    for count in [1, 2, 8, 16, 64, 128, 730] {
        group.throughput(Throughput::Elements(count as u64));
        for (name, recoverer) in &ways {
            group.bench_function(BenchmarkId::new(*name, count), |bencher| {
                bencher.iter(|| recoverer.recover(black_box(&signatures[..count])))
            });
        }
    }
    group.finish();
}

criterion_group!(benches, recovery);
criterion_main!(benches);
