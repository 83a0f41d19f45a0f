"""`xdpsim cgroup show | tree`: the programs of commands under supervision, by the cgroup in which they run, in bpftool's shapes.

Not here: programs that the kernel itself runs for a cgroup; `bpftool cgroup` shows those.
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any, Final

from runtime.errors import InputError
from xdp.cli.exits import Exit
from xdp.cli.output import Output
from xdp.live.runs import Hooked, Run, Runs

__all__ = ["show", "tree"]

_HEAD: Final = f"{'ID':<8} {'AttachType':<15} {'AttachFlags':<15} {'Name':<15}"


def show(arguments: Namespace, output: Output) -> int:
    """Those of the runs in one cgroup (that very one), or of all."""
    wanted = _folder(arguments.path)
    found = [(run, link) for run, link in _links() if wanted is None or _cgroup(run, link) == wanted]
    texts = [_HEAD, *(_line(run, link) for run, link in found)] if found else []
    output.emit([_record(run, link) for run, link in found], "\n".join(texts))
    return Exit.OK


def tree(arguments: Namespace, output: Output) -> int:
    """Those in a cgroup and below it, or of all, under their cgroups."""
    root = _folder(arguments.path)
    groups: dict[str, list[tuple[Run, Hooked]]] = {}
    for run, link in _links():
        folder = _cgroup(run, link)
        if root is None or folder == root or folder.startswith(f"{root.rstrip('/')}/"):
            groups.setdefault(folder, []).append((run, link))
    texts = ["CgroupPath", _HEAD]
    for folder in sorted(groups):
        texts += [folder, *(f"    {_line(run, link)}" for run, link in groups[folder])]
    document = [
        {"cgroup": folder, "programs": [_record(run, link) for run, link in groups[folder]]}
        for folder in sorted(groups)
    ]
    output.emit(document, "\n".join(texts))
    return Exit.OK


def _links() -> list[tuple[Run, Hooked]]:
    return [(run, link) for run in Runs().all() for link in run.links]


def _folder(path: str | None) -> str | None:
    """The cgroup that is meant, as records name it."""
    if path is None:
        return None
    found = Path(path)
    if not found.is_dir():
        raise InputError(f"can't open cgroup {path}")
    if not (found / "cgroup.procs").exists():
        raise InputError(f"{path} is not a cgroup")
    return str(found.resolve())


def _cgroup(run: Run, link: Hooked) -> str:
    """The cgroup that an attachment is confined to; else the one that the command was started in."""
    if not link.cgroup_id or link.cgroup_id == run.cgroup_id:
        return run.cgroup
    return next((folder for folder in _below(run.cgroup) if _inode(folder) == link.cgroup_id), f"id {link.cgroup_id}")


def _below(folder: str) -> list[str]:
    return [str(each) for each in Path(folder).glob("**/")] if folder else []


def _inode(folder: str) -> int:
    try:
        return Path(folder).stat().st_ino
    except OSError:
        return 0


def _name(run: Run, link: Hooked) -> str:
    program = run.program(link.program)
    return program.name if program is not None else ""


def _record(run: Run, link: Hooked) -> dict[str, Any]:
    """The members that bpftool has, then what only we have."""
    return {
        "id": link.program,
        "attach_type": link.way,
        "attach_flags": link.flags,
        "name": _name(run, link),
        "attach_btf_name": "",
        "attach_btf_obj_id": 0,
        "attach_btf_id": 0,
        "link_id": link.id,
        "run": run.id,
        "pid": run.pid,
        "command": list(run.command),
        "policy": run.policy,
    }


def _line(run: Run, link: Hooked) -> str:
    return f"{link.program:<8} {link.way:<15} {link.flags:<15} {_name(run, link):<15}"
