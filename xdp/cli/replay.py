"""`xdpsim replay`: captures through a program.

Not here: the replay (xdp.offline) and the comparison (xdp.compare); this is arguments in, tables and JSON out.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from runtime.errors import InputError
from runtime.loader import LoadedObject, load
from xdp.cli.exits import Exit
from xdp.cli.mapfiles import dump_maps, fill_maps
from xdp.cli.output import Output
from xdp.cli.progress import progress_bar, telling_of_compilation, watched
from xdp.cli.source import blaming, object_bytes
from xdp.compare import Comparison, compare
from xdp.extension import default_registry
from xdp.offline import Report, replay
from xdp.picture import draw

__all__ = ["run"]


def run(arguments: Namespace, output: Output) -> int:
    """Replay, or compare two engines; exit 1 when they differ."""
    data = object_bytes(arguments.object)
    name = Path(arguments.object).stem
    if arguments.hash and not arguments.verdicts:
        raise InputError("--hash needs --verdicts FILE to write the hashes to")

    if output.json and arguments.dump_maps == "-":
        raise InputError("--dump-maps - and -j both write JSON to stdout: give --dump-maps a file")

    def fresh() -> LoadedObject:
        with blaming(arguments.object):
            loaded = load(data, registry=default_registry(), engine=arguments.engine, name=name)
        fill_maps(loaded.maps, arguments.map)
        return loaded

    with telling_of_compilation(output.note if watched(output) else None):
        return _compare(fresh, arguments, output) if arguments.compare else _replay(fresh, arguments, output)


def _replay(fresh: Callable[[], LoadedObject], arguments: Namespace, output: Output) -> int:
    with fresh() as loaded:
        if arguments.engine == "kernel" and arguments.dump_maps:
            raise InputError("--dump-maps reads our maps; the kernel has its own: use --compare kernel")
        program = loaded.programs[loaded.program(arguments.prog).name]
        with progress_bar(output, "replaying") as progress:
            report = replay(
                program,
                arguments.captures,
                engine=arguments.engine,
                loop=arguments.loop,
                limit=arguments.limit,
                clock=arguments.clock,
                seed=arguments.seed,
                ifindex=arguments.ifindex,
                queue=arguments.queue,
                verdicts=arguments.verdicts,
                hashes=arguments.hash,
                out=arguments.out,
                wrap=arguments.wrap,
                timeline=arguments.plot is not None,
                progress=progress,
            )
        if arguments.dump_maps:
            dump_maps(loaded.maps, arguments.dump_maps)
        if arguments.plot:
            draw(report, Path(arguments.plot))
    for line in report.damage:
        output.note(f"xdpsim: {line}")
    output.emit({**report.as_dict(), "object": arguments.object}, table(report, arguments.object))
    return Exit.OK


def _compare(fresh: object, arguments: Namespace, output: Output) -> int:
    assert callable(fresh)
    if arguments.clock == "wall":
        raise InputError("--compare needs --clock packet: two engines cannot read the same wall clock")
    outputs = {"--verdicts": "verdicts", "--out": "out", "--plot": "plot", "--dump-maps": "dump_maps"}
    unused = [option for option, name in outputs.items() if getattr(arguments, name) is not None]
    if unused:
        raise InputError(f"--compare writes no files: leave {' and '.join(unused)} away, or run without --compare")
    with progress_bar(output, "comparing") as progress:
        found = compare(
            fresh,
            arguments.prog,
            arguments.captures,
            engines=(arguments.engine, arguments.compare),
            loop=arguments.loop,
            limit=arguments.limit,
            seed=arguments.seed,
            ifindex=arguments.ifindex,
            queue=arguments.queue,
            wrap=arguments.wrap,
            progress=progress,
        )
    output.emit(found.as_dict(), _verdict_on(found))
    return Exit.OK if found.difference is None else Exit.REJECTED


def _verdict_on(found: Comparison) -> str:
    one, other = found.engines
    lines = [f"{found.program}: {one} against {other}, {found.frames:,} frames"]
    lines += [f"  left out: {count:,} frames {reason}" for reason, count in found.left_out.items()]
    lines += [f"  not compared: map {name!r} {why}" for name, why in found.unsettled.items()]
    if found.difference is None:
        maps = f"{len(found.maps)} map{'' if len(found.maps) == 1 else 's'}"
        lines.append(f"  no difference in verdicts, output bytes and {maps}")
    else:
        d = found.difference
        where = "after the last frame" if d.frame is None else f"in frame {d.frame}"
        lines += [f"  DIFFERENT: {d.what}, {where}", f"    {one}: {d.first}", f"    {other}: {d.second}"]
    return "\n".join(lines)


def table(report: Report, name: str) -> str:
    """The report for people."""
    lines = [f"{report.program} of {name} on {report.engine}: {report.packets:,} packets, {report.bytes:,} bytes", ""]
    for verdict, count in report.verdicts.items():
        if count:
            share = 100 * count / report.packets
            lines.append(f"  {verdict:<13}{count:>12,}  {share:5.1f} %")
    lines.append("")
    lines.append(f"  {'modified':<13}{report.modified:>12,}")
    if report.skipped:
        lines.append(f"  {'left out':<13}{report.skipped:>12,}  frames that a kernel test run does not take")
    if report.packets:
        rate = report.packets_per_second / 1e6
        lines.append(f"  {report.ns_per_packet} ns/packet, {rate:.1f} million packets/s in native code")
    return "\n".join(lines)
