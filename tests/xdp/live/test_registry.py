"""The state folder: records of attachments, numbers, claims."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.errors import DeviceError, InputError
from xdp.live.registry import (
    Attachment,
    LiveMap,
    LiveProgram,
    State,
    bound_log,
    namespace,
    process_lives,
    start_time,
    state_folder,
)


@pytest.fixture
def state(tmp_path: Path) -> State:
    made = State(tmp_path / "run")
    made.prepare()
    return made


def _record(number: int, interface: str = "eth0", **changes: object) -> Attachment:
    record = Attachment(
        id=number,
        pid=os.getpid(),
        started=start_time(os.getpid()),
        netns=namespace(),
        interface=interface,
        ifindex=7,
        mode="inline",
        peer="eth1",
        peer_ifindex=8,
        programs=(LiveProgram(id=3, name="filter", tag="0011223344556677", priority=50, maps=(4,)),),
        maps=(LiveMap(id=4, name="blocked", kind="hash", path="/proc/1/fd/9"),),
    )
    return replace(record, **changes)  # type: ignore[arg-type]


def _dead() -> tuple[int, str]:
    """A process that was there and is no more."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = start_time(process.pid)
    process.communicate(b"\n")
    return process.pid, started


def test_a_record_comes_back_as_it_was_written(state: State) -> None:
    """Write, read, and find by either interface of an inline attachment."""
    record = _record(1)
    state.write(record)
    assert state.all() == (record,)
    assert state.find("eth0") == state.find("eth1") == record
    assert state.get("eth0").program_id == 3


def test_the_folder_is_for_its_owner_only(state: State) -> None:
    """Whoever else looks sees nothing, even when the folder was open before."""
    assert state.folder.stat().st_mode & 0o777 == 0o700
    state.folder.chmod(0o755)
    state.prepare()
    assert state.folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a folder away, which needs root")
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """A trap that another user laid is named, not used."""
    folder = tmp_path / "run"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    with pytest.raises(DeviceError, match="belongs to user 65534"):
        State(folder).prepare()


def test_records_of_dead_keepers_are_removed_by_who_looks(state: State) -> None:
    """A process id that is used again by another process does not revive a record."""
    pid, started = _dead()
    state.write(_record(1, pid=pid, started=started))
    state.write(_record(2, started="1"))
    state.write(_record(3))
    (state.attachments / "1.sock").touch()
    (state.objects / "1").mkdir()
    (state.objects / "1" / "filter.o").touch()
    assert [each.id for each in state.all()] == [3]
    assert sorted(each.name for each in state.attachments.iterdir()) == ["3.json"]
    assert not (state.objects / "1").exists()


def test_burying_names_the_dead(state: State) -> None:
    """What repair reports: the records that had no keeper, once."""
    pid, started = _dead()
    state.write(_record(1, pid=pid, started=started))
    assert [each.id for each in state.bury()] == [1]
    assert state.bury() == ()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"id": 1}', '{"programs": 3}', '{"programs": [1]}'])
def test_a_damaged_record_is_passed_over(state: State, text: str) -> None:
    """A file that is no record hides no other one."""
    (state.attachments / "9.json").write_text(text)
    state.write(_record(1))
    assert [each.id for each in state.all()] == [1]


def test_a_newer_record_is_read_as_far_as_it_is_known(state: State) -> None:
    """Fields that this version does not know are left out."""
    state.write(_record(1))
    path = state.attachments / "1.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "colour": "red"}))
    assert state.all() == (_record(1),)


def test_another_namespace_is_another_interface(state: State) -> None:
    """Interfaces of the same name in two namespaces are two."""
    state.write(_record(1, netns=1))
    assert state.find("eth0") is None
    assert state.find("eth0", 1) == _record(1, netns=1)
    with pytest.raises(InputError, match="nothing is attached to eth0"):
        state.get("eth0")


def test_numbers_are_given_out_once(state: State) -> None:
    """Across attachments, programs and maps; a damaged counter starts again."""
    assert [state.new_id(), state.new_id(3), state.new_id()] == [1, 2, 5]


def test_the_folder_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """$XDPSIM_RUN comes before everything."""
    monkeypatch.setenv("XDPSIM_RUN", "/somewhere")
    assert state_folder() == Path("/somewhere")


def test_a_process_is_known_by_number_and_start() -> None:
    """This process lives; one of the same number that began at another time does not."""
    assert process_lives(os.getpid(), start_time(os.getpid()))
    assert not process_lives(os.getpid(), "1")
    assert not process_lives(0, "")


def test_logs_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest logs of ended attachments stay; a long one goes on in a new file, with one before it."""
    state = State(tmp_path / "run")
    state.prepare()
    for number in range(1, 101):
        (state.attachments / f"{number}.log").write_text("said")
    state.tidy()
    kept = sorted(int(each.stem) for each in state.attachments.glob("*.log"))
    assert kept == list(range(69, 101))
    child = os.fork()
    if not child:
        path = state.attachments / "200.log"
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, 1)
        os.dup2(file, 2)
        for _ in range(5):
            os.write(2, b"x" * (1 << 19))
            bound_log(path)
        os.write(2, b"end")
        os._exit(0)
    os.waitpid(child, 0)
    now, before = (state.attachments / name for name in ("200.log", "200.log.1"))
    assert (now.stat().st_size, before.stat().st_size) == ((1 << 19) + 3, 1 << 20)
