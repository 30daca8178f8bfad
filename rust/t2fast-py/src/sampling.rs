//! `t2fast_core::sampling`: tensors come as arrays, bfloat16 as the bits of its numbers.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use numpy::{Element, PyArray1, PyArrayMethods as _, PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArray3};
use numpy::{PyArray2, PyArray3, PyArray4, PyReadonlyArray4, PyUntypedArrayMethods as _};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use t2fast_core::sampling::{attention, block, draw, norm::Norm as CoreNorm, product, vector};
use t2fast_core::threads::on_threads;

use crate::errors::Error;

/// Single-precision numbers in a vector register of this processor.
#[pyfunction]
pub fn vector_lanes() -> usize {
    vector::lanes()
}

/// The plan's arrays, as `t2fast_kernels.buffers.Planned` names them.
type Planned<'py> = (
    PyReadonlyArray1<'py, i32>,
    PyReadonlyArray2<'py, i32>,
    PyReadonlyArray1<'py, i32>,
    PyReadonlyArray2<'py, i32>,
    PyReadonlyArray3<'py, i32>,
    PyReadonlyArray2<'py, i32>,
);

/// Attention of one decode step; writes `out` and `sums`.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub fn decode_step<'py>(
    py: Python<'py>,
    q: &Bound<'py, PyAny>,
    k_cache: &Bound<'py, PyAny>,
    v_cache: &Bound<'py, PyAny>,
    tables: PyReadonlyArray2<'py, i32>,
    ends: PyReadonlyArray1<'py, i32>,
    planned: Planned<'py>,
    sinks: Option<PyReadonlyArray1<'py, f32>>,
    out: &Bound<'py, PyAny>,
    sums: &Bound<'py, PyArray2<f32>>,
    scale: f32,
    window: usize,
    cap: f32,
    threads: NonZeroUsize,
) -> PyResult<()> {
    let shape = k_cache.cast::<numpy::PyUntypedArray>()?.shape().to_vec();
    let [_, page_size, kv_heads, head_dim] = shape[..] else {
        return Err(PyTypeError::new_err("k_cache has four dimensions"));
    };
    let heads = out.cast::<numpy::PyUntypedArray>()?.shape().get(1).copied().unwrap_or(0);
    let (counts, items, row_map, segments, row_levels, rows) = &planned;
    let counts = counts.as_slice()?;
    let count = |i: usize| usize::try_from(counts[i]).unwrap_or(0);
    let levels = row_levels.shape()[1];
    let step = attention::Step {
        kv_heads,
        group: heads / kv_heads.max(1),
        head_dim,
        page_size,
        tables: tables.as_slice()?,
        table_width: tables.shape()[1],
        items: &items.as_slice()?.as_chunks().0[..count(0)],
        row_map: row_map.as_slice()?,
        segments: segments.as_slice()?.as_chunks().0,
        row_levels: row_levels.as_slice()?.as_chunks().0,
        levels,
        rows: rows.as_slice()?.as_chunks().0,
        ends: ends.as_slice()?,
        partials: count(2),
        scale,
        window,
        cap,
        sinks: sinks.as_ref().map(PyReadonlyArray1::as_slice).transpose()?,
    };
    if q.cast::<PyArray3<f32>>().is_ok() {
        decode::<f32>(py, step, q, k_cache, v_cache, out, sums, threads)
    } else {
        decode::<u16>(py, step, q, k_cache, v_cache, out, sums, threads)
    }
}

#[allow(clippy::too_many_arguments)]
fn decode<'py, E: Element + vector::Element>(
    py: Python<'py>,
    mut step: attention::Step<'_>,
    q: &Bound<'py, PyAny>,
    k_cache: &Bound<'py, PyAny>,
    v_cache: &Bound<'py, PyAny>,
    out: &Bound<'py, PyAny>,
    sums: &Bound<'py, PyArray2<f32>>,
    threads: NonZeroUsize,
) -> PyResult<()> {
    let q: PyReadonlyArray3<'py, E> = q.cast::<PyArray3<E>>()?.try_readonly()?;
    let k: PyReadonlyArray4<'py, E> = k_cache.cast::<PyArray4<E>>()?.try_readonly()?;
    let v: PyReadonlyArray4<'py, E> = v_cache.cast::<PyArray4<E>>()?.try_readonly()?;
    let mut out = out.cast::<PyArray3<E>>()?.try_readwrite()?;
    let mut sums = sums.try_readwrite()?;
    step.rows = &step.rows[..q.shape()[0].min(step.rows.len())];
    let tensors = attention::Tensors {
        queries: q.as_slice()?,
        keys: k.as_slice()?,
        values: v.as_slice()?,
        out: out.as_slice_mut()?,
        sums: sums.as_slice_mut()?,
    };
    let result = py.detach(|| {
        if threads.get() == 1 {
            attention::decode(&step, tensors, false)
        } else {
            on_threads(Some(threads), || attention::decode(&step, tensors, true)).and_then(|done| done)
        }
    });
    Ok(result.map_err(Error::from)?)
}

/// Write new keys and values, contiguous `[tokens, heads, head_dim]`, where their tables say.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub fn append_tokens<'py>(
    k: &Bound<'py, PyAny>,
    v: &Bound<'py, PyAny>,
    k_cache: &Bound<'py, PyAny>,
    v_cache: &Bound<'py, PyAny>,
    tables: PyReadonlyArray2<'py, i32>,
    row_table: PyReadonlyArray1<'py, i32>,
    token_index: PyReadonlyArray1<'py, i32>,
) -> PyResult<()> {
    for (new, cache) in [(k, k_cache), (v, v_cache)] {
        if new.cast::<PyArray3<f32>>().is_ok() {
            append::<f32>(new, cache, &tables, &row_table, &token_index)?;
        } else {
            append::<u16>(new, cache, &tables, &row_table, &token_index)?;
        }
    }
    Ok(())
}

fn append<'py, E: Element + vector::Element>(
    new: &Bound<'py, PyAny>,
    cache: &Bound<'py, PyAny>,
    tables: &PyReadonlyArray2<'py, i32>,
    row_table: &PyReadonlyArray1<'py, i32>,
    token_index: &PyReadonlyArray1<'py, i32>,
) -> PyResult<()> {
    let new: PyReadonlyArray3<'py, E> = new.cast::<PyArray3<E>>()?.try_readonly()?;
    let mut cache = cache.cast::<PyArray4<E>>()?.try_readwrite()?;
    let page_size = cache.shape()[1];
    let places = attention::Places {
        tables: tables.as_slice()?,
        table_width: tables.shape()[1],
        page_size,
        row_table: row_table.as_slice()?,
        token_index: token_index.as_slice()?,
    };
    let size = new.shape()[1] * new.shape()[2];
    Ok(attention::append(places, new.as_slice()?, size, cache.as_slice_mut()?).map_err(Error::from)?)
}

/// Draw a token per row; see `t2fast_core::sampling::draw`.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub fn draw_tokens<'py>(
    py: Python<'py>,
    logits: PyReadonlyArray2<'py, f32>,
    seed: PyReadonlyArray1<'py, i64>,
    prompt: PyReadonlyArray1<'py, i64>,
    sample: PyReadonlyArray1<'py, i64>,
    step: PyReadonlyArray1<'py, i64>,
    temperature: PyReadonlyArray1<'py, f32>,
    least: Option<PyReadonlyArray1<'py, f32>>,
    tokens: &Bound<'py, PyArray1<i64>>,
    logprobs: &Bound<'py, PyArray1<f32>>,
) -> PyResult<()> {
    let (mut tokens, mut logprobs) = (tokens.try_readwrite()?, logprobs.try_readwrite()?);
    let rows = draw::Rows {
        logits: logits.as_slice()?,
        vocab: logits.shape()[1],
        keys: [seed.as_slice()?, prompt.as_slice()?, sample.as_slice()?, step.as_slice()?],
        temperature: temperature.as_slice()?,
        least: least.as_ref().map(PyReadonlyArray1::as_slice).transpose()?,
    };
    let (tokens, logprobs) = (tokens.as_slice_mut()?, logprobs.as_slice_mut()?);
    Ok(py.detach(|| draw::draw(rows, tokens, logprobs)).map_err(Error::from)?)
}

/// Attention of texts read for the first time, whose keys and values are in the cache; writes `out`.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub fn read_texts<'py>(
    py: Python<'py>,
    q: &Bound<'py, PyAny>,
    k_cache: &Bound<'py, PyAny>,
    v_cache: &Bound<'py, PyAny>,
    spans: PyReadonlyArray2<'py, i64>,
    places: Vec<PyReadonlyArray1<'py, i64>>,
    sinks: Option<PyReadonlyArray1<'py, f32>>,
    out: &Bound<'py, PyAny>,
    scale: f32,
    window: usize,
    cap: f32,
    threads: NonZeroUsize,
) -> PyResult<()> {
    let shape = k_cache.cast::<numpy::PyUntypedArray>()?.shape().to_vec();
    let [.., kv_heads, head_dim] = shape[..] else {
        return Err(PyTypeError::new_err("k_cache has heads and their dimensions last"));
    };
    let heads = out.cast::<numpy::PyUntypedArray>()?.shape().get(1).copied().unwrap_or(0);
    let places = places.iter().map(PyReadonlyArray1::as_slice).collect::<Result<Vec<_>, _>>()?;
    let texts = attention::Texts {
        kv_heads,
        group: heads / kv_heads.max(1),
        head_dim,
        spans: spans.as_slice()?.as_chunks().0,
        places: &places,
        scale,
        window,
        cap,
        sinks: sinks.as_ref().map(PyReadonlyArray1::as_slice).transpose()?,
    };
    if q.cast::<PyArray3<f32>>().is_ok() {
        prefill::<f32>(py, &texts, q, k_cache, v_cache, out, threads)
    } else {
        prefill::<u16>(py, &texts, q, k_cache, v_cache, out, threads)
    }
}

fn prefill<'py, E: Element + vector::Element>(
    py: Python<'py>,
    texts: &attention::Texts<'_>,
    q: &Bound<'py, PyAny>,
    k_cache: &Bound<'py, PyAny>,
    v_cache: &Bound<'py, PyAny>,
    out: &Bound<'py, PyAny>,
    threads: NonZeroUsize,
) -> PyResult<()> {
    let q: PyReadonlyArray3<'py, E> = q.cast::<PyArray3<E>>()?.try_readonly()?;
    let k: PyReadonlyArray4<'py, E> = k_cache.cast::<PyArray4<E>>()?.try_readonly()?;
    let v: PyReadonlyArray4<'py, E> = v_cache.cast::<PyArray4<E>>()?.try_readonly()?;
    let mut out = out.cast::<PyArray3<E>>()?.try_readwrite()?;
    let (q, cache, out) = (q.as_slice()?, (k.as_slice()?, v.as_slice()?), out.as_slice_mut()?);
    let result = in_threads(py, threads, |parallel| attention::prefill(texts, q, cache, out, parallel));
    Ok(result.map_err(Error::from)?)
}

/// Runs work without Python's lock; on the threads of a pool if they are several.
fn in_threads<R: Send>(
    py: Python<'_>,
    threads: NonZeroUsize,
    work: impl FnOnce(bool) -> t2fast_core::error::Result<R> + Send,
) -> t2fast_core::error::Result<R> {
    py.detach(|| {
        if threads.get() == 1 { work(false) } else { on_threads(Some(threads), || work(true)).and_then(|done| done) }
    })
}

/// Memory for the work of blocks.
#[pyclass(frozen, module = "t2fast._core")]
#[derive(Default)]
pub struct BlockWork(Mutex<block::Work>);

#[pymethods]
impl BlockWork {
    #[new]
    fn new() -> Self {
        Self::default()
    }
}

/// Rows of weights, one per output.
type Rows<'py> = PyReadonlyArray2<'py, f32>;
/// A norm's weights and what it adds to mean squares.
type Norm<'py> = (PyReadonlyArray1<'py, f32>, f32);

/// A decoder block's weights, copied; see `t2fast_core::sampling::block`.
#[pyclass(frozen, module = "t2fast._core")]
pub struct Block(block::Block);

fn norm((weight, eps): &Norm<'_>) -> PyResult<CoreNorm> {
    Ok((weight.as_slice()?.to_vec(), *eps))
}

/// Packs the rows of several arrays one after the other, or in turn.
fn packed(arrays: &[Rows<'_>], in_turn: bool, bias: Option<&PyReadonlyArray1<'_, f32>>) -> PyResult<product::Packed> {
    let mut rows = Vec::new();
    for array in arrays {
        rows.extend(array.as_slice()?.chunks_exact(array.shape()[1].max(1)));
    }
    if in_turn {
        let (first, second) = rows.split_at(rows.len() / arrays.len().max(1));
        rows = first.iter().zip(second).flat_map(|(&a, &b)| [a, b]).collect();
    }
    let bias = bias.map(PyReadonlyArray1::as_slice).transpose()?;
    Ok(product::Packed::new(&rows, bias).map_err(Error::from)?)
}

#[pymethods]
impl Block {
    #[new]
    #[allow(clippy::too_many_arguments)]
    fn new(
        head_dim: usize,
        kv_heads: usize,
        heads: [Rows<'_>; 3],
        output: [Rows<'_>; 1],
        gate: [Rows<'_>; 2],
        down: [Rows<'_>; 1],
        biases: [Option<PyReadonlyArray1<'_, f32>>; 4],
        norms: [Norm<'_>; 2],
        head_norms: Option<[Norm<'_>; 2]>,
    ) -> PyResult<Self> {
        let [of_heads, of_output, of_gate, of_down] = &biases;
        let [first, second] = &norms;
        let head_norms = match &head_norms {
            Some([queries, keys]) => Some([norm(queries)?, norm(keys)?]),
            None => None,
        };
        let block = block::Block {
            head_dim,
            kv_heads,
            heads: packed(&heads, false, of_heads.as_ref())?,
            output: packed(&output, false, of_output.as_ref())?,
            gate: packed(&gate, true, of_gate.as_ref())?,
            down: packed(&down, false, of_down.as_ref())?,
            norms: [norm(first)?, norm(second)?],
            head_norms,
        };
        block.check().map_err(Error::from)?;
        Ok(Self(block))
    }

    /// Writes queries, keys and values of rows.
    #[allow(clippy::too_many_arguments)]
    fn heads<'py>(
        &self,
        py: Python<'py>,
        x: PyReadonlyArray2<'py, f32>,
        cos: PyReadonlyArray2<'py, f32>,
        sin: PyReadonlyArray2<'py, f32>,
        q: &Bound<'py, PyArray3<f32>>,
        k: &Bound<'py, PyArray3<f32>>,
        v: &Bound<'py, PyArray3<f32>>,
        work: &BlockWork,
        threads: NonZeroUsize,
    ) -> PyResult<()> {
        let (mut q, mut k, mut v) = (q.try_readwrite()?, k.try_readwrite()?, v.try_readwrite()?);
        let (x, turns) = (x.as_slice()?, [cos.as_slice()?, sin.as_slice()?]);
        let out = [q.as_slice_mut()?, k.as_slice_mut()?, v.as_slice_mut()?];
        let result = in_threads(py, threads, |parallel| {
            let mut work = work.0.lock().unwrap_or_else(PoisonError::into_inner);
            self.0.heads(x, turns, out, &mut work, parallel)
        });
        Ok(result.map_err(Error::from)?)
    }

    /// The block's output, in place of its input, after what its attention read.
    fn rest<'py>(
        &self,
        py: Python<'py>,
        x: &Bound<'py, PyArray2<f32>>,
        read: PyReadonlyArray3<'py, f32>,
        work: &BlockWork,
        threads: NonZeroUsize,
    ) -> PyResult<()> {
        let mut x = x.try_readwrite()?;
        let (x, read) = (x.as_slice_mut()?, read.as_slice()?);
        let result = in_threads(py, threads, |parallel| {
            let mut work = work.0.lock().unwrap_or_else(PoisonError::into_inner);
            self.0.rest(x, read, &mut work, parallel)
        });
        Ok(result.map_err(Error::from)?)
    }
}
