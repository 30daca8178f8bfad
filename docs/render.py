"""Refresh the output blocks of README.md and docs/*.md: run every command and code block, write down what it prints.

    python docs/render.py          rewrite
    python docs/render.py --check  fail if anything changed

A block marked ``console`` holds commands (``$ t2fast ...``) with their output; a ``text`` block holds the output of the
``python`` block before it. Commands that install or run the tests are left as they are.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


#: What differs between processors: residues of rounding, the steps it took to reach them, time and memory.
VARIES = re.compile(r"gradient [-+.\de]+|after \d+ Newton steps|[.\d]+ s +[.\d]+k? tokens/s|[.\d]+ GB")


def settled(text: str) -> str:
    """A page without what differs between processors."""
    return VARIES.sub("*", text)


def pages() -> list[Path]:
    """The pages whose blocks are run."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def run_command(command: str, folder: Path) -> str:
    """What a command prints, standard error after standard output."""
    arguments = shlex.split(command)
    program = [sys.executable, "-m", "t2fast"] if arguments[0] == "t2fast" else arguments[:1]
    done = subprocess.run(
        [*program, *arguments[1:]],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"COLUMNS": "80", "NO_COLOR": "1"},
    )
    return done.stdout + done.stderr


def run_console(body: str, folder: Path) -> str:
    """A console block with its output made anew."""
    lines = []
    for line in body.splitlines():
        if line.startswith("$ "):
            command = line[2:]
            # Installing is what the reader does first; here it has been done.
            shown = command.split("&& ")[-1] if command.startswith("pip install") else command
            lines.append(line)
            if shown.startswith("t2fast "):
                lines.extend(run_command(shown, folder).rstrip("\n").splitlines())
    return "\n".join(lines) + "\n"


def run_python(body: str, names: dict[str, object], folder: Path) -> str:
    """What a code block prints; its names stay for the page's next block."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.chdir(folder):
        exec(compile(body, "<page>", "exec"), names)
    return printed.getvalue()


def render(page: Path, folder: Path) -> str:
    """The page with every output made anew; files that its blocks write go to ``folder``."""
    names: dict[str, object] = {}
    printed = ""

    def block(match: re.Match[str]) -> str:
        nonlocal printed
        kind, body = match.groups()
        if kind == "console":
            body = run_console(body, folder)
        elif kind == "python":
            printed = run_python(body, names, folder)
        elif kind == "text":
            body = printed
        return f"```{kind}\n{body}```"

    return BLOCK.sub(block, page.read_text(encoding="utf-8"))


def main() -> None:
    """Rewrite the pages, or check them."""
    import tempfile

    stale = []
    for page in pages():
        with tempfile.TemporaryDirectory() as folder:
            text = render(page, Path(folder))
        if settled(text) != settled(page.read_text(encoding="utf-8")):
            stale.append(page.name)
            if "--check" not in sys.argv:
                page.write_text(text, encoding="utf-8")
    print(f"changed: {', '.join(stale) or 'nothing'}")
    sys.exit("--check" in sys.argv and bool(stale))


if __name__ == "__main__":
    main()
