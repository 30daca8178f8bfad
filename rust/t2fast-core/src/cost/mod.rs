//! What training and sampling cost, and which designs a budget admits.
//!
//! [`flops`] counts operations (`6 N D`, `2 N k`); [`roofline`] counts seconds on a card, of a model whose layers and widths
//! are known or follow from N ([`shape`]); [`money`] turns them into what a budget asks: [`AtSize`], one N at a time, is all
//! that the planner knows of costs.

pub mod flops;
pub mod money;
pub mod roofline;
pub mod shape;

pub use flops::{Attention, Budget, Prompt, Range, Rate, SLACK, Workload};
pub use money::{AtSize, Money};
