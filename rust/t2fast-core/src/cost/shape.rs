//! What a model is made of: layers, widths, vocabulary, experts; of one model, or of a family as a function of N.

use crate::error::{Error, Result, non_negative, positive};

/// Experts of a mixture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Experts {
    /// Experts in each layer.
    pub count: f64,
    /// Experts that a token passes through.
    pub active: f64,
    /// Parameters that work on a token, all layers together, embeddings included.
    pub active_params: f64,
}

/// A transformer as its costs see it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// N: all parameters.
    pub n_params: f64,
    /// Layers.
    pub layers: f64,
    /// Width of the residual stream.
    pub d_model: f64,
    /// Query heads times their dimension.
    pub q_width: f64,
    /// KV heads times their dimension.
    pub kv_width: f64,
    /// Entries of the vocabulary.
    pub vocab: f64,
    /// Whether one matrix serves as input embedding and as output: it multiplies then.
    pub tied: bool,
    /// Experts; `None` for a dense model.
    pub experts: Option<Experts>,
    /// Share of the layers that attend to a window only.
    pub windowed: f64,
    /// Tokens of that window.
    pub window: f64,
}

impl Shape {
    /// Checks the numbers.
    ///
    /// # Errors
    /// [`Error::Value`] that names the first number out of range, [`Error::Array`] where they contradict each other.
    pub fn checked(self) -> Result<Self> {
        for (name, value) in [
            ("n_params", self.n_params),
            ("layers", self.layers),
            ("d_model", self.d_model),
            ("heads x head_dim", self.q_width),
            ("kv_heads x head_dim", self.kv_width),
        ] {
            positive(name, value)?;
        }
        non_negative("vocab", self.vocab)?;
        non_negative("window", self.window)?;
        if !(0.0..=1.0).contains(&self.windowed) {
            return Err(Error::Value { name: "windowed", value: self.windowed, must: "must lie between 0 and 1" });
        }
        if self.kv_width > self.q_width {
            return Err(Error::Value {
                name: "kv_heads",
                value: self.kv_width,
                must: "must not exceed the query heads",
            });
        }
        if self.multiplying() <= 0.0 {
            let what = "the embedding alone has as many parameters as the model: check n_params, d_model and vocab";
            return Err(Error::Array(what.into()));
        }
        if let Some(experts) = self.experts {
            positive("experts", experts.count)?;
            positive("experts_per_token", experts.active)?;
            positive("active_params", experts.active_params)?;
            if experts.active >= experts.count {
                let must = "must be below the number of experts";
                return Err(Error::Value { name: "experts_per_token", value: experts.active, must });
            }
            if experts.active_params >= self.n_params || self.active() <= 0.0 || self.dense() < 0.0 {
                let must = "must be below n_params, and must leave parameters outside the experts";
                return Err(Error::Value { name: "active_params", value: experts.active_params, must });
            }
        }
        Ok(self)
    }

    /// Parameters of the input embedding, which is a look-up.
    fn looked_up(&self) -> f64 {
        if self.tied { 0.0 } else { self.vocab * self.d_model }
    }

    /// Parameters that are matrices to multiply by.
    #[must_use]
    pub fn multiplying(&self) -> f64 {
        self.n_params - self.looked_up()
    }

    /// Parameters that multiply one token.
    #[must_use]
    pub fn active(&self) -> f64 {
        self.experts.map_or(self.multiplying(), |experts| experts.active_params - self.looked_up())
    }

    /// Parameters of one expert, all layers together.
    fn expert(&self) -> f64 {
        self.experts.map_or(0.0, |experts| (self.n_params - experts.active_params) / (experts.count - experts.active))
    }

    /// Multiplying parameters outside the experts.
    fn dense(&self) -> f64 {
        self.multiplying() - self.experts.map_or(0.0, |experts| experts.count * self.expert())
    }

    /// Parameters that a step of `sequences` tokens reads: of a mixture, the experts that at least one token chose, when
    /// each chooses at random.
    #[must_use]
    pub fn read(&self, sequences: f64) -> f64 {
        match self.experts {
            None => self.multiplying(),
            Some(experts) => {
                let idle = (1.0 - experts.active / experts.count).powf(sequences);
                self.dense() + experts.count * self.expert() * (1.0 - idle)
            }
        }
    }

    /// Tokens of a context that a layer sees, on average over the layers.
    #[must_use]
    pub fn seen(&self, context: f64) -> f64 {
        if self.windowed == 0.0 {
            return context;
        }
        (1.0 - self.windowed) * context + self.windowed * context.min(self.window)
    }

    /// Bytes of keys and values that one token leaves, at `bytes` per number, if every layer keeps it.
    #[must_use]
    pub fn kv_bytes(&self, bytes: f64) -> f64 {
        2.0 * self.layers * self.kv_width * bytes
    }
}

/// Shapes as a function of N: `layers = depth d^slope`, `N = block layers d^2 + embeddings V d`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Family {
    /// Layers of a model of width 1.
    pub depth: f64,
    /// How layers grow with the width.
    pub slope: f64,
    /// Parameters of a layer over d^2.
    pub block: f64,
    /// Entries of the vocabulary; 0 leaves embeddings out.
    pub vocab: f64,
    /// One matrix for input and output.
    pub tied: bool,
    /// Query heads for each KV head.
    pub group: f64,
}

impl Family {
    /// Checks the numbers.
    ///
    /// # Errors
    /// [`Error::Value`] that names the first number out of range.
    pub fn checked(self) -> Result<Self> {
        positive("depth", self.depth)?;
        non_negative("slope", self.slope)?;
        positive("block", self.block)?;
        non_negative("vocab", self.vocab)?;
        if !(self.group >= 1.0 && self.group.is_finite()) {
            let must = "must be at least 1: query heads for each KV head";
            return Err(Error::Value { name: "kv_group", value: self.group, must });
        }
        Ok(self)
    }

    /// The shape at N parameters; layers and widths are real numbers.
    #[must_use]
    pub fn shape(&self, n_params: f64) -> Shape {
        let matrices = self.vocab * if self.tied { 1.0 } else { 2.0 };
        let inner = self.block * self.depth;
        let power = 2.0 + self.slope;
        // N(d) = inner d^power + matrices d, by Newton's method in ln d from above: ln N is convex in ln d and rises with
        // slopes between 1 and `power`, so that the steps fall on the root monotonically, the first perhaps excepted.
        let mut ln_d = (n_params / inner).ln() / power;
        if matrices > 0.0 {
            ln_d = ln_d.min((n_params / matrices).ln());
            for _ in 0..32 {
                let (layers, embeddings) = (inner * (power * ln_d).exp(), matrices * ln_d.exp());
                let sum = layers + embeddings;
                let step = (sum / n_params).ln() * sum / (power * layers + embeddings);
                ln_d -= step;
                // The error left is of the order of the square.
                if step.abs() < 1e-8 {
                    break;
                }
            }
        }
        let d_model = ln_d.exp();
        Shape {
            n_params,
            layers: self.depth * (self.slope * ln_d).exp(),
            d_model,
            q_width: d_model,
            kv_width: d_model / self.group,
            vocab: self.vocab,
            tied: self.tied,
            experts: None,
            windowed: 0.0,
            window: 0.0,
        }
    }
}
