//! Writing new tokens into pages.

use super::super::vector::Element;
use super::step::index;
use crate::error::{Error, Result};

/// Where new tokens go.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// Page ids, row by row.
    pub tables: &'a [i32],
    /// Entries in a row of the tables.
    pub table_width: usize,
    /// Tokens on a page.
    pub page_size: usize,
    /// By token: its table.
    pub row_table: &'a [i32],
    /// By token: its number within the table; one below 0 is skipped.
    pub token_index: &'a [i32],
}

/// Writes tokens of `size` numbers into a cache of pages.
///
/// # Errors
/// [`Error::Array`] when a table leads beyond the cache or a length is not what the others say.
pub fn append<E: Element>(places: Places<'_>, new: &[E], size: usize, cache: &mut [E]) -> Result<()> {
    let Places { tables, table_width, page_size, row_table, token_index } = places;
    for ((new, &table), &token) in new.chunks_exact(size.max(1)).zip(row_table).zip(token_index) {
        if token < 0 {
            continue;
        }
        let (page, slot) = (index(token) / page_size, index(token) % page_size);
        let entry = index(table) * table_width + page;
        let id = tables.get(entry).filter(|_| page < table_width && table >= 0);
        let to = id.and_then(|&id| {
            let begin = (usize::try_from(id).ok()? * page_size + slot) * size;
            cache.get_mut(begin..begin + size)
        });
        let Some(to) = to else {
            return Err(Error::Array(format!("index = {token}: table {table} leads to no page of the cache")));
        };
        to.copy_from_slice(new);
    }
    Ok(())
}
