//! Seconds, memory and latency of training and sampling on a card, by a roofline with measured efficiencies.
//!
//! Decoding is a sequence of steps, each of which gives S sequences one more token. A step of a model with M multiplying
//! parameters (A of them active), L layers of width d and KV width g, after T_in tokens of prompt and on average half of
//! T_out of the answer, takes on a replica of t cards
//!
//! ```text
//! max(2 A S / F, M b / W)                    matrices: multiplied, or read
//!   + S 2 L g c (s T_in + T_out / 2) / W     keys and values of c bytes per number
//!   + S (12 V + 2 a L d) / W                 logits, and activations between kernels
//!   + S 4 L d 2 (t-1)/t / link               all-reduces between the cards
//!   + L layer + 2 L hop [t > 1] + step       overheads
//! ```
//!
//! where `F = t peak compute`, `W = t bandwidth memory` with efficiencies of the card's peaks; `s` is 1/k where the prompt's
//! keys and values are read once for the k samples of a question, and 1 otherwise. A prompt takes
//! `(2 A T_in + 2 L q T_in^2) / F` and its own activations and all-reduces. S is what memory holds beside the weights when
//! every sequence has room for its whole answer (so that none is ever evicted), at most a cap. A mixture of experts reads those that at least one of the S tokens chose.
//!
//! With everything but the matrices left out and efficiencies of 1 this is `2 N k` and `6 N D` over the peak.

use super::flops::Prompt;
use super::shape::Shape;
use crate::error::{Error, Result, Shown, non_negative, positive};

/// Share of the memory beside the weights that keys and values may fill; the rest is for activations and fragments.
pub const USABLE: f64 = 0.9;

/// What a card's data sheet says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Card {
    /// FLOP per second of dense matrix products in the format that inference uses.
    pub flops: f64,
    /// The same in the format that training uses.
    pub train_flops: f64,
    /// Bytes per second of memory.
    pub bandwidth: f64,
    /// Bytes of memory.
    pub memory: f64,
    /// Bytes per second that one card sends to the others of its replica.
    pub link: f64,
}

/// Efficiencies and overheads: what measurements say and data sheets don't.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Constants {
    /// Share of the peak that matrix products reach.
    pub compute: f64,
    /// Share of the memory's bandwidth that reads reach.
    pub memory: f64,
    /// Bytes of activations that move through memory, per token, layer and width, halved.
    pub activations: f64,
    /// Seconds per layer and step beside all else.
    pub layer: f64,
    /// The same in addition for a mixture of experts.
    pub expert_layer: f64,
    /// Seconds per step beside all else.
    pub step: f64,
    /// Share of the link's bandwidth that all-reduces reach.
    pub link: f64,
    /// Seconds that an all-reduce waits.
    pub hop: f64,
    /// Seconds before a prompt's processing begins.
    pub request: f64,
    /// How often keys and values are read by a group of query heads: its size to this power. 0 for engines that read them
    /// once, 1 for engines in which each head reads its own.
    pub regroup: f64,
    /// Share of the peak that training's matrix products reach.
    pub train_compute: f64,
    /// Bytes of activations in training, per token, layer and width.
    pub train_activations: f64,
}

impl Constants {
    /// A machine without losses: peaks are reached and everything but matrix products is free.
    pub const IDEAL: Self = Self {
        compute: 1.0,
        memory: 1.0,
        activations: 0.0,
        layer: 0.0,
        expert_layer: 0.0,
        step: 0.0,
        link: 1.0,
        hop: 0.0,
        request: 0.0,
        regroup: 0.0,
        train_compute: 1.0,
        train_activations: 0.0,
    };

    fn checked(self) -> Result<Self> {
        positive("compute", self.compute)?;
        positive("memory", self.memory)?;
        positive("link", self.link)?;
        positive("train_compute", self.train_compute)?;
        for (name, value) in [
            ("activations", self.activations),
            ("layer_seconds", self.layer),
            ("expert_layer_seconds", self.expert_layer),
            ("step_seconds", self.step),
            ("hop_seconds", self.hop),
            ("request_seconds", self.request),
            ("regroup", self.regroup),
            ("train_activations", self.train_activations),
        ] {
            non_negative(name, value)?;
        }
        Ok(self)
    }
}

/// How a model is served and trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Serving {
    /// Bytes per weight.
    pub weight_bytes: f64,
    /// Bytes per number of keys and values.
    pub kv_bytes: f64,
    /// Cards that share a replica.
    pub cards: f64,
    /// The most sequences at once.
    pub most_sequences: f64,
    /// Exactly so many sequences at once, instead of as many as fit.
    pub batch: Option<f64>,
    /// The most seconds from a question to its answers; all samples of a question are then drawn at once.
    pub most_seconds: Option<f64>,
    /// Tokens per training sequence.
    pub train_context: f64,
}

/// A card, what was measured on it, and how it is used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Roofline {
    /// The data sheet.
    pub card: Card,
    /// The measurements.
    pub constants: Constants,
    /// The use.
    pub serving: Serving,
}

/// A question: a prompt and k answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Question {
    /// Tokens of the prompt.
    pub prompt_tokens: f64,
    /// Tokens of each answer.
    pub answer_tokens: f64,
    /// Answers.
    pub k: f64,
    /// How the prompt is treated.
    pub prompt: Prompt,
}

/// Where the time of a question goes, card-seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Parts {
    /// Reading the prompt.
    pub prefill: f64,
    /// Multiplying by the matrices while decoding; 0 where reading them takes longer.
    pub compute: f64,
    /// Reading the matrices; 0 where multiplying takes longer.
    pub weights: f64,
    /// Reading keys and values.
    pub kv: f64,
    /// Activations and logits.
    pub activations: f64,
    /// All-reduces, without their waiting.
    pub network: f64,
    /// Overheads per layer and step.
    pub overhead: f64,
}

impl Parts {
    /// Names and values, in the order of the fields.
    #[must_use]
    pub fn named(&self) -> [(&'static str, f64); 7] {
        [
            ("prefill", self.prefill),
            ("compute", self.compute),
            ("weights", self.weights),
            ("kv", self.kv),
            ("activations", self.activations),
            ("network", self.network),
            ("overhead", self.overhead),
        ]
    }

    /// All of them together.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.named().iter().map(|(_, value)| value).sum()
    }
}

/// What a question costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bill {
    /// Card-seconds of the question, and where they go.
    pub parts: Parts,
    /// Sequences at once on a replica.
    pub batch: f64,
    /// Seconds of a step.
    pub step: f64,
    /// Seconds until the first token of a question that finds the replica between two steps.
    pub first_token: f64,
    /// Seconds from a question to its last answer.
    pub latency: f64,
    /// Output tokens per second of the replica, all its cards together.
    pub tokens_per_second: f64,
    /// Whether memory, not the cap, limits the batch.
    pub memory_bound_batch: bool,
}

/// Seconds of a replica, for a model at hand: what steps and prompts consist of.
pub(crate) struct Terms {
    /// Per token of a step: multiplying.
    pub compute: f64,
    /// Per step: reading the matrices; of a mixture, all of them.
    pub weights: f64,
    /// Per token of context that a step reads.
    pub kv: f64,
    /// Per token of a step: activations and logits.
    pub activations: f64,
    /// Per token of a step: all-reduces.
    pub network: f64,
    /// Per step.
    pub overhead: f64,
    /// Per prompt.
    pub prefill: f64,
    /// Bytes of keys and values per token of context.
    pub kv_bytes: f64,
    /// Bytes for keys and values.
    pub free: f64,
}

impl Roofline {
    /// Checks the numbers.
    ///
    /// # Errors
    /// [`Error::Value`] that names the first number out of range.
    pub fn checked(self) -> Result<Self> {
        positive("flops", self.card.flops)?;
        positive("train_flops", self.card.train_flops)?;
        positive("memory_bytes_per_second", self.card.bandwidth)?;
        positive("memory_bytes", self.card.memory)?;
        positive("link_bytes_per_second", self.card.link)?;
        self.constants.checked()?;
        let Serving { weight_bytes, kv_bytes, cards, most_sequences, batch, most_seconds, train_context } =
            self.serving;
        non_negative("weight_bytes", weight_bytes)?;
        non_negative("kv_bytes", kv_bytes)?;
        non_negative("train_context", train_context)?;
        for (name, value) in
            [("tensor_parallel", cards), ("max_batch", most_sequences), ("batch", batch.unwrap_or(1.0))]
        {
            if !(value >= 1.0 && value.is_finite()) {
                return Err(Error::Value { name, value, must: "must be at least 1" });
            }
        }
        if let Some(seconds) = most_seconds {
            positive("max_seconds", seconds)?;
        }
        Ok(self)
    }

    /// Card-seconds of training on one token: matrices and attention at the peak's efficiency, and activations.
    #[must_use]
    pub fn train_seconds(&self, shape: &Shape) -> f64 {
        let Self { card, constants, serving } = self;
        let width = shape.layers * shape.d_model;
        let flops = 6.0 * shape.active() + 6.0 * shape.layers * shape.q_width * serving.train_context;
        flops / (card.train_flops * constants.train_compute)
            + constants.train_activations * width / (card.bandwidth * constants.memory)
    }

    pub(crate) fn terms(&self, shape: &Shape, prompt_tokens: f64) -> Terms {
        let Self { card, constants, serving } = self;
        let cards = serving.cards;
        let flops = card.flops * cards * constants.compute;
        let bandwidth = card.bandwidth * cards * constants.memory;
        let width = shape.layers * shape.d_model;
        let (network, hops) = if cards > 1.0 {
            // Two all-reduces per layer, of two bytes per number, each in two passes.
            let bytes = 2.0 * shape.layers * 2.0 * 2.0 * shape.d_model * (cards - 1.0) / cards;
            (bytes / (card.link * constants.link), 2.0 * shape.layers * constants.hop)
        } else {
            (0.0, 0.0)
        };
        let per_layer = constants.layer + if shape.experts.is_some() { constants.expert_layer } else { 0.0 };
        let kv_bytes = shape.kv_bytes(serving.kv_bytes);
        let compute = 2.0 * shape.active() / flops;
        let between = 2.0 * constants.activations * width / bandwidth;
        let attention = 2.0 * shape.layers * shape.q_width * shape.seen(prompt_tokens) / flops;
        Terms {
            compute,
            weights: shape.multiplying() * serving.weight_bytes / bandwidth,
            kv: kv_bytes * (shape.q_width / shape.kv_width).powf(constants.regroup) / bandwidth,
            activations: 12.0 * shape.vocab / bandwidth + between,
            network,
            overhead: per_layer * shape.layers + hops + constants.step,
            prefill: prompt_tokens * (compute + attention + between + network),
            kv_bytes,
            free: USABLE * (card.memory * cards - shape.n_params * serving.weight_bytes),
        }
    }

    /// What a question costs with a model.
    ///
    /// # Errors
    /// [`Error::Infeasible`] when the model, one sequence or the batch asked for does not fit the memory, or no batch meets
    /// the latency.
    pub fn bill(&self, shape: &Shape, question: &Question) -> Result<Bill> {
        let terms = self.terms(shape, question.prompt_tokens);
        let Question { prompt_tokens, answer_tokens, k, prompt } = *question;
        let cards = self.serving.cards;
        let answer = shape.seen(prompt_tokens + 0.5 * answer_tokens) - shape.seen(prompt_tokens);
        let prefix = shape.seen(prompt_tokens);
        let whole = shape.seen(prompt_tokens + answer_tokens) - prefix;
        let room = self.room(shape, &terms, prompt_tokens + answer_tokens)?;
        // Sequences at once when each keeps its prompt, or each question does: several questions then, or one that has more
        // samples than fit and runs alone, its whole prompt kept beside those that run.
        let fits = if terms.kv_bytes == 0.0 {
            f64::INFINITY
        } else if prompt == Prompt::Recomputed {
            room / (prefix + whole)
        } else {
            (room / (prefix / k + whole)).min((room - prefix) / whole)
        };
        let mut batch = fits.min(self.serving.most_sequences);
        let mut memory_bound_batch = fits < self.serving.most_sequences;
        if let Some(asked) = self.serving.batch {
            // A batch that was asked for may fill the memory, and its sequences are half written on average.
            let most = (fits * (prefix + whole) / (prefix + answer) / USABLE).floor();
            if asked > most {
                return Err(Error::Infeasible(format!(
                    "batch = {asked} does not fit: beside the weights the memory holds keys and values of {most} sequences; \
                     lower --batch, or add cards"
                )));
            }
            (batch, memory_bound_batch) = (asked, false);
        }
        let step = |batch: f64| {
            let weights = terms.weights * shape.read(batch) / shape.multiplying();
            let compute = terms.compute * batch;
            // Of the sequences at once, k share a prompt, or all do where they are fewer.
            let sharing = if prompt == Prompt::Shared { k.min(batch) } else { 1.0 };
            Parts {
                prefill: 0.0,
                compute: if compute >= weights { compute } else { 0.0 },
                weights: if compute >= weights { 0.0 } else { weights },
                kv: batch * terms.kv * (prefix / sharing + answer),
                activations: batch * terms.activations,
                network: batch * terms.network,
                overhead: terms.overhead,
            }
        };
        let prompts = if matches!(prompt, Prompt::Recomputed) { k } else { 1.0 };
        let first_token = self.constants.request + terms.prefill;
        let latency = |batch: f64| {
            // More samples than run at once keep the replica busy with this question alone.
            first_token + (k / batch).max(1.0) * answer_tokens * step(batch).sum()
        };
        if let Some(most) = self.serving.most_seconds.filter(|&most| latency(batch) > most) {
            if self.serving.batch.is_some() || latency(k.min(batch)) > most {
                let least = latency(if self.serving.batch.is_some() { batch } else { k.min(batch) });
                return Err(Error::Infeasible(format!(
                    "max_seconds = {} is met by no batch: the answers of one question alone take {least:.3} s; allow more, or \
                     add cards, shorten the answers or take a smaller model",
                    Shown(most)
                )));
            }
            let (mut inside, mut outside) = (k.min(batch), batch);
            while outside - inside > 1e-12 * outside {
                let middle = 0.5 * (inside + outside);
                if latency(middle) > most { outside = middle } else { inside = middle }
            }
            (batch, memory_bound_batch) = (inside, false);
        }
        let in_step = step(batch);
        // The question's share of all steps.
        let share = k * answer_tokens / batch * cards;
        let parts = Parts {
            prefill: prompts * terms.prefill * cards,
            compute: in_step.compute * share,
            weights: in_step.weights * share,
            kv: in_step.kv * share,
            activations: in_step.activations * share,
            network: in_step.network * share,
            overhead: in_step.overhead * share,
        };
        Ok(Bill {
            parts,
            batch,
            step: in_step.sum(),
            first_token,
            latency: latency(batch),
            tokens_per_second: k * answer_tokens * cards / parts.sum(),
            memory_bound_batch,
        })
    }

    /// Tokens whose keys and values fit beside the weights.
    fn room(&self, shape: &Shape, terms: &Terms, longest: f64) -> Result<f64> {
        let remedy = "use more cards (--tensor-parallel), a smaller format (--dtype) or a card with more memory";
        if terms.free <= 0.0 {
            return Err(Error::Infeasible(format!(
                "the weights need {:.1} GB, and the memory of {} card(s) is {:.1} GB: {remedy}",
                shape.n_params * self.serving.weight_bytes / 1e9,
                self.serving.cards,
                self.card.memory * self.serving.cards / 1e9
            )));
        }
        let one = terms.kv_bytes * shape.seen(longest);
        if terms.free < one {
            return Err(Error::Infeasible(format!(
                "beside the weights {:.2} GB are free, and one sequence of {longest} tokens needs {:.2} GB: {remedy}, or \
                 shorten prompts and answers",
                terms.free / 1e9,
                one / 1e9
            )));
        }
        Ok(terms.free / terms.kv_bytes)
    }
}
