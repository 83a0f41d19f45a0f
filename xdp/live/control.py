"""Talking to a keeper: a Unix socket per attachment, one JSON document a line each way.

    → {"do": "status" | "stats" | "replace" | "insert" | "remove" | "detach" | "confirm", …}
    ← {"ok": {…}}  or  {"error": "one line", "code": exit code, "fields": {…}}

Not here: what the requests do (keeper.py).
"""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, final

from runtime.errors import DeviceError, XdpsimError

__all__ = ["LONGEST", "KeeperError", "Server", "ask", "conversation"]

LONGEST: Final = 1 << 20  # bytes of a line; objects go by file
_IDLE: Final = 600.0  # seconds that a connection may say nothing
_CONNECTIONS: Final = 32
_GRACE: Final = 1.0  # seconds for requests under way when the end comes
_CREDENTIALS: Final = struct.Struct("3i")

Answer = Mapping[str, Any]


@final
class KeeperError(XdpsimError):
    """What a keeper answers instead of doing it: its line, the exit code that goes with it, and what else it said."""

    def __init__(self, message: str, *, code: int, fields: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.fields = dict(fields or {})


def ask(path: Path, do: str, *, seconds: float = 5.0, **fields: Any) -> dict[str, Any]:
    """One request to the keeper behind the socket at `path`; returns what it says.

    Raises KeeperError with the keeper's own line, DeviceError when nobody answers within `seconds`.
    """
    with conversation(path, seconds=seconds) as say:
        return say(do, **fields)


@contextmanager
def conversation(path: Path, *, seconds: float = 5.0) -> Iterator[Callable[..., dict[str, Any]]]:
    """Several requests over one connection: a function (do, **fields) → answer."""
    try:
        stream = _connected(path, seconds)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise DeviceError(f"attachment {path.stem}: its keeper is gone") from error
    except TimeoutError as error:
        raise DeviceError(f"attachment {path.stem}: its keeper does not answer") from error
    except OSError as error:
        raise DeviceError(f"{path}: {error.strerror}") from error
    with stream, stream.makefile("rb") as lines:

        def say(do: str, **fields: Any) -> dict[str, Any]:
            return _exchange(stream, lines, path, {"do": do, **fields})

        yield say


def _exchange(stream: socket.socket, lines: Any, path: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    name = f"attachment {path.stem}"
    try:
        stream.sendall(json.dumps(request).encode() + b"\n")
        line = lines.readline()
    except TimeoutError as error:
        raise DeviceError(
            f"{name}: its keeper did not answer {request['do']!r} in {stream.gettimeout():g} s"
        ) from error
    except OSError as error:
        raise DeviceError(f"{name}: its keeper ended before it answered {request['do']!r}") from error
    if not line.endswith(b"\n"):
        raise DeviceError(f"{name}: its keeper ended before it answered {request['do']!r}")
    answer = json.loads(line)
    if "ok" in answer:
        ok: dict[str, Any] = answer["ok"]
        return ok
    raise KeeperError(
        str(answer.get("error", "refused")), code=int(answer.get("code", 4)), fields=answer.get("fields", {})
    )


def _connected(path: Path, seconds: float) -> socket.socket:
    """A connection; through the folder's descriptor, because socket paths end at 107 bytes."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        stream.settimeout(seconds)
        stream.connect(f"/proc/self/fd/{folder}/{path.name}")
    except OSError:
        stream.close()
        raise
    finally:
        os.close(folder)
    return stream


@final
class Server:
    """The keeper's end: answers requests with `handle`, each connection in a thread of its own.

    `handle(request)` returns what follows "ok"; what it raises goes through `describe(error) → {"error", "code", "fields"}`.
    """

    def __init__(
        self,
        path: Path,
        handle: Callable[[Mapping[str, Any]], Answer],
        describe: Callable[[Exception], dict[str, Any]],
    ) -> None:
        self._path = path
        self._handle = handle
        self._describe = describe
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._busy = 0
        self._listener = self._bound()
        self._thread = threading.Thread(target=self._accept, name="control", daemon=True)
        self._thread.start()

    def _bound(self) -> socket.socket:
        self._path.unlink(missing_ok=True)
        folder = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(f"/proc/self/fd/{folder}/{self._path.name}")
            self._path.chmod(0o600)
            listener.listen(_CONNECTIONS)
        except OSError as error:
            listener.close()
            raise DeviceError(f"{self._path}: {error.strerror}") from error
        finally:
            os.close(folder)
        return listener

    def _accept(self) -> None:
        while True:
            try:
                stream, _ = self._listener.accept()
            except OSError:  # closed
                return
            with self._lock:
                crowded = len(self._open) >= _CONNECTIONS
                if not crowded:
                    self._open.add(stream)
            if crowded or not _ours(stream):
                self._forget(stream)
                continue
            threading.Thread(target=self._serve, args=(stream,), name="control-connection", daemon=True).start()

    def _serve(self, stream: socket.socket) -> None:
        stream.settimeout(_IDLE)
        with closing(stream), suppress(OSError), stream.makefile("rb") as lines:
            while line := lines.readline(LONGEST):
                with self._at_work():
                    stream.sendall(json.dumps(self._answer(line), default=str).encode() + b"\n")
                if not line.endswith(b"\n"):
                    break
        self._forget(stream)

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        with self._idle:
            self._busy += 1
        try:
            yield
        finally:
            with self._idle:
                self._busy -= 1
                self._idle.notify_all()

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
        except ValueError:
            return {"error": "a request is one JSON document a line", "code": 2}
        if not isinstance(request, dict):
            return {"error": "a request is a JSON object", "code": 2}
        try:
            return {"ok": self._handle(request)}
        except Exception as error:  # noqa: BLE001  whatever it is belongs to who asked, and the keeper goes on
            return self._describe(error)

    def _forget(self, stream: socket.socket) -> None:
        with self._lock:
            self._open.discard(stream)
        stream.close()

    def close(self) -> None:
        """Answer nobody any more; requests under way are answered first for as long as a second."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(_GRACE)
        with self._idle:
            self._idle.wait_for(lambda: self._busy == 0, _GRACE)
        self._path.unlink(missing_ok=True)


def _ours(stream: socket.socket) -> bool:
    """Whether the other end is root or this user."""
    raw = stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return _CREDENTIALS.unpack(raw)[1] in (0, os.geteuid())
