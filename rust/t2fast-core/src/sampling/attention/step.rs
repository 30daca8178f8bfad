//! What a decode step reads and writes, and where in the cache its tokens are.

use crate::error::{Error, Result};

/// A decode step of one layer, as `t2fast_kernels.plan` planned it.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Heads of queries for each of them.
    pub group: usize,
    /// Of a head.
    pub head_dim: usize,
    /// Tokens on a page.
    pub page_size: usize,
    /// Page ids, row by row.
    pub tables: &'a [i32],
    /// Entries in a row of the tables.
    pub table_width: usize,
    /// Pieces of prefixes: first entry in the row map, rows, table, begin, end, position, first partial, 0.
    pub items: &'a [[i32; 8]],
    /// Rows of the pieces.
    pub row_map: &'a [i32],
    /// Prefix runs: table, begin, end, position.
    pub segments: &'a [[i32; 4]],
    /// By row and level: first partial, distance to the next, partials, segment or -1.
    pub row_levels: &'a [[i32; 4]],
    /// Levels of a row.
    pub levels: usize,
    /// By row: table or -1, begin, position of begin, 0.
    pub rows: &'a [[i32; 4]],
    /// By row: where its own tokens end.
    pub ends: &'a [i32],
    /// Partial results of all pieces.
    pub partials: usize,
    /// Factor of the scores.
    pub scale: f32,
    /// Visible positions; 0: all.
    pub window: usize,
    /// Scores become `cap tanh(score / cap)`; 0: they stay.
    pub cap: f32,
    /// By query head, one score more.
    pub sinks: Option<&'a [f32]>,
}

/// Queries, keys, values and results.
#[derive(Debug)]
pub struct Tensors<'a, E> {
    /// `[rows, query heads, head_dim]`.
    pub queries: &'a [E],
    /// `[pages, page_size, kv_heads, head_dim]`.
    pub keys: &'a [E],
    /// Like the keys.
    pub values: &'a [E],
    /// Like the queries.
    pub out: &'a mut [E],
    /// `[rows, query heads]`: logarithms of the sums of exponentiated scores.
    pub sums: &'a mut [f32],
}

/// A number of the plan that is never negative where it is used.
#[inline(always)]
#[allow(clippy::cast_sign_loss)]
pub(super) fn index(value: i32) -> usize {
    value.max(0) as usize
}

impl Step<'_> {
    pub(super) fn check<E>(&self, tensors: &Tensors<'_, E>) -> Result<()> {
        let query = self.kv_heads * self.group * self.head_dim;
        let rows = self.rows.len();
        let fits = tensors.queries.len() >= rows * query
            && tensors.out.len() >= rows * query
            && tensors.sums.len() >= rows * self.kv_heads * self.group
            && tensors.keys.len() == tensors.values.len()
            && self.ends.len() >= rows
            && self.row_levels.len() >= rows * self.levels
            && self.table_width > 0
            && self.page_size > 0
            && self.sinks.is_none_or(|sinks| sinks.len() == self.kv_heads * self.group);
        if !fits {
            return Err(Error::Array("a decode step's arrays do not have the lengths that its plan says".into()));
        }
        Ok(())
    }

    /// Where in the cache, as token numbers over all pages, tokens `begin` to `end - 1` of a table are.
    #[inline(always)]
    pub(super) fn run(&self, cache: usize, table: i32, begin: i32, end: i32) -> Result<Vec<usize>> {
        let (first, begin, end) = (index(table) * self.table_width, index(begin), index(end));
        let pages = self.tables.get(first..first + self.table_width);
        let Some(pages) = pages.filter(|_| end <= self.table_width * self.page_size) else {
            return Err(Error::Array(format!("block_tables: table {table} has no token {end}")));
        };
        let held = cache / (self.page_size * self.kv_heads * self.head_dim).max(1);
        let mut places = Vec::with_capacity(end.saturating_sub(begin));
        let mut at = begin;
        while at < end {
            let id = pages[at / self.page_size];
            let page = usize::try_from(id).ok().filter(|&page| page < held);
            let Some(page) = page else {
                return Err(Error::Array(format!("block_tables: page {id}, but the cache holds {held} pages")));
            };
            let stop = end.min((at / self.page_size + 1) * self.page_size);
            places.extend((at..stop).map(|t| page * self.page_size + t % self.page_size));
            at = stop;
        }
        Ok(places)
    }

    /// Where a row's query stands.
    pub(super) fn at(&self, row: usize) -> i64 {
        let [table, begin, position, _] = self.rows[row];
        let length = if table < 0 { 0 } else { self.ends[row] - begin };
        i64::from(position) + i64::from(length) - 1
    }
}
