"""Random scripts of socket calls do the same with and without a supervisor that allows everything: results, errnos, addresses, data.

A failure names a seed; `XDPSIM_FUZZ_PROGRAMS=2000 XDPSIM_FUZZ_SEED=1` makes a run longer or different.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final

import pytest

from netdev.interpose import InterposeLoops, SocketCall
from tests.support.interposed import BOTH, ROOT, Script, supervise

pytestmark = ROOT

SCRIPTS: Final = int(os.environ.get("XDPSIM_FUZZ_PROGRAMS", "240")) // 2
SEED: Final = int(os.environ.get("XDPSIM_FUZZ_SEED", "0"))
C = SocketCall

RUNNER = r"""
import ctypes, errno, fcntl, os, random, socket, struct, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
first, last, threaded = map(int, sys.argv[1:])
def result(r): return r if r >= 0 else errno.errorcode.get(ctypes.get_errno(), ctypes.get_errno())
def four(address, port): return struct.pack("=H", 2) + struct.pack(">H4s8x", port, socket.inet_aton(address))
def six(address, port): return struct.pack("=H", 10) + struct.pack(">HI16sI", port, 0, socket.inet_pton(10, address), 0)
class Run:
    def __init__(self, seed):
        self.draw = random.Random(seed); self.seed = seed; self.sockets = []; self.ports = {}; self.log = []
    def name(self, raw):
        # ports that the kernel chose are told by the order in which they are seen
        if len(raw) >= 8 and raw[0] in (2, 10):
            port = int.from_bytes(raw[2:4], "big"); return raw[:2] + b"%d" % self.ports.setdefault(port, len(self.ports)) + raw[4:]
        return raw
    def address(self):
        d = self.draw; known = [p for p in self.ports if p] or [9]
        port = d.choice([0, 9, 9, d.choice(known), d.choice(known)])
        host = d.choice(["127.0.0.1", "127.0.0.2", "0.0.0.0", "255.255.255.255", "224.0.0.1"])
        other = d.choice(["::1", "::ffff:127.0.0.1", "::", "::ffff:127.0.0.2"])
        made = d.choice([four(host, port), four("127.0.0.1", port), six(other, port), six("::1", port), struct.pack("=H14x", 0), struct.pack("=H", 1) + b"\0x"])
        return made, d.choice([len(made)] * 8 + [0, 1, 2, 8, 16, 24, 28, 129, -1])
    def fd(self, call):
        # of what is wrong in two ways, the order in which it is found may differ: /dev/null only where nothing else can be wrong
        odd = [self.null] if call in ("listen", "names", "option", "shutdown") else []
        return self.draw.choice([s.fileno() for s in self.sockets] * 6 + [999, -1, *odd])
    def step(self):
        d = self.draw
        call = d.choice("socket socket bind bind connect connect connect listen accept sendto sendto sendmsg sendmmsg names names recv recv option shutdown pair close".split())
        if call == "socket" or not self.sockets:
            kind = d.choice([(2, 1), (2, 2), (10, 1), (10, 2), (2, 1), (2, 2)])
            s = socket.socket(*kind); s.setblocking(False); self.sockets.append(s); return ("socket", kind)
        if call == "pair":
            pair = socket.socketpair(socket.AF_UNIX, d.choice([1, 2]))
            for each in pair: each.setblocking(False)
            self.sockets += pair; return ("pair",)
        fd = self.fd(call)
        if call in ("bind", "connect"):
            a, n = self.address(); return (call, self.name(a), n, result(getattr(libc, call)(fd, a.ljust(160, b"\0"), n)))
        if call == "listen": return (call, result(libc.listen(fd, d.choice([0, 1, 5, -1]))))
        if call == "accept":
            buffer = ctypes.create_string_buffer(128); size = ctypes.c_int(d.choice([128, 16, 4, 0, -1])); flags = d.choice([2048, 2048, 2048 | 0o2000000, 7])
            wants = d.choice([True, False])
            r = result(libc.accept4(fd, buffer if wants else None, ctypes.byref(size) if wants else None, flags))
            if isinstance(r, int): s = socket.socket(fileno=r); self.sockets.append(s); r = ("got", fcntl.fcntl(s, 1), s.gettimeout())
            return (call, flags, r, size.value, self.name(buffer.raw[:max(min(size.value, 28), 0)]) if size.value >= 8 else b"")
        data = d.choice([b"", b"x", b"data" * 100, bytes(65507), bytes(65508), bytes(70000)]); flags = d.choice([0, 0, 0x40, 0x4000, 1, 0x8000])
        if call == "sendto":
            a, n = self.address(); none = d.random() < 0.3
            r = result(libc.sendto(fd, data, len(data), flags | 0x4040, None if none else a.ljust(160, b"\0"), n)); return (call, len(data), flags, none or self.name(a), n, r)
        if call in ("sendmsg", "sendmmsg"):
            a, n = self.address(); none = d.random() < 0.3; name = ctypes.create_string_buffer(a, 160); body = ctypes.create_string_buffer(data, len(data) or 1)
            half = len(data) // 2; base = ctypes.addressof(body)
            vector = ctypes.create_string_buffer(struct.pack("=QQQQ", base, half, base + half, len(data) - half), 32)
            control = ctypes.create_string_buffer(d.choice([b"", struct.pack("=QII4s4s4s4x", 28, 0, 8, bytes(4), bytes([127, 0, 0, 1]), bytes(4)), b"\0" * 16, struct.pack("=QIIi4x", 20, 1, 1, self.null), struct.pack("=QIIi4x", 20, 1, 1, 999)]))
            header = struct.pack("=QI4xQQQQi4x", 0 if none else ctypes.addressof(name), n & 0xFFFFFFFF, ctypes.addressof(vector), d.choice([2, 2, 1, 0]), ctypes.addressof(control), len(control) - 1, 0)
            if call == "sendmsg": return (call, len(data), n, none or self.name(a), control.raw, result(libc.sendmsg(fd, header, flags | 0x4040)))
            array = ctypes.create_string_buffer((header + bytes(8)) * 3, 192)
            return (call, len(data), n, none or self.name(a), result(libc.sendmmsg(fd, array, d.choice([0, 1, 3]), flags | 0x4040)), [array.raw[k * 64 + 56:k * 64 + 60] for k in range(3)])
        if call == "names":
            found = []
            for ask in (libc.getsockname, libc.getpeername):
                buffer = ctypes.create_string_buffer(128); size = ctypes.c_int(d.choice([128, 16, 8, 0])); r = result(ask(fd, buffer, ctypes.byref(size)))
                found.append((r, size.value, self.name(buffer.raw[:28]) if size.value <= 28 else b""))
            return (call, *found)
        if call == "recv":
            buffer = ctypes.create_string_buffer(70000); name = ctypes.create_string_buffer(128); size = ctypes.c_int(d.choice([128, 16, 2]))
            r = result(libc.recvfrom(fd, buffer, d.choice([70000, 1, 0]), 0x40 | d.choice([0, 2, 0x20]), name, ctypes.byref(size)))
            return (call, r, size.value, hash(buffer.raw[:r]) if isinstance(r, int) else 0, self.name(name.raw[:28]))
        if call == "option":
            level, what, value = d.choice([(1, 2, 1), (1, 15, 1), (41, 26, 1), (41, 26, 0), (1, 6, 1), (0, 8, 1), (6, 30, 1)])
            return (call, what, result(libc.setsockopt(fd, level, what, struct.pack("i", value), 4)))
        if call == "shutdown": return (call, result(libc.shutdown(fd, d.choice([0, 1, 2]))))
        s = d.choice(self.sockets); self.sockets.remove(s); s.close(); return ("close",)
    def run(self):
        self.null = os.open("/dev/null", os.O_RDONLY)
        for _ in range(40): self.log.append(self.step())
        for s in self.sockets: s.close()
        os.close(self.null)
if threaded: threading.Thread(target=threading.Event().wait, daemon=True).start()
for seed in range(first, last):
    run = Run(seed); run.run()
    for number, line in enumerate(run.log): print(seed, number, line)
sys.stdout.flush(); os._exit(0)
"""


def _logs(out: str) -> dict[str, list[str]]:
    logs: dict[str, list[str]] = {}
    for line in out.splitlines():
        logs.setdefault(line.partition(" ")[0], []).append(line)
    return logs


def _command(first: int, last: int, threads: int) -> list[str]:
    return ["env", "PYTHONHASHSEED=0", sys.executable, "-S", "-c", RUNNER, str(first), str(last), str(threads)]


def _plain(first: int, last: int, threads: int) -> dict[str, list[str]]:
    command = _command(first, last, threads)
    return _logs(subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout)


def _supervised(loops: InterposeLoops, first: int, last: int, threads: int) -> dict[str, list[str]]:
    policy = Script(*(call for call in C if call < C.RECVMSG))
    ended = supervise(policy, loops, _command(first, last, threads), timeout=600)
    assert ended.failures == []
    return _logs(ended.out)


def _is_like_one(loops: InterposeLoops, seed: int, threads: int) -> bool:
    """Whether a script, whose ports the kernel chooses, ends under supervision as it ends without it at times."""
    plain = [_plain(seed, seed + 1, threads) for _ in range(8)]
    return any(_supervised(loops, seed, seed + 1, threads) in plain for _ in range(8))


@BOTH
@pytest.mark.parametrize("threads", [0, 1], ids=["alone", "threads"])
def test_supervision_changes_nothing(loops: InterposeLoops, threads: int) -> None:
    """Every line of every script is the same: with one thread, and with two, where nothing can be left to the kernel."""
    plain = _plain(SEED, SEED + SCRIPTS, threads)
    supervised = _supervised(loops, SEED, SEED + SCRIPTS, threads)
    assert plain.keys() == supervised.keys()
    for seed, lines in plain.items():
        if lines != supervised[seed] and not _is_like_one(loops, int(seed), threads):
            pairs = zip(lines, supervised[seed], strict=True)
            pytest.fail(f"seed {seed}: {next((a, b) for a, b in pairs if a != b)}")
