"""`xdpsim feature`: the rows of the registry in bpftool's shapes, and the document that is made of them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.captures import ROOT
from tests.support.commands import run, run_json
from tests.support.objects import EXAMPLES, tool
from xdp.cli.feature import markdown
from xdp.extension import (
    CORE_EXTENSION,
    EVENTS_EXTENSION,
    LINUX_EXTENSION,
    SOCKETS_EXTENSION,
    XDP_EXTENSION,
    default_registry,
)
from xdp.features import features

SUPPORT = ROOT / "docs" / "support.md"
OLDEST_BPFTOOL = 31  # the map types up to here are older than the oldest bpftool that is asked
LAST_HELPER = 208
SAMPLE = EXAMPLES / "sample_extension"


@pytest.fixture(scope="module")
def probed() -> dict[str, Any]:
    """The document of `feature probe`."""
    found: dict[str, Any] = run_json("feature", "probe")
    return found


def test_the_document_is_what_the_rows_say() -> None:
    """docs/support.md is up to date; `make api` writes it."""
    assert SUPPORT.read_text() == markdown(features(default_registry())) + "\n"


def test_true_says_that_it_runs(probed: dict[str, Any]) -> None:
    """What is only verified is false under bpftool's keys, and listed by itself."""
    types, maps = probed["program_types"], probed["map_types"]
    assert types["have_xdp_prog_type"] is True
    assert types["have_kprobe_prog_type"] is False
    assert "kprobe" in probed["verified_only"]["program_types"]
    assert maps["have_lpm_trie_map_type"] is True
    assert maps["have_stack_trace_map_type"] is False
    helpers = probed["helpers"]
    assert "bpf_redirect_map" in helpers["xdp_available_helpers"]
    assert "bpf_fib_lookup" in probed["verified_only"]["helpers"]["xdp"]
    assert helpers["kprobe_available_helpers"] == []


def test_every_row_is_listed_once(probed: dict[str, Any]) -> None:
    """By extension, all rows of the extensions and no other."""
    for extension in (CORE_EXTENSION, EVENTS_EXTENSION, LINUX_EXTENSION, SOCKETS_EXTENSION, XDP_EXTENSION):
        rows = probed["extensions"].get(extension.name, {"program_types": [], "map_types": [], "helpers": []})
        assert sorted(rows["program_types"]) == sorted(each.name for each in extension.program_types)
        assert sorted(rows["map_types"]) == sorted(each.name for each in extension.map_kinds)
        assert sorted(rows["helpers"]) == sorted(f"bpf_{each.name}" for each in extension.helpers)


def test_names_are_those_of_bpftool(probed: dict[str, Any]) -> None:
    """What Linux has is called as bpftool calls it, under the keys that bpftool has."""
    builtin = {}
    for group in ("prog_types", "map_types", "helpers"):
        done = subprocess.run(
            [tool("bpftool"), "-j", "feature", "list_builtins", group], capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip("this bpftool does not list its builtins")
        builtin[group] = set(json.loads(done.stdout))
    types = {each.name for each in default_registry().program_types if each.linux_type is not None}
    assert {key[5:-10] for key in probed["program_types"]} >= types
    assert types <= builtin["prog_types"]
    maps = {each.name for each in default_registry().map_kinds if each.id <= OLDEST_BPFTOOL}
    assert {key[5:-9] for key in probed["map_types"]} >= maps
    assert maps <= builtin["map_types"]
    linux = {f"bpf_{each.name}" for each in default_registry().helpers if each.id <= LAST_HELPER}
    assert linux <= builtin["helpers"]


def test_plain_lines_are_those_of_bpftool() -> None:
    """The same headings and sentences."""
    lines = run("feature", "probe").stdout.splitlines()
    assert lines[0] == "Scanning eBPF program types..."
    assert "eBPF program_type xdp is available (extension xdp)" in lines
    assert "eBPF map_type stack_trace is verified only (extension linux)" in lines
    assert "eBPF helpers supported for program type xdp:" in lines
    assert "\t- bpf_fib_lookup (verified only)" in lines


@pytest.mark.parametrize("group", ["prog_types", "map_types", "attach_types", "helpers"])
def test_names_are_listed_by_group(group: str) -> None:
    """One a line, or a list; another word is a usage error."""
    names = run_json("feature", "list_builtins", group)
    assert run("feature", "list_builtins", group).stdout.split() == names
    assert names
    assert run("feature", "list_builtins", "links").returncode == 2


def test_an_installed_extension_is_listed(tmp_path: Path) -> None:
    """What a package adds stands beside what comes with the project."""
    info = tmp_path / "xdpsim_sample-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: xdpsim-sample\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[xdpsim.extensions]\nsample = xdpsim_sample:EXTENSION\n")
    done = run("feature", "probe", PYTHONPATH=f"{ROOT}:{tmp_path}:{SAMPLE}")
    assert done.stderr == ""
    assert "eBPF program_type sample is available (extension sample)" in done.stdout
    assert "eBPF map_type window is available (extension sample)" in done.stdout
    assert "\t- bpf_sample_find" in done.stdout


if __name__ == "__main__":
    SUPPORT.write_text(markdown(features(default_registry())) + "\n")
