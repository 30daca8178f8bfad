//! What training and sampling cost, and which designs a budget admits.
//!
//! [`flops`] counts operations (`6 N D`, `2 N k`); [`roofline`] counts seconds on a card, of a model whose layers and widths
//! are known or follow from N ([`shape`]).

pub mod flops;
pub mod roofline;
pub mod shape;

pub use flops::{Attention, Budget, Prompt, Range, Rate, SLACK, Workload};
