//! The planner proved by itself: closed forms, and brute force over dense lattices.

use t2fast_core::cost::{Budget, Range, Workload};
use t2fast_core::error::Error;
use t2fast_core::law::{AnyLaw, ChinchillaLaw, Law as _, Sense, T2LossLaw, T2PassLaw};
use t2fast_core::plan::cheapest::cheapest;
use t2fast_core::plan::curve::{curve, plane};
use t2fast_core::plan::exact::{Region, optimum, plan};
use t2fast_core::plan::frontier::{isoflop, pareto};
use t2fast_core::plan::grid::{Axes, search};
use t2fast_core::random::Philox;
use t2fast_core::threads::Progress;

fn chinchilla() -> ChinchillaLaw {
    ChinchillaLaw::new(1.8, 480.0, 2100.0, 0.35, 0.37).unwrap()
}

fn laws() -> [AnyLaw; 3] {
    let latent = ChinchillaLaw::new(0.0, 25817.6, 171_536.0, 0.528, 0.514).unwrap();
    [
        AnyLaw::Chinchilla(chinchilla()),
        AnyLaw::T2Loss(T2LossLaw::new(chinchilla(), 1.0, 0.3).unwrap()),
        AnyLaw::T2Pass(T2PassLaw::new(latent, [-3.39, 1.0, 0.5506, 3.243, 0.794]).unwrap()),
    ]
}

fn geometric(low: f64, high: f64, count: u32) -> Vec<f64> {
    (0..count).map(|i| low * (high / low).powf(f64::from(i) / f64::from(count - 1))).collect()
}

fn pair(train: f64, inference: f64) -> Budget {
    Budget { train: Some(train), inference: Some(inference), ..Budget::default() }
}

/// Whether `a` is no worse than `b`, but for `tolerance`.
fn no_worse(sense: Sense, a: f64, b: f64, tolerance: f64) -> bool {
    match sense {
        Sense::Least => a <= b + tolerance,
        Sense::Most => a >= b - tolerance,
    }
}

#[test]
fn the_chinchilla_optimum_is_hoffmanns_closed_form() {
    let law = chinchilla();
    for flops in [1e18, 1e21, 1e25] {
        let budget = Budget { train: Some(flops), k: Range { lo: 1.0, hi: 1.0 }, ..Budget::default() };
        let best = optimum(&law, &budget).unwrap().design;
        // Hoffmann et al. 2022, equation 4.
        let g = (law.alpha * law.a / (law.beta * law.b)).powf(1.0 / (law.alpha + law.beta));
        let n = g * (flops / 6.0).powf(law.beta / (law.alpha + law.beta));
        assert!((best.n_params / n - 1.0).abs() < 1e-6, "{} {n}", best.n_params);
        assert!((best.train_flops / flops - 1.0).abs() < 1e-12);
    }
}

#[test]
fn the_loss_laws_optimum_is_where_its_three_terms_balance() {
    // With 6ND = C and 2Nk = I: d/d ln N of A N^-alpha + B (C/6N)^-beta + G (I/2N)^-gamma vanishes.
    let law = T2LossLaw::new(chinchilla(), 1.0, 0.3).unwrap();
    let best = optimum(&law, &pair(1e21, 1.4e11)).unwrap().design;
    let base = law.chinchilla;
    let slope = -base.alpha * base.params_term(best.n_params)
        + base.beta * base.tokens_term(best.n_tokens)
        + law.gamma * law.g * best.k.powf(-law.gamma);
    assert!(slope.abs() < 1e-7, "{slope}");
}

#[test]
fn no_dense_lattice_beats_the_optimum() {
    let budgets = [
        pair(1e21, 1.4e11),
        pair(1e18, 1e8),
        Budget { total: Some(1e19), workload: Workload { queries: 1e6, ..Workload::default() }, ..Budget::default() },
        Budget { max_tokens_per_param: Some(30.0), ..pair(1e21, 1.4e11) },
        Budget { unique_tokens: Some(1e10), ..pair(1e21, 1.4e11) },
    ];
    for law in &laws() {
        for budget in &budgets {
            let best = optimum(law, budget).unwrap();
            assert!(best.converged);
            for n in geometric(1e5, 1e12, 400) {
                for d in geometric(1e6, 1e15, 400) {
                    let most = budget.most_samples(n, d);
                    let k = if law.depends_on_k() { most } else { 1.0 };
                    if d > budget.most_tokens(n, 1.0) || most < 1.0 {
                        continue;
                    }
                    let loss = law.chinchilla().loss_within(n, d, budget.unique_tokens);
                    assert!(no_worse(law.sense(), best.design.value, law.at_loss(loss, k), 1e-9), "{n} {d} {k}");
                }
            }
        }
    }
}

#[test]
fn a_plan_keeps_every_bound_and_ranks_its_designs() {
    let data = Region {
        n_params: Range { lo: 1.4e7, hi: 1.2e10 },
        n_tokens: Range { lo: 2e9, hi: 3e11 },
        k: Range { lo: 1.0, hi: 1e4 },
        max_tokens_per_param: 2e4,
    };
    let budget = pair(1e22, 1.4e11);
    for law in &laws() {
        let found = plan(law, &budget, Some(&data)).unwrap();
        assert_eq!(found.best.k.fract(), 0.0);
        for design in [Some(found.best), Some(found.continuous), found.chinchilla, found.inside_data].iter().flatten() {
            assert!(budget.affords(design.train_flops, design.inference_flops));
            assert!(no_worse(law.sense(), found.continuous.value, design.value, 1e-9));
        }
        let inside = found.inside_data.unwrap();
        assert!(inside.n_tokens <= 3e11 && inside.n_params >= 1.4e7);
        assert!(found.flat.lo <= found.continuous.n_params && found.continuous.n_params <= found.flat.hi);
        assert!(found.gain_train.unwrap() >= -1e-12 && found.gain_total.is_none());
    }
}

#[test]
fn the_curve_passes_through_the_optimum_and_nowhere_above() {
    let budgets = [
        pair(1e21, 1.4e11),
        Budget { total: Some(1e19), workload: Workload { queries: 1e6, ..Workload::default() }, ..Budget::default() },
    ];
    for law in &laws() {
        for budget in &budgets {
            let best = optimum(law, budget).unwrap().design;
            let mut sizes = geometric(1e6, 1e11, 30);
            sizes.push(best.n_params);
            let found = curve(law, budget, &sizes).unwrap();
            let at = found.last().unwrap().unwrap();
            assert!((at.value - best.value).abs() < 1e-9);
            for (design, n) in found.iter().zip(&sizes) {
                let Some(design) = design else { continue };
                assert_eq!(design.n_params, *n);
                assert!(budget.affords(design.train_flops, design.inference_flops));
                assert!(no_worse(law.sense(), best.value, design.value, 1e-9));
                for d in geometric(1e6, budget.most_tokens(*n, 1.0), 200) {
                    let k = if law.depends_on_k() { budget.most_samples(*n, d) } else { 1.0 };
                    let value = law.value(*n, d, k.max(1.0)).unwrap();
                    assert!(k < 1.0 || no_worse(law.sense(), design.value, value, 1e-9));
                }
            }
        }
    }
}

#[test]
fn the_plane_and_the_search_are_what_looking_at_every_point_finds() {
    let (n, d) = (geometric(1e6, 1e11, 23), geometric(1e8, 1e14, 19));
    let k = [1.0, 2.0, 7.0, 30.0, 200.0, 3000.0];
    let axes = Axes { n_params: &n, n_tokens: &d, k: &k };
    let budgets = [
        pair(1e21, 1.4e11),
        Budget { max_tokens_per_param: Some(300.0), ..pair(1e21, 1.4e11) },
        Budget { total: Some(1e19), workload: Workload { queries: 1e6, ..Workload::default() }, ..Budget::default() },
        Budget { n_params: Range { lo: 1e7, hi: 1e9 }, n_tokens: Range { lo: 1e9, hi: 1e12 }, ..pair(1e21, 1.4e11) },
    ];
    for law in &laws() {
        for budget in &budgets {
            let found = plane(law, axes, budget).unwrap();
            let mut best: Option<f64> = None;
            for (i, &n) in n.iter().enumerate() {
                for (j, &d) in d.iter().enumerate() {
                    let allowed = budget.n_params.lo <= n
                        && n <= budget.n_params.hi
                        && budget.n_tokens.lo <= d
                        && d <= budget.tokens_allowed(n) * (1.0 + 1e-12);
                    let train = budget.workload.train_flops(n, d);
                    let affordable = |k: f64| budget.affords(train, budget.workload.inference_flops(n, k));
                    let values = k.iter().filter(|&&k| allowed && affordable(k)).map(|&k| law.value(n, d, k).unwrap());
                    let here = values.reduce(|a, b| if law.sense().better(b, a) { b } else { a });
                    let shown = found.values[i * 19 + j];
                    match here {
                        None => assert!(shown.is_nan()),
                        Some(value) => {
                            assert!((shown - value).abs() < 1e-12);
                            best = Some(best.map_or(value, |b| if law.sense().better(value, b) { value } else { b }));
                        }
                    }
                }
            }
            let top = search(law, axes, budget, 3, &Progress::default()).unwrap();
            assert!((top[0].design.value - best.unwrap()).abs() < 1e-12);
        }
    }
}

#[test]
fn a_search_does_not_depend_on_threads() {
    let (n, d) = (geometric(1e6, 1e11, 700), geometric(1e9, 1e13, 50));
    let k: Vec<f64> = (1..=100).map(f64::from).collect();
    let axes = Axes { n_params: &n, n_tokens: &d, k: &k };
    for law in &laws() {
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| search(law, axes, &pair(1e21, 1.4e11), 20, &Progress::default()).unwrap())
        };
        assert_eq!(on(1), on(3));
    }
}

#[test]
fn the_cheapest_budget_reaches_its_target_and_less_does_not() {
    let open = Budget { inference: Some(1.4e11), ..Budget::default() };
    for law in &laws()[1..] {
        let target = plan(law, &pair(1e20, 1.4e11), None).unwrap().best.value;
        let found = cheapest(law, &open, target).unwrap();
        let flops = found.train.unwrap();
        assert!((flops / 1e20 - 1.0).abs() < 1e-3, "{flops}");
        let less = plan(law, &Budget { train: Some(0.999 * flops), ..found }, None).unwrap().best.value;
        assert!(law.sense().better(target, less));
    }
    let law = &laws()[2];
    assert!(matches!(cheapest(law, &open, 0.9999), Err(Error::Unreachable(_))));
}

#[test]
fn an_isoflop_curve_spends_its_budget() {
    let law = &laws()[1];
    let budget = pair(1e21, 1.4e11);
    for design in isoflop(law, &budget, &geometric(1e7, 1e10, 20)).unwrap().into_iter().flatten() {
        assert!((design.train_flops / 1e21 - 1.0).abs() < 1e-12);
        assert!((design.inference_flops / 1.4e11 - 1.0).abs() < 1e-12);
    }
}

#[test]
fn the_pareto_front_is_what_comparing_all_pairs_finds() {
    let mut random = Philox::new(3, 0);
    let mut draw = || (random.uniform() * 4.0).floor();
    let law = &laws()[1];
    let template = optimum(law, &pair(1e20, 1e10)).unwrap().design;
    for sense in [Sense::Least, Sense::Most] {
        for _ in 0..200 {
            let designs: Vec<_> = (0..9)
                .map(|_| {
                    let mut one = template;
                    (one.value, one.train_flops, one.inference_flops) = (draw(), draw(), draw());
                    one
                })
                .collect();
            let kept = pareto(sense, &designs);
            for (i, a) in designs.iter().enumerate() {
                let dominated = designs.iter().enumerate().any(|(j, b)| {
                    let no_worse = !sense.better(a.value, b.value)
                        && b.train_flops <= a.train_flops
                        && b.inference_flops <= a.inference_flops;
                    let equal =
                        b.value == a.value && b.train_flops == a.train_flops && b.inference_flops == a.inference_flops;
                    no_worse && (!equal || j < i)
                });
                assert_eq!(kept[i], !dominated);
            }
        }
    }
}

#[test]
fn sizes_are_found_again_from_their_costs() {
    let attention = t2fast_core::cost::Attention { aspect_ratio: 128.0, train_context: 2048.0 };
    for workload in [Workload::default(), Workload { attention: Some(attention), ..Workload::default() }] {
        for n in geometric(1e3, 1e13, 11) {
            let at = workload.size_for_tokens(workload.train_flops(n, 3e11), 3e11);
            assert!((at / n - 1.0).abs() < 1e-9);
            let at = workload.size_for_ratio(workload.train_flops(n, 20.0 * n), 20.0);
            assert!((at / n - 1.0).abs() < 1e-9);
        }
    }
}
