//! `t2fast_core::cost::roofline` and `shape`.

use pyo3::prelude::*;
use t2fast_core::cost::Prompt;
use t2fast_core::cost::roofline::{self, Card, Constants, Question, Serving};
use t2fast_core::cost::shape::{self, Experts};

use crate::errors::Result;

/// How a prompt is treated, by its public name.
///
/// # Errors
/// For an unknown name.
pub fn prompt(name: &str) -> Result<Prompt> {
    match name {
        "recomputed" => Ok(Prompt::Recomputed),
        "cached" => Ok(Prompt::Cached),
        "shared" => Ok(Prompt::Shared),
        _ => Err(t2fast_core::Error::Array(format!("prompt = {name:?}: must be recomputed, cached or shared")).into()),
    }
}

/// What a model is made of, checked.
#[pyclass(frozen, module = "t2fast._core")]
pub struct Shape(pub shape::Shape);

#[pymethods]
impl Shape {
    #[new]
    #[pyo3(signature = (n_params, layers, d_model, q_width, kv_width, vocab, tied, experts, windowed, window))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        n_params: f64,
        layers: f64,
        d_model: f64,
        q_width: f64,
        kv_width: f64,
        vocab: f64,
        tied: bool,
        experts: Option<[f64; 3]>,
        windowed: f64,
        window: f64,
    ) -> Result<Self> {
        let experts = experts.map(|[count, active, active_params]| Experts { count, active, active_params });
        let shape =
            shape::Shape { n_params, layers, d_model, q_width, kv_width, vocab, tied, experts, windowed, window };
        Ok(Self(shape.checked()?))
    }

    #[getter]
    fn multiplying(&self) -> f64 {
        self.0.multiplying()
    }

    #[getter]
    fn active(&self) -> f64 {
        self.0.active()
    }

    #[getter]
    fn layers(&self) -> f64 {
        self.0.layers
    }

    #[getter]
    fn d_model(&self) -> f64 {
        self.0.d_model
    }

    #[getter]
    fn kv_width(&self) -> f64 {
        self.0.kv_width
    }

    fn kv_bytes(&self, each: f64) -> f64 {
        self.0.kv_bytes(each)
    }
}

/// Shapes as a function of N.
#[pyclass(frozen, module = "t2fast._core")]
pub struct Family(pub shape::Family);

#[pymethods]
impl Family {
    #[new]
    fn new(depth: f64, slope: f64, block: f64, vocab: f64, tied: bool, group: f64) -> Result<Self> {
        Ok(Self(shape::Family { depth, slope, block, vocab, tied, group }.checked()?))
    }

    fn shape(&self, n_params: f64) -> Result<Shape> {
        t2fast_core::error::positive("n_params", n_params)?;
        Ok(Shape(self.0.shape(n_params)))
    }
}

/// A card, its constants and how it serves.
#[pyclass(frozen, module = "t2fast._core")]
pub struct Roofline(pub roofline::Roofline);

#[pymethods]
impl Roofline {
    #[new]
    #[pyo3(signature = (card, constants, weight_bytes, kv_bytes, cards, most_sequences, batch, most_seconds, train_context))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        card: [f64; 5],
        constants: [f64; 12],
        weight_bytes: f64,
        kv_bytes: f64,
        cards: f64,
        most_sequences: f64,
        batch: Option<f64>,
        most_seconds: Option<f64>,
        train_context: f64,
    ) -> Result<Self> {
        let [flops, train_flops, bandwidth, memory, link] = card;
        let [
            compute,
            memory_share,
            activations,
            layer,
            expert_layer,
            step,
            link_share,
            hop,
            request,
            regroup,
            train,
            between,
        ] = constants;
        let roofline = roofline::Roofline {
            card: Card { flops, train_flops, bandwidth, memory, link },
            constants: Constants {
                compute,
                memory: memory_share,
                activations,
                layer,
                expert_layer,
                step,
                link: link_share,
                hop,
                request,
                regroup,
                train_compute: train,
                train_activations: between,
            },
            serving: Serving { weight_bytes, kv_bytes, cards, most_sequences, batch, most_seconds, train_context },
        };
        Ok(Self(roofline.checked()?))
    }

    /// Card-seconds of training on one token.
    fn train_seconds(&self, shape: &Shape) -> f64 {
        self.0.train_seconds(&shape.0)
    }

    /// What a question with k answers costs.
    fn bill(&self, shape: &Shape, prompt_tokens: f64, answer_tokens: f64, k: f64, mode: &str) -> Result<Bill> {
        let question = Question { prompt_tokens, answer_tokens, k, prompt: prompt(mode)? };
        let bill = self.0.bill(&shape.0, &question)?;
        Ok(Bill {
            parts: bill.parts.named(),
            seconds: bill.parts.sum(),
            batch: bill.batch,
            step: bill.step,
            first_token: bill.first_token,
            latency: bill.latency,
            tokens_per_second: bill.tokens_per_second,
            memory_bound_batch: bill.memory_bound_batch,
        })
    }
}

/// What a question costs.
#[pyclass(frozen, get_all, module = "t2fast._core")]
pub struct Bill {
    parts: [(&'static str, f64); 7],
    seconds: f64,
    batch: f64,
    step: f64,
    first_token: f64,
    latency: f64,
    tokens_per_second: f64,
    memory_bound_batch: bool,
}
