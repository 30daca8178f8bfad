"""A finished file of samples, copied to Parquet."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from t2fast.errors import DataError, MissingExtraError
from t2fast.sampling.manifest import manifest_path
from t2fast.sampling.samples import read_records
from t2fast.sampling.store import StoreError

__all__ = ["write_parquet"]

#: Rows of a group.
_MANY = 4096


def write_parquet(samples: str | Path, out: str | Path) -> int:
    """Copy a file of samples to Parquet, in the file's order, with the manifest in its metadata.

    Columns that no sample has are left out. The copy appears whole or not at all.

    Parameters
    ----------
    samples, out
        The file of samples, and the copy.

    Returns
    -------
    int
        Rows written.

    Raises
    ------
    DataError
        When a line is not a sample.
    StoreError
        When the copy cannot be written.
    MissingExtraError
        When pyarrow is not installed.

    Examples
    --------
    >>> import json, tempfile
    >>> from t2fast.sampling import Sample
    >>> folder = Path(tempfile.mkdtemp())
    >>> line = Sample("q1", 0, "42", (17, 3), "stop", 5, correct=True).to_dict()
    >>> _ = (folder / "s.jsonl").write_text(json.dumps(line))
    >>> write_parquet(folder / "s.jsonl", folder / "s.parquet")
    1
    """
    try:
        import pyarrow as arrow  # type: ignore[import-untyped, unused-ignore]
        from pyarrow import parquet
    except ImportError:
        raise MissingExtraError("Parquet needs pyarrow: pip install 't2fast[data]'") from None
    samples, out = Path(samples), Path(out)
    kinds = {
        "problem_id": arrow.string(),
        "problem": arrow.string(),  # an earlier spelling
        "sample": arrow.int32(),
        "correct": arrow.bool_(),
        "score": arrow.float64(),
        "verifier_error": arrow.string(),
        "stop_on_success": arrow.bool_(),
        "finish_reason": arrow.string(),
        "n_prompt_tokens": arrow.int32(),
        "n_answer_tokens": arrow.int32(),
        "text": arrow.string(),
        "token_ids": arrow.list_(arrow.int32()),
        "logprobs": arrow.list_(arrow.float64()),
        "top_token_ids": arrow.list_(arrow.list_(arrow.int32())),
        "top_logprobs": arrow.list_(arrow.list_(arrow.float64())),
        "prompt_logprobs": arrow.list_(arrow.float64()),
        "forced": arrow.list_(arrow.int32()),
    }
    present: set[str] = set()
    for _, record in read_records(samples):
        present.update(name for name, value in record.items() if value is not None)
    with contextlib.suppress(OSError):
        described = manifest_path(samples).read_bytes()
    schema = arrow.schema(
        [(name, kind) for name, kind in kinds.items() if name in present],
        metadata={"t2fast": described} if manifest_path(samples).exists() else None,
    )
    new = out.with_name(out.name + ".new")
    rows = 0
    try:
        with parquet.ParquetWriter(new, schema, compression="zstd") as writer:
            batch: list[dict[str, Any]] = []
            for _, record in read_records(samples):
                batch.append(record)
                if len(batch) == _MANY:
                    writer.write_table(arrow.Table.from_pylist(batch, schema))
                    rows += len(batch)
                    batch.clear()
            if batch:
                writer.write_table(arrow.Table.from_pylist(batch, schema))
            rows += len(batch)
        new.replace(out)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise StoreError(f"{out}: cannot be written: {error.strerror or error}") from None
    except (arrow.ArrowInvalid, arrow.ArrowTypeError) as error:
        new.unlink(missing_ok=True)
        raise DataError(f"{samples}: not a file of samples: {' '.join(str(error).split())}") from None
    return rows
