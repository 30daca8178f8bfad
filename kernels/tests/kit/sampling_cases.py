"""The configurations of all kernels but those of attention, for the compilation tests."""

from __future__ import annotations

import importlib
import itertools
from typing import Any

import torch

from kit.offline import Case
from t2fast_kernels.triton import append_kv, copy_pages, merge_state, plan_shared, products, rms_norm, sample, silu_mul

# The package's functions hide the modules of the same names.
shipped = {
    name: importlib.import_module(f"t2fast_kernels.{name}")
    for name in ("sample", "append_kv", "copy_pages", "merge_state", "plan_shared", "products", "rms_norm", "silu_mul")
}

FLOATS = ("temperature", "top_k", "top_p", "min_p", "repetition", "presence", "frequency")
TYPES = {
    **dict.fromkeys(FLOATS, "fp32"),
    **dict.fromkeys(("bias", "processed", "groups", "sums", "stats", "found", "held", "shares"), "*fp32"),
    **dict.fromkeys(("logprobs", "top_logprobs"), "*fp32"),
    **dict.fromkeys(("counts", "allowed", "winners", "held_tokens", "live", "prompt", "sample", "step"), "*i32"),
    **dict.fromkeys(("seed", "drawn", "top_tokens", "positions"), "*i64"),
    **dict.fromkeys(("block_tables", "row_table", "index", "source", "destination"), "*i32"),
    **dict.fromkeys(("cos", "sin", "k_scale", "v_scale", "s_a", "s_b", "s"), "*fp32"),
    "eps": "fp32",
}
PLAIN = {"counts": None, "bias": None, "allowed": None, "processed": None, "PACKED": False}
#: Vocabularies to 262,144 tokens; beyond, the same code with more chunks.
SIZES = {"QUADS": shipped["sample"].QUADS, "CHUNKS": 64, "GROUPS": 8192}
SIZES |= {name: getattr(shipped["sample"], name) for name in ("HELD", "BLOCK", "PART")}


#: Vocabularies that are multiples of 16, that are not though rows begin on borders of 16 bytes, and contiguous odd ones.
LAYOUTS: dict[str, dict[str, Any]] = {
    "even": {"multiples": frozenset({"vocab"})},
    "padded": {},
    "odd": {"anything": frozenset({"logits_stride", "raw_stride"})},
}


def case(
    chip: str, name: str, kernel: Any, operator: str, constants: dict[str, Any], layout: str = "padded", **types: str
) -> Case:
    types = dict.fromkeys(kernel.arg_names, "i32") | TYPES | types
    constants = {"ALIGNED": layout != "odd", "OVERLAP": chip == "sm_90"} | constants
    constants = {key: value for key, value in constants.items() if key in kernel.arg_names}
    options = shipped[operator].options(constants["WIDTH"]) if operator == "rms_norm" else shipped[operator].OPTIONS
    warps = options["num_warps"]
    if kernel is sample.share_kernel:
        warps = shipped[operator].SHARE_WARPS["hip" if chip == "gfx942" else "cuda"]
    if kernel is sample.scan_kernel and "processed" in constants:
        warps = shipped[operator].SCAN_WARPS
    if kernel is sample.draw_kernel:
        warps = shipped[operator].DRAW_WARPS
    if kernel is sample.verify_kernel and constants["PASS"] == 1:
        warps = shipped[operator].MEASURE_WARPS
    return Case(name, chip, kernel, types, constants, warps, 3, **LAYOUTS[layout])


def product_cases(chip: str) -> list[Case]:
    """Products of a model with 1024 values in a token, and of one whose width is no multiple of a block's."""
    found = []
    for rows, gated, width, bias in itertools.product((8, 32, 128), (False, True), (1024, 1000), (False, True)):
        how = shipped["products"].tile(rows, gated, chip == "gfx942")
        kernel = products.gated_kernel if gated else products.products_kernel
        types = dict.fromkeys(kernel.arg_names, "*bf16") | {"x_stride": "i32", "rows": "i32"}
        constants = {
            "WIDTH": width,
            "COLUMNS": 3072,
            "UPCAST": False,
            "OVERLAP": chip == "sm_90",
            "COLUMNS_0": 2048,
            "COLUMNS_1": 1024,
        }
        constants |= {"COLUMNS_2": 1024} | {key: how[key] for key in ("BLOCK_M", "BLOCK_N", "BLOCK_K")}
        constants |= {} if bias else dict.fromkeys(("bias_0", "bias_1", "bias_2"))
        constants = {key: value for key, value in constants.items() if key in kernel.arg_names}
        needs = "wgmma" if chip == "sm_90" and how["BLOCK_M"] == 64 else "mma"
        name = f"{'gated' if gated else 'products'}-{rows}-{width}{'-bias' if bias else ''}"
        if not (gated and bias):
            if (rows, width) == (128, 1000):  # two layers only
                constants |= {"COLUMNS_2": 0} if "COLUMNS_2" in constants else {}
            found.append(Case(name, chip, kernel, types, constants, how["num_warps"], how["num_stages"], needs))
    return found


def cases(chip: str) -> list[Case]:
    found = product_cases(chip)
    per_row = dict.fromkeys(FLOATS, "*fp32") | {"top_k": "*i32"}
    for dtype in ("fp32", "bf16"):  # fp16 differs from bf16 in one conversion
        logits = dict.fromkeys(("raw", "logits"), f"*{dtype}")
        for name, kernel, constants in (
            ("scan", sample.scan_kernel, PLAIN),
            ("scan-processed", sample.scan_kernel, {"PACKED": True}),
            ("verify-1", sample.verify_kernel, {"PASS": 1, "shares": None}),
            ("verify-2", sample.verify_kernel, {"PASS": 2}),
            ("draw", sample.draw_kernel, {"FILTERED": False, "shares": None}),
            ("draw-filtered", sample.draw_kernel, {"FILTERED": True}),
            ("finish", sample.finish_kernel, {"PASS": shipped["sample"].PASSES}),
            ("share", sample.share_kernel, {}),
            ("top", sample.top_kernel, {}),
        ):
            for settings in ({}, per_row)[: 1 + (dtype == "bf16")]:
                full = f"sample-{name}-{dtype}{'-rows' if settings else ''}"
                found.append(case(chip, full, kernel, "sample", SIZES | constants, **logits, **settings))
                if kernel in (sample.scan_kernel, sample.verify_kernel) and not settings:
                    for layout in ("even", "odd"):
                        full = f"sample-{name}-{dtype}-{layout}"
                        found.append(case(chip, full, kernel, "sample", SIZES | constants, layout, **logits))
        tensors = dict.fromkeys(("v_a", "v_b", "v"), f"*{dtype}")
        block = {"BLOCK_HEADS": shipped["merge_state"].BLOCK_HEADS}
        sizes = block | {"HEADS": 32, "DIM": 128, "BLOCK_DIM": 128}
        found.append(case(chip, f"merge-{dtype}", merge_state.merge_kernel, "merge_state", sizes, **tensors))
        for width in (1024, 8192, 1 << 14):
            sizes = {"WIDTH": width, "BLOCK": width}
            tensors = dict.fromkeys(("x", "residual", "weight", "y", "total"), f"*{dtype}")
            found.append(
                case(chip, f"norm-{dtype}-{width}-sum", rms_norm.rms_norm_kernel, "rms_norm", sizes, **tensors)
            )
            sizes |= {"residual": None, "total": None}
            found.append(case(chip, f"norm-{dtype}-{width}", rms_norm.rms_norm_kernel, "rms_norm", sizes, **tensors))
        sizes = {"WIDTH": 3072, "BLOCK": shipped["silu_mul"].BLOCK}
        tensors = dict.fromkeys(("gate", "up", "out"), f"*{dtype}")
        found.append(case(chip, f"silu-{dtype}", silu_mul.silu_mul_kernel, "silu_mul", sizes, **tensors))
        for cache in (dtype, "fp8e5", "fp8e4nv"):
            if (chip, cache) == ("sm_80", "fp8e4nv"):
                continue  # Triton has no conversion to it there
            fp8 = {"fp8e5": torch.float8_e5m2, "fp8e4nv": torch.float8_e4m3fn}.get(cache)
            tensors = dict.fromkeys(("k", "v", "q", "q_out"), f"*{dtype}") | dict.fromkeys(
                ("k_cache", "v_cache"), f"*{cache}"
            )
            sizes = {"KV_HEADS": 8, "Q_HEADS": 32, "DIM": 128, "HALF": 64, "BLOCK_HALF": 64, "BLOCK_DIM": 128}
            sizes |= {"BLOCK_HEADS": shipped["append_kv"].BLOCK_HEADS, "LARGEST": torch.finfo(fp8).max if fp8 else 0.0}
            sizes |= {"PER_HEAD_K": bool(fp8), "PER_HEAD_V": False}
            sizes |= {} if fp8 else {"k_scale": None, "v_scale": None}
            name, own = f"append-{dtype}-{cache}", dict.fromkeys(("q_norm", "k_norm", "cos", "sin"), f"*{dtype}")
            normed = sizes | {"positions": None}  # as the blocks of a Qwen 3 are run
            found.append(case(chip, f"{name}-normed", append_kv.append_kernel, "append_kv", normed, **tensors, **own))
            sizes |= {"q_norm": None, "k_norm": None}
            found.append(case(chip, name, append_kv.append_kernel, "append_kv", sizes, **tensors))
            sizes |= {"positions": None, "cos": None, "sin": None, "q": None, "q_out": None}
            sizes |= {"Q_HEADS": 0, "HALF": 0, "BLOCK_HALF": 1}
            found.append(case(chip, f"{name}-still", append_kv.append_kernel, "append_kv", sizes, **tensors))
    for dtype in ("i8", "fp16", "fp32"):
        sizes = {"HEADS": 8, "DIM": 128, "BLOCK": shipped["copy_pages"].BLOCK}
        tensors = {"k_cache": f"*{dtype}", "v_cache": f"*{dtype}"}
        found.append(case(chip, f"copy-{dtype}", copy_pages.copy_kernel, "copy_pages", sizes, **tensors))
    block, rows = shipped["plan_shared"].BLOCK, shipped["plan_shared"].ROWS
    names = ("found", "counts", "common", "seq_lens", "items", "row_map", "segments", "row_levels", "rows", "chunk")
    types = dict.fromkeys(names, "*i32")
    for name, kernel, constants in (
        ("neighbours", plan_shared.neighbours_kernel, {"BLOCK": block}),
        ("runs", plan_shared.runs_kernel, {"BLOCK": rows, "LEVELS": 2}),
        ("places", plan_shared.places_kernel, {"BLOCK": rows, "LEVELS": 2}),
        ("write", plan_shared.write_kernel, {"BLOCK": block, "LEVELS": 2}),
    ):
        found.append(case(chip, f"plan-{name}", kernel, "plan_shared", constants, **types))
    return found
