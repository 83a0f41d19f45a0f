"""Talking to a keeper over its socket."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import DeviceError, InputError
from xdp.live.control import LONGEST, KeeperError, Server, ask, conversation


def _describe(error: Exception) -> dict[str, Any]:
    return {"error": str(error), "code": 3, "fields": {"kind": type(error).__name__}}


def _handle(request: Mapping[str, Any]) -> Mapping[str, Any]:
    match request["do"]:
        case "echo":
            return {"said": request["text"]}
        case "wait":
            threading.Event().wait(1.5)
            return {}
        case "nap":
            threading.Event().wait(0.3)
            return {"slept": True}
        case _:
            raise InputError(f"no {request['do']!r} here")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / ("long-" * 20)  # longer than a socket's address
    folder.mkdir()
    path = folder / "7.sock"
    made = Server(path, _handle, _describe)
    yield path
    made.close()


def test_a_request_is_answered(server: Path) -> None:
    """One line there, one line back, also where the path is longer than a socket address."""
    assert ask(server, "echo", text="hello\nworld") == {"said": "hello\nworld"}


def test_a_conversation_has_several_requests(server: Path) -> None:
    """One connection serves many requests, and a refusal does not end it."""
    with conversation(server) as say:
        assert say("echo", text="1") == {"said": "1"}
        with pytest.raises(KeeperError, match="no 'fly' here") as caught:
            say("fly")
        assert (caught.value.code, caught.value.fields) == (3, {"kind": "InputError"})
        assert say("echo", text="2") == {"said": "2"}


def test_a_slow_request_does_not_hold_up_others(server: Path) -> None:
    """Connections are served side by side, and who waits too long is told."""
    with pytest.raises(DeviceError, match="did not answer 'wait'"):
        ask(server, "wait", seconds=0.2)
    assert ask(server, "echo", text="1") == {"said": "1"}


@pytest.mark.parametrize("line", [b"{\n", b"[]\n", b"\xff\n", b"x" * (LONGEST + 1)])
def test_bad_lines_are_refused(server: Path, line: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no request gets an error, not silence, and the server stays."""
    monkeypatch.chdir(server.parent)
    with socket.socket(socket.AF_UNIX) as stream, stream.makefile("rb") as lines:
        stream.connect(server.name)
        stream.sendall(line)
        answer = json.loads(lines.readline())
    assert answer["code"] == 2
    assert ask(server, "echo", text="1") == {"said": "1"}


def test_a_dead_keeper_gives_a_clear_line(tmp_path: Path) -> None:
    """No socket, and a socket that nobody listens on, read the same."""
    with pytest.raises(DeviceError, match="attachment 3: its keeper is gone"):
        ask(tmp_path / "3.sock", "status")
    stream = socket.socket(socket.AF_UNIX)
    stream.bind(str(tmp_path / "4.sock"))
    stream.close()
    with pytest.raises(DeviceError, match="attachment 4: its keeper is gone"):
        ask(tmp_path / "4.sock", "status")


def test_a_keeper_that_ends_in_the_middle_is_told(tmp_path: Path) -> None:
    """A connection that closes without an answer is an error with the request's name."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "5.sock"))
    listener.listen()

    def hang_up() -> None:
        listener.accept()[0].close()

    threading.Thread(target=hang_up).start()
    with pytest.raises(DeviceError, match="attachment 5: its keeper ended before it answered 'status'"):
        ask(tmp_path / "5.sock", "status")
    listener.close()


def test_the_socket_goes_with_the_server(tmp_path: Path) -> None:
    """After close nothing is left to connect to."""
    path = tmp_path / "1.sock"
    Server(path, _handle, _describe).close()
    assert not path.exists()


def test_who_was_heard_is_answered_before_the_end(tmp_path: Path) -> None:
    """Close waits for requests under way, so the one that asked for the end hears of it."""
    server = Server(tmp_path / "1.sock", _handle, _describe)
    heard: list[dict[str, Any]] = []
    asking = threading.Thread(target=lambda: heard.append(ask(tmp_path / "1.sock", "nap")))
    asking.start()
    threading.Event().wait(0.1)
    server.close()
    asking.join(2)
    assert heard == [{"slept": True}]
