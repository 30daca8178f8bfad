"""Compile kernels for chips that are not here, and read what the compilers say about them."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
#: Shared memory that one program may use, in bytes.
SHARED = {"sm_80": 163 * 1024, "sm_90": 227 * 1024, "gfx942": 64 * 1024}
CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"


@dataclass(frozen=True)
class Case:
    """One shipped configuration of a kernel.

    ``types`` gives Triton types of the arguments ("*bf16", "i32"); an argument in ``constants`` is a constant, None included.
    Pointers and strides are multiples of 16 bytes and elements, as a serving stack's are.
    """

    name: str
    target: str
    kernel: Any
    types: dict[str, str]
    constants: dict[str, Any]
    num_warps: int
    num_stages: int
    needs: str | None = None  #: an instruction that must be there: "wgmma", "mma"
    registers: int = 255  #: at most this many per thread
    multiples: frozenset[str] = frozenset()  #: further integers known to be multiples of 16
    anything: frozenset[str] = frozenset()  #: strides not known to be

    def __str__(self) -> str:
        return f"{self.target}-{self.name}"


@dataclass(frozen=True)
class Built:
    """What a compiled kernel needs."""

    registers: int
    spilled: int
    shared: int
    instructions: dict[str, int] = field(default_factory=dict)
    cubin: bytes = b""


def intermediate(case: Case) -> str:
    """``case`` in Triton's own language, before anything depends on the chip."""
    return str(_compiled(case).asm["ttir"])


def assembly(case: Case) -> str:
    """``case`` in the chip's assembly language."""
    asm = _compiled(case).asm
    return str(asm["ptx"] if "ptx" in asm else asm["amdgcn"])


def _compiled(case: Case) -> Any:
    names = case.kernel.arg_names
    signature = {name: "constexpr" if name in case.constants else case.types[name] for name in names}
    aligned = {
        (i,): [["tt.divisibility", 16]]
        for i, name in enumerate(names)
        if not case.kernel.params[i].do_not_specialize
        and name not in case.anything
        and (
            signature[name].startswith("*")
            or name in case.multiples
            or ("stride" in name and signature[name] != "constexpr")
        )
    }
    source = ASTSource(
        fn=case.kernel,
        signature=signature,
        constexprs={(names.index(name),): value for name, value in case.constants.items()},
        attrs=aligned,
    )
    options = {"num_warps": case.num_warps, "num_stages": case.num_stages}
    return triton.compile(source, target=TARGETS[case.target], options=options)


def build(case: Case) -> Built:
    """Compile ``case`` for its target."""
    compiled = _compiled(case)
    shared = compiled.metadata.shared
    if "cubin" not in compiled.asm:
        text = compiled.asm["amdgcn"]
        told = {key: int(value) for key, value in re.findall(r"\.(\w+):\s+(\d+)\s*$", text, re.MULTILINE)}
        # Scalar registers spill into lanes of vector registers, never to memory.
        spilled = told["vgpr_spill_count"] + told["private_segment_fixed_size"]
        return Built(told["vgpr_count"], spilled, shared, {"mma": text.count("v_mfma")})
    told = _dump(compiled.asm["cubin"], "--dump-resource-usage")
    registers, stack, local = (int(re.search(rf"{key}:(\d+)", told)[1]) for key in ("REG", "STACK", "LOCAL"))
    ptx = compiled.asm["ptx"]
    counts = {"wgmma": ptx.count("wgmma.mma_async"), "mma": ptx.count("mma.sync"), "cp.async": ptx.count("cp.async.c")}
    counts["ld.v4"] = len(re.findall(r"ld\.global[^;]*\.v4", ptx))
    return Built(registers, stack + local, shared, counts, compiled.asm["cubin"])


def _dump(cubin: bytes, what: str) -> str:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        return subprocess.run([CUOBJDUMP, what, file.name], capture_output=True, text=True, check=True).stdout


def program(built: Built) -> list[tuple[int, str]]:
    """Places and words of a kernel's machine instructions, without what fills it up."""
    found = re.findall(r"/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+ )?([A-Z][^;]*);", _dump(built.cubin, "--dump-sass"))
    return [(int(at, 16), words) for at, words in found if not words.startswith("NOP")]


def loop_instructions(built: Built) -> int:
    """Machine instructions in the loop over blocks: the shortest backward branch around products on tensor cores."""
    code = program(built)
    loops = []
    for at, words in code:
        to = re.match(r"BRA\S* .*?0x([0-9a-f]+)", words)
        if to and int(to[1], 16) < at:
            body = [inside for place, inside in code if int(to[1], 16) <= place <= at]
            loops += [len(body)] * any("MMA." in inside for inside in body)
    return min(loops)
