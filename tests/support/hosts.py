"""Hosts on this machine: each has its own network address, processes and name, and a Ray node if asked for.

They share the disk, as the machines of a cluster share a file system, but for the folder in which Ray keeps its
sockets. Needs root, ip (iproute2), setpriv, unshare and nsenter (util-linux).
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Before a command: it ends with this process.
_TIED = ["setpriv", "--pdeathsig", "KILL"]
RAY = [sys.executable, "-m", "ray.scripts.scripts"]


def missing():
    """Why there can be no hosts here; empty if there can."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "needs root, for namespaces of networks and processes"
    for program in ("ip", "setpriv", "unshare", "nsenter"):
        if shutil.which(program) is None:
            return f"needs {program}"
    tried = subprocess.run(["unshare", "-nmpu", "--fork", "--mount-proc", "true"], capture_output=True, text=True)
    return f"no namespaces: {tried.stderr.strip()}" if tried.returncode else ""


def _ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


class Hosts:
    """As many hosts as are named by number, made when first asked for; one that was killed is made anew."""

    def __init__(self):
        self._key = secrets.token_hex(3)
        self._bridge = f"t2b{self._key}"
        #: The program that holds each host's namespaces, and its first process, with which all of a host's end.
        self._made = {}
        #: What holds the networks of hosts that were killed.
        self._kept = {}
        self._started = []
        # Sockets lie here: their paths must be short.
        self.folder = Path(tempfile.mkdtemp(prefix="t2ray"))
        # Nodes refuse each other without a token in common.
        token = self.folder / "token"
        token.write_text(secrets.token_hex(32))
        token.chmod(0o600)
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.environment = os.environ | {
            "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
        }  # fmt: skip
        _ip("link", "add", self._bridge, "type", "bridge")
        _ip("link", "set", self._bridge, "up")

    def address(self, host):
        return f"10.77.0.{host}"

    def _first(self, host):
        """A host's first process."""
        if host not in self._made:
            self._forget(host)
            own, there = self.folder / f"disk{host}", self.folder / "ray"
            shutil.rmtree(own, ignore_errors=True)
            own.mkdir()
            there.mkdir(exist_ok=True)
            stay = f"hostname host{host}; mount --bind {own} {there} && echo there && exec sleep infinity"
            words = [*_TIED, "unshare", "-nmpu", "--fork", "--kill-child", "--mount-proc", "sh", "-c", stay]
            holder = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
            self._made[host] = (holder, None)
            assert holder.stdout.readline() == "there\n"
            first = int(Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()[0])
            self._made[host] = (holder, first)
            cable = self._cable(host)
            _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", str(first))
            _ip("link", "set", cable, "master", self._bridge, "up")
            # Nothing answers beyond the bridge; Ray asks which address it would send from.
            inside = f"ip link set lo up; ip link set eth0 up; ip addr add {self.address(host)}/24 dev eth0"
            self._enter(host, ["sh", "-ec", f"{inside}; ip route add default dev eth0"]).wait()
        return self._made[host][1]

    def _cable(self, host):
        return f"t2v{self._key}{host}"

    def _enter(self, host, command, cwd="/", **more):
        words = ["nsenter", "-t", str(self._first(host)), "-n", "-m", "-p", "-u"]
        return subprocess.Popen([*words, "sh", "-c", 'cd "$0" && exec "$@"', cwd, *map(str, command)], **more)

    def begin(self, host, command, environment=(), **more):
        """Start a program on a host."""
        process = self._enter(
            host, command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=self.environment | dict(environment), **more,
        )  # fmt: skip
        self._started.append(process)
        return process

    def run(self, host, command, timeout=240, **more):
        """Run a program on a host to its end: exit code, and what it said."""
        process = self.begin(host, command, **more)
        said, _ = process.communicate(timeout=timeout)
        return process.returncode, said

    def head(self, host, port=6399, cpus=1):
        """A Ray head; its address."""
        options = ["--head", "--port", port, "--include-dashboard", "false", "--temp-dir", self.folder / "ray"]
        self._nodes([host], options, cpus)
        return f"{self.address(host)}:{port}"

    def join(self, head, *hosts, cpus=1):
        """Ray nodes, all at once."""
        self._nodes(hosts, ["--address", head], cpus)

    def _nodes(self, hosts, options, cpus):
        for attempt in range(4):
            begun = [(host, self._node(host, options, cpus)) for host in hosts]
            said = {host: process.communicate(timeout=120)[0] for host, process in begun}
            hosts = [host for host, process in begun if process.returncode]
            if not hosts:
                return
            # Ray gives a node 30 seconds to start, which a busy machine may not have.
            assert attempt < 3, said[hosts[0]]
            for host in hosts:
                self.kill(host)

    def _node(self, host, options, cpus):
        shared = ["--node-ip-address", self.address(host), "--num-cpus", cpus, "--object-store-memory", 80_000_000]
        # From a folder where nothing lies, so that no relative path works by chance.
        return self.begin(host, [*RAY, "start", *shared, *options], cwd=self.folder)

    def kill(self, host):
        """End all that runs on a host, without a word to anyone; its network stays and refuses connections. The time."""
        holder, first = self._made.pop(host)
        if first is not None:
            keeper = subprocess.Popen([*_TIED, "nsenter", "-t", str(first), "-n", "sleep", "infinity"])
            self._kept[host] = keeper
            while os.readlink(f"/proc/{keeper.pid}/ns/net") != os.readlink(f"/proc/{first}/ns/net"):
                time.sleep(0.01)
        at = time.time()
        if first is not None:
            os.kill(first, signal.SIGKILL)
        holder.kill()
        holder.wait()
        holder.stdout.close()
        return at

    def _forget(self, host):
        """End the network of a host that was killed."""
        if host in self._kept:
            keeper = self._kept.pop(host)
            keeper.kill()
            keeper.wait()
            # Its end goes with the network, in its own time.
            subprocess.run(["ip", "link", "del", self._cable(host)], capture_output=True)

    def unplug(self, host):
        """Cut a host's cable; the time."""
        at = time.time()
        _ip("link", "set", self._cable(host), "down")
        return at

    def close(self):
        for host in list(self._made):
            self.kill(host)
        for host in list(self._kept):
            self._forget(host)
        for process in self._started:
            process.wait(timeout=30)
            process.stdout.close()
        _ip("link", "del", self._bridge)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
