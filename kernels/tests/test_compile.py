"""Every shipped configuration compiles for every chip, within its means; nothing here needs a GPU.

Another kernel's configurations join by appending to ``CASES``.
"""

from __future__ import annotations

import re

import pytest

from conftest import INTERPRETED
from kit.offline import SHARED, Case, assembly, build, intermediate, loop_instructions, program
from kit.sampling_cases import cases
from t2fast_kernels.configs import Chip, Launch, few_pieces, overlaps, prefix_launch, suffix_launch
from t2fast_kernels.triton import attention

pytestmark = [
    pytest.mark.skipif(INTERPRETED, reason="the interpreter replaces the compiler"),
    pytest.mark.filterwarnings("ignore:.*FP_FUSION.*:UserWarning"),
]

CHIPS: dict[str, Chip] = {"sm_80": "ampere", "sm_90": "hopper", "gfx942": "cdna"}
SIZES = {"bf16": 2, "fp16": 2, "fp32": 4}
#: Everything switched on at once.
ALL = {"WINDOW": True, "SOFT_CAP": True, "K_SCALE": True, "V_SCALE": True, "SINKS": True, "LSE": True}


def attention_case(kernel: str, chip: str, dtype: str, head_dim: int, launch: Launch, group: int = 4, cache: str | None = None, **switches: bool) -> Case:  # fmt: skip
    """A configuration of launch A ("prefix") or B ("suffix")."""
    function = getattr(attention, f"{kernel}_kernel")
    floats = ("partial_o", "partial_lse", "lse", "sinks", "k_scale", "v_scale")
    types = dict.fromkeys(function.arg_names, "i32")
    types |= dict.fromkeys(
        ("block_tables", "seq_lens", "counts", "items", "row_map", "rows", "segments", "row_levels"), "*i32"
    )
    types |= dict.fromkeys(("scale", "cap", "out_scale"), "fp32") | dict.fromkeys(floats, "*fp32")
    types |= {"q": f"*{dtype}", "out": f"*{dtype}", "k_cache": f"*{cache or dtype}", "v_cache": f"*{cache or dtype}"}
    block_d = max(16, 1 << (head_dim - 1).bit_length())
    constants = (
        dict.fromkeys(ALL, False)
        | {"UPCAST": False, "LONG": False, "SAME": True, "POSITIVE": True, "FAST": launch.fast}
        | {"OVERLAP": chip == "sm_90"}
        | switches
    )
    constants |= {"N_Q_HEADS": 8 * group, "GROUP": group, "HEAD_DIM": head_dim, "BLOCK_D": block_d}
    constants |= {"BLOCK_M": launch.block_m, "BLOCK_N": launch.block_n, "PAGE": 16, "LEVELS": 2}
    constants |= few_pieces(group, block_d)
    optional = {"k_scale": "K_SCALE", "v_scale": "V_SCALE", "sinks": "SINKS", "lse": "LSE"}
    constants |= {name: None for name, switch in optional.items() if not constants[switch]}
    needs = None if dtype == "fp32" else "wgmma" if chip == "sm_90" and launch.block_m >= 64 else "mma"
    name = f"{kernel}-{dtype}-{cache or 'same'}-d{head_dim}-m{launch.block_m}{'-all' if switches else ''}"
    constants = {name: value for name, value in constants.items() if name in function.arg_names}
    return Case(name, chip, function, types, constants, launch.num_warps, launch.num_stages, needs)


CASES: list[Case] = []
for chip, family in CHIPS.items():
    for dtype, size in SIZES.items():
        for head_dim in (64, 128, 256) if dtype != "fp16" else (128,):
            blocks = (16, 64, 128) if head_dim * size <= 256 and size == 2 else (16, 64)
            CASES += [
                attention_case("prefix", chip, dtype, head_dim, prefix_launch(family, m, head_dim, size))
                for m in blocks
            ]
            CASES.append(
                attention_case("suffix", chip, dtype, head_dim, suffix_launch(family, 4, head_dim, size, size))
            )
    fp8s = ("fp8e5",) if chip == "sm_80" else ("fp8e5", "fp8e4nv")
    for kernel, launch in (
        ("prefix", prefix_launch(family, 64, 128, 2)),
        ("suffix", suffix_launch(family, 4, 128, 2, 2)),
    ):
        CASES.append(attention_case(kernel, chip, "bf16", 128, launch, **ALL))
        CASES.append(attention_case(kernel, chip, "bf16", 80, launch))
        narrow = prefix_launch(family, 64, 128, 2, 1) if kernel == "prefix" else suffix_launch(family, 4, 128, 2, 1)
        CASES += [attention_case(kernel, chip, "bf16", 128, narrow, cache=fp8) for fp8 in fp8s]
        # Pools of 2^31 elements and more; keys and values with strides of their own.
        CASES.append(attention_case(kernel, chip, "bf16", 128, launch, LONG=True, SAME=False))
    CASES.append(attention_case("suffix", chip, "bf16", 128, suffix_launch(family, 71, 128, 2, 2), group=71))
    CASES += cases(chip)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_compiles_within_its_means(case):
    built = build(case)
    assert built.spilled == 0
    assert built.shared <= SHARED[case.target]
    assert built.registers <= (512 if case.target == "gfx942" else case.registers)
    if case.needs:
        assert built.instructions[case.needs] > 0


@pytest.mark.parametrize("chip", CHIPS)
def test_launches_depend_on_each_other_where_the_chip_can_do_that(chip):
    family = CHIPS[chip]
    cases = [
        attention_case("prefix", chip, "bf16", 64, prefix_launch(family, 64, 64, 2)),
        attention_case("suffix", chip, "bf16", 64, suffix_launch(family, 4, 64, 2, 2)),
    ]
    texts = [assembly(case) for case in cases]
    marks = ["griddepcontrol.launch_dependents", "griddepcontrol.wait"]
    assert [[mark in text for mark in marks] for text in texts] == (
        [[True, False], [False, True]] if overlaps(family) else [[False, False], [False, False]]
    )
    assert overlaps(family) == (chip == "sm_90")


@pytest.mark.parametrize("chip", CHIPS)
def test_launches_between_the_attentions_wait_before_they_read_or_write(chip):
    """All but prefetches of weights: so each knows that every launch before it has ended."""
    names = ("norm-bf16-1024-sum", "silu-bf16", "append-bf16-bf16-normed", "products-128-1024", "gated-32-1000")
    for case in CASES:
        if case.target == chip and case.name in names:
            text = assembly(case)
            if not overlaps(CHIPS[chip]):
                assert "griddepcontrol" not in text
                continue
            reads = [found.start() for found in re.finditer(r"(ld|st)\.global|cp\.async\.c[ag]|atom\.|red\.", text)]
            assert text.count("griddepcontrol.wait") == text.count("griddepcontrol.launch_dependents") == 1
            assert text.index("griddepcontrol.wait") < min(reads)


@pytest.mark.parametrize("kernel", ["prefix", "suffix"])
@pytest.mark.parametrize(("dtype", "cache", "weights"), [("bf16", "fp8e4nv", "f16"), ("bf16", "bf16", "bf16"), ("fp32", "fp8e5", "f32")])  # fmt: skip
def test_weights_are_as_precise_as_what_they_weigh_allows(kernel, dtype, cache, weights):
    """Over a float8 cache in float16: in bfloat16 their rounding alone is 1.15e-3 to 1.45e-3 of the result, 1.6e-4 so."""
    size = 4 if dtype == "fp32" else 2
    launch = prefix_launch("hopper", 64, 64, size, 1) if kernel == "prefix" else suffix_launch("hopper", 4, 64, size, 1)
    text = intermediate(attention_case(kernel, "sm_90", dtype, 64, launch, cache=cache))
    products = re.findall(r"tt\.dot .* : tensor<\S+x(\w+)> \* tensor<\S+x(\w+)> ->", text)
    of_queries = "f32" if dtype == "fp32" else "bf16"
    assert set(products) == {(of_queries, of_queries), (weights, weights)}


#: Quotients and exponentials that the chip approximates by itself; fp32's tests hold on a GPU only without them.
ROUGH = r"div\.(?:full|approx)\S*|lg2\.approx\S*"


@pytest.mark.parametrize("name", ["silu-fp32", "norm-fp32-1024", "norm-fp32-1024-sum", "append-fp32-fp32-normed"])
def test_blocks_in_fp32_are_rounded_as_their_tests_assume(name):
    """A root is taken by the instruction that PyTorch's own takes, so that norms differ by the order of a sum alone."""
    text = assembly(next(case for case in cases("sm_90") if case.name == name))
    assert not re.findall(ROUGH, text)
    if name.startswith("silu"):  # powers of two of whole numbers, and of what is left of at most a half
        assert text.count("ex2.approx") == 2 * text.count("div.rn.f32") > 0
        assert re.search(r"cvt\.rmi\S*\.f32\.f32", text)
    else:
        assert text.count("rsqrt.approx.ftz.f32") > 0


@pytest.mark.parametrize("kernel", ["prefix", "suffix"])
def test_overlapping_changes_no_operation(kernel):
    """But for the one instruction the program is the same, in the same order: so is every bit of its results."""
    launch = prefix_launch("hopper", 64, 64, 2) if kernel == "prefix" else suffix_launch("hopper", 4, 64, 2, 2)
    texts = []
    for overlap in (False, True):
        text = intermediate(attention_case(kernel, "sm_90", "bf16", 64, launch, OVERLAP=overlap))
        text = "\n".join(line for line in text.splitlines() if not line.startswith("#loc"))
        texts.append(re.sub(r"%[\w#:]+|loc\(.*?\)+|\s+", " ", re.sub(r".*(griddepcontrol|grid_dep|gdc).*\n", "", text)))
    plain, overlapping = (re.sub(" +", " ", text) for text in texts)
    assert plain == overlapping


#: Instructions of all warps per 64 tokens of the loop over blocks, for bf16 heads of 128 on sm_90: the most that Triton
#: 3.6 and 3.9 gave when the loop was last worked on. Tensor cores need 512 clocks for a tile of 64; nothing else that
#: can be seen without a GPU predicts the rate, and on an H100 the suffix kernel's time follows them.
MOST = {"prefix-m16": 1520, "prefix-m64": 1804, "prefix-m128": 2560, "suffix": 986, "suffix-fp8": 2756}


@pytest.mark.parametrize("name", MOST)
def test_instructions_of_the_loop(name):
    kernel, _, tile = name.partition("-")
    if kernel == "prefix":
        case = attention_case("prefix", "sm_90", "bf16", 128, prefix_launch("hopper", int(tile[1:]), 128, 2))
    else:
        cache = "fp8e4nv" if tile else None
        launch = suffix_launch("hopper", 4, 128, 2, 1 if tile else 2)
        case = attention_case("suffix", "sm_90", "bf16", 128, launch, cache=cache)
    assert loop_instructions(build(case)) * case.num_warps * 64 // case.constants["BLOCK_N"] <= MOST[name]


#: Instructions of whole kernels per warp and 512 tokens, on sm_90: the most that Triton 3.6 and 3.9 gave when they were
#: last worked on.
MOST_OF_SAMPLING = {
    "scan-fp32": 535, "scan-fp32-even": 500, "scan-fp32-odd": 620,
    "scan-bf16": 575, "scan-bf16-even": 540, "scan-bf16-odd": 675,
    "verify-1-fp32": 455, "verify-1-fp32-even": 420, "verify-1-fp32-odd": 440,
    "verify-1-bf16": 480, "verify-1-bf16-even": 440, "verify-1-bf16-odd": 455,
}  # fmt: skip


@pytest.mark.parametrize("name", MOST_OF_SAMPLING)
def test_instructions_and_loads_of_the_sampler(name):
    case = next(case for case in cases("sm_90") if case.name == f"sample-{name}")
    words = [words for _, words in program(build(case))]
    per_warp = 4 * case.constants["QUADS"] / case.num_warps
    assert len(words) <= MOST_OF_SAMPLING[name] * per_warp / 512
    # Rows that begin on borders of 16 bytes are read four tokens at a time, whatever the vocabulary; others one by one.
    wide = "LDG.E.128" if "fp32" in name else "LDG.E.64"
    loads = sum(word.startswith(wide) for word in words)
    times = 2 if name.startswith("scan") else 1  # a program's first chunk, and within the loop the next
    assert loads * 4 * 32 >= times * per_warp * ("odd" not in name)
