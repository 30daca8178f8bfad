"""The command line in a process of its own, as a user starts it."""

import json
import os
import subprocess
import sys

#: The program and what starts it.
PROGRAM = (sys.executable, "-m", "t2fast")


def t2fast(*arguments, cwd=None):
    """Run a command to its end; tables are 80 columns wide and without colours."""
    environment = os.environ | {"COLUMNS": "80", "NO_COLOR": "1"}
    command = [*PROGRAM, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=environment)


def data(*arguments):
    """What a command prints with ``--json``."""
    done = t2fast(*arguments, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def line_with(process, words):
    """What a program says next on stderr with these words; others' warnings may come before it."""
    said = []
    for line in process.stderr:
        said.append(line)
        if words in line:
            return line
    raise AssertionError("".join(said))
