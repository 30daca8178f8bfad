//! Planner: `cargo bench -p t2fast-core`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use t2fast_core::cost::{Budget, Range};
use t2fast_core::law::{AnyLaw, ChinchillaLaw, Law as _, Overtraining, T2LossLaw, T2PassLaw};
use t2fast_core::plan::exact::{Region, optimum, plan};
use t2fast_core::plan::grid::{Axes, search, surface};
use t2fast_core::threads::Progress;

fn laws() -> [(&'static str, AnyLaw); 2] {
    let latent = ChinchillaLaw::new(0.0, 25817.6, 171_536.0, 0.528, 0.514).unwrap();
    let pass = T2PassLaw::new(latent, [-3.39, 1.0, 0.5506, 3.243, 0.794]).unwrap();
    let base = ChinchillaLaw::new(1.8, 480.0, 2100.0, 0.35, 0.37).unwrap();
    [("t2-loss", AnyLaw::T2Loss(T2LossLaw::new(base, 1.0, 0.3).unwrap())), ("t2-pass", AnyLaw::T2Pass(pass))]
}

fn geometric(low: f64, high: f64, count: u32) -> Vec<f64> {
    (0..count).map(|i| low * (high / low).powf(f64::from(i) / f64::from(count - 1))).collect()
}

fn planner(c: &mut Criterion) {
    let budget = Budget { train: Some(1e21), inference: Some(1.4e11), ..Budget::default() };
    let total = Budget { total: Some(1e21), ..Budget::default() };
    let data = Region {
        n_params: Range { lo: 1.4e7, hi: 1.2e10 },
        n_tokens: Range { lo: 2e9, hi: 3e11 },
        k: Range { lo: 1.0, hi: 1e4 },
        max_tokens_per_param: f64::INFINITY,
    };
    let (n, d) = (geometric(1e6, 1e11, 400), geometric(1e9, 1e13, 400));
    let k: Vec<f64> = (1..=200).map(f64::from).collect();
    let axes = Axes { n_params: &n, n_tokens: &d, k: &k };
    let mut out = vec![0.0; 400 * 400 * 200];
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let repeated = Budget { unique_tokens: Some(2e10), ..budget };
    let over = ChinchillaLaw::new(0.0, 25817.6, 171_536.0, 0.528, 0.514).unwrap();
    let over = ChinchillaLaw { overtraining: Overtraining::new(3e-3, 0.6).unwrap(), ..over };
    let over = AnyLaw::T2Pass(T2PassLaw::new(over, [-3.39, 1.0, 0.5506, 3.243, 0.794]).unwrap());
    for (what, budget) in [("fresh", &budget), ("repeated", &repeated)] {
        let name = format!("plan with overtraining, {what} tokens");
        c.bench_function(&name, |b| b.iter(|| plan(&over, black_box(budget), Some(&data))));
    }
    for (name, law) in &laws() {
        c.bench_function(&format!("plan/{name}"), |b| b.iter(|| plan(law, black_box(&budget), Some(&data))));
        c.bench_function(&format!("plan without data/{name}"), |b| b.iter(|| plan(law, black_box(&budget), None)));
        c.bench_function(&format!("optimum/{name}"), |b| b.iter(|| optimum(law, black_box(&budget))));
        c.bench_function(&format!("optimum, total/{name}"), |b| b.iter(|| optimum(law, black_box(&total))));
        let losses = geometric(1.0, 6.0, 1024);
        let ks = geometric(1.0, 1e4, 1024);
        let mut values = vec![0.0; 1024];
        let mut group = c.benchmark_group("points");
        group.throughput(Throughput::Elements(1024));
        group.bench_function(format!("at_losses/{name}"), |b| {
            b.iter(|| law.at_losses(black_box(&losses), &ks, &mut values));
        });
        group.finish();
        let mut group = c.benchmark_group("grid");
        group.sample_size(20);
        group.bench_function(format!("search, one thread/{name}"), |b| {
            b.iter(|| one.install(|| search(law, axes, black_box(&budget), 1, &Progress::default())));
        });
        group.throughput(Throughput::Bytes(8 * 400 * 400 * 200));
        group.bench_function(format!("surface, one thread/{name}"), |b| {
            b.iter(|| one.install(|| surface(law, axes, None, black_box(&mut out), &Progress::default())));
        });
        group.finish();
    }
}

criterion_group!(benches, planner);
criterion_main!(benches);
