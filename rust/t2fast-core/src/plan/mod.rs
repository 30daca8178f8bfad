//! The best design within a budget.
