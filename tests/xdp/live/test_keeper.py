"""The keeper's loop over a link that is none: requests, time limits, signals, failures, and that nothing is left."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import DeviceError, InputError
from xdp.live.control import KeeperError, ask
from xdp.live.keeper import Keeper, Order
from xdp.live.registry import Attachment, State


@dataclass
class _Fake:
    """A link that counts what is asked of it."""

    reason: str = ""
    state: str = "up"
    detached: int = 0
    asked: list[str] = field(default_factory=list)

    def describe(self, record: Attachment) -> Attachment:
        return replace(record, state=self.state)

    def ended(self) -> str:
        return self.reason

    def stats(self) -> dict[str, Any]:
        return {"packets": {"XDP_PASS": 7}}

    def replace(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.asked.append("replace")
        raise InputError("not this one")

    def insert(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.asked.append("insert")
        return {}

    def guarded(self) -> None:
        return

    def detach(self) -> dict[str, Any]:
        self.detached += 1
        return {"stats": self.stats()}


@pytest.fixture
def state(tmp_path: Path) -> State:
    made = State(tmp_path / "run")
    made.prepare()
    return made


def _keeper(state: State, fake: _Fake, **changes: Any) -> Keeper:
    order = Order(object=Path("x.o"), label="x.o", interface="lo", ifindex=1, mode="monitor", **changes)
    return Keeper(order, number=1, state=state, make=lambda: fake, describe=_describe)


def _describe(error: Exception) -> dict[str, Any]:
    return {"error": str(error), "code": 3, "fields": {}}


def _beside(act: Callable[[], Any]) -> Callable[[Attachment], None]:
    """What runs beside the keeper as soon as it is ready."""
    return lambda _record: threading.Thread(target=act).start()


def _left(state: State) -> list[str]:
    return [each.name for each in state.attachments.iterdir()]


def test_a_request_ends_it_and_hears_the_final_counts(state: State) -> None:
    """When the answer comes, record and socket are gone already."""
    heard: list[Any] = []

    def act() -> None:
        heard.append(ask(state.attachments / "1.sock", "detach"))
        heard.append(_left(state))

    fake, asking = _Fake(), threading.Thread(target=act)
    end = _keeper(state, fake).run(lambda _record: asking.start())
    asking.join(5)
    assert (end["reason"], fake.detached) == ("detached by request", 1)
    assert heard[0] == {"stats": {"packets": {"XDP_PASS": 7}}}
    assert _left(state) == []


def test_a_time_limit_ends_it(state: State) -> None:
    """Nobody confirms: it detaches by itself."""
    fake = _Fake()
    end = _keeper(state, fake, revert_after=0.3).run(lambda _record: None)
    assert (end["reason"], fake.detached) == ("nobody confirmed it in time", 1)


def test_a_confirmation_lifts_the_limit(state: State) -> None:
    """After confirm only a signal ends it; the record shows no deadline any more."""
    seen: list[Any] = []

    def act() -> None:
        seen.append(ask(state.attachments / "1.sock", "confirm"))
        seen.append(state.all()[0].deadline)
        threading.Event().wait(0.6)
        os.kill(os.getpid(), signal.SIGTERM)

    end = _keeper(state, _Fake(), revert_after=0.5).run(_beside(act))
    assert seen == [{"confirmed": True}, None]
    assert end["reason"] == "ended by SIGTERM"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_and_handlers_are_given_back(state: State, number: signal.Signals) -> None:
    """Whichever signal, once or twice: one detach, then the process reacts as before."""
    before = signal.getsignal(number)
    fake = _Fake()

    def act() -> None:
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)

    assert _keeper(state, fake).run(_beside(act))["reason"] == f"ended by {number.name}"
    assert fake.detached == 1
    assert signal.getsignal(number) is before


def test_a_link_that_cannot_go_on_ends_it(state: State) -> None:
    """The reason is the link's."""
    fake = _Fake(reason="failed: eth0-0: no memory")
    assert _keeper(state, fake).run(lambda _record: None)["reason"] == "failed: eth0-0: no memory"
    assert fake.detached == 1


def test_a_refused_request_changes_nothing(state: State) -> None:
    """The failure goes to who asked, with its code; an unknown request, too; the keeper goes on."""
    fake, said = _Fake(), []

    def act() -> None:
        path = state.attachments / "1.sock"
        for what in ("replace", "fly"):
            try:
                ask(path, what)
            except KeeperError as error:
                said.append((error.code, str(error)))
        said.append(ask(path, "stats"))
        ask(path, "detach")

    _keeper(state, fake).run(_beside(act))
    assert said == [(3, "not this one"), (3, "a keeper does not know 'fly'"), {"packets": {"XDP_PASS": 7}}]


def test_who_does_not_listen_any_more_gets_no_filter(state: State) -> None:
    """When the report cannot be given, the attachment is taken back: nobody would know of it."""
    fake = _Fake()

    def ready(_record: Attachment) -> None:
        raise DeviceError("who started this does not listen any more")

    with pytest.raises(DeviceError, match="does not listen"):
        _keeper(state, fake).run(ready)
    assert fake.detached == 1
    assert _left(state) == []


def test_a_confirmation_holds_though_the_record_cannot_be_written(state: State) -> None:
    """Whoever confirms while the disk is full keeps the filter: the limit is lifted, and the answer says so."""
    seen: list[Any] = []

    def confirm() -> None:
        (state.attachments / f"1.{os.getpid()}.new").mkdir()  # in the way of what is written first
        seen.append(ask(state.attachments / "1.sock", "confirm"))
        threading.Event().wait(0.6)
        os.kill(os.getpid(), signal.SIGTERM)

    end = _keeper(state, _Fake(), revert_after=0.5).run(_beside(confirm))
    assert seen == [{"confirmed": True}]
    assert end["reason"] == "ended by SIGTERM"


def test_a_lost_state_folder_does_not_end_the_filter(state: State) -> None:
    """Whoever removes the folder loses the view of it, not the protection."""
    fake = _Fake()

    def act() -> None:
        shutil.rmtree(state.folder)
        fake.state = "waiting"
        threading.Event().wait(0.6)
        assert fake.detached == 0
        os.kill(os.getpid(), signal.SIGTERM)

    assert _keeper(state, fake).run(_beside(act))["reason"] == "ended by SIGTERM"
