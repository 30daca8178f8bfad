//! Pieces of prefixes: read once for all rows that share them.

use pulp::{Simd, WithSimd};

use super::super::vector::Element;
use super::step::{Step, index};
use super::tile::{Run, Sight, Tile, lanes_for};

/// All pieces of prefixes, for one head of keys.
pub(super) struct Shared<'a, 'b, E> {
    pub(super) step: &'a Step<'b>,
    /// By piece, where its tokens are.
    pub(super) runs: &'a [Vec<usize>],
    pub(super) queries: &'a [E],
    pub(super) keys: &'a [E],
    pub(super) values: &'a [E],
    pub(super) head: usize,
    /// Of the head: largest score, sum and output of every partial, row by row.
    pub(super) partials: &'a mut [f32],
}

impl<E: Element> WithSimd for Shared<'_, '_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { step, runs, queries, keys, values, head, partials } = self;
        let (group, dim) = (step.group, step.head_dim);
        let (mut run, mut tile) = (Run::default(), Tile::default());
        let mut stands = Vec::new();
        for (item, places) in step.items.iter().zip(runs) {
            let members = &step.row_map[index(item[0])..index(item[0]) + index(item[1])];
            run.lay(places, keys, values, (head, step.kv_heads, dim));
            let n = members.len() * group;
            let mut done = 0;
            while done < n {
                let width = lanes_for::<S>(n - done);
                let row_of = |i: usize| index(members[(done + i).min(n - 1) / group]);
                tile.take((n - done, width, dim), step.scale, |i| {
                    let from = ((row_of(i) * step.kv_heads + head) * group + (done + i) % group) * dim;
                    &queries[from..from + dim]
                });
                stands.clear();
                if step.window > 0 {
                    stands.extend((0..width).map(|i| step.at(row_of(i))));
                }
                let sight = Sight { cap: step.cap, window: step.window, first: i64::from(item[5]), stands: &stands };
                tile.read(simd, &run, &sight);
                for i in 0..(n - done).min(width) {
                    let (row, g) = (index(item[6]) + (done + i) / group, (done + i) % group);
                    let to = &mut partials[(row * group + g) * (dim + 2)..][..dim + 2];
                    (to[0], to[1]) = (tile.most[i], tile.sum[i]);
                    for (to, x) in to[2..].iter_mut().zip(tile.lane(i)) {
                        *to = x;
                    }
                }
                done += width;
            }
        }
    }
}
