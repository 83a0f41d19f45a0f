"""The command line on objects of the types that are only verified."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.errors import UnsupportedError
from runtime.loader import load
from tests.support.commands import MIXED, run, run_json
from tests.support.sources import compile_c
from xdp.extension import default_registry
from xdp.offline import replay

SOURCE = """
SEC("tc") int classify(struct __sk_buff *skb)
{
    void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
    if (data + 14 > end)
        return 2;
    skb->mark = *(unsigned char *)data;
    return 0;
}
SEC("cgroup/connect4") int connect4(struct bpf_sock_addr *ctx)
{
    ctx->user_ip4 = 0x0100007f;
    return 1;
}
SEC("cgroup_skb/ingress") int ingress(struct __sk_buff *skb) { return 3; }
SEC("cgroup_skb/egress") int egress(struct __sk_buff *skb) { return 3; }
SEC("sockops") int options(struct bpf_sock_ops *ctx)
{
    ctx->reply = 1;
    return 1;
}
SEC("tracepoint/syscalls/sys_enter_open") int opened(char *record) { return record[100]; }
"""
TYPES = {
    "classify": "sched_cls",
    "connect4": "cgroup_sock_addr",
    "ingress": "cgroup_skb",
    "egress": "cgroup_skb",
    "options": "sock_ops",
    "opened": "tracepoint",
}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An object with a program of each of several types."""
    path = tmp_path_factory.mktemp("types") / "types.o"
    path.write_bytes(compile_c(SOURCE))
    return path


def test_verify_takes_each_program_for_what_its_section_says(compiled: Path) -> None:
    """The types are named, and the one wrong return value is found, which is right for the other direction."""
    rows = run_json("verify", str(compiled), code=1)
    assert {row["program"]: row["type"] for row in rows} == TYPES
    assert [row["program"] for row in rows if not row["accepted"]] == ["ingress"]
    (error,) = [row["error"] for row in rows if not row["accepted"]]
    assert "cgroup_inet_ingress programs return [0, 1]" in error


@pytest.mark.parametrize("name", sorted(set(TYPES.values()) | {"cgroup/connect6", "kprobe", "raw_tp", "classifier"}))
def test_verify_takes_types_and_sections_by_name(compiled: Path, name: str) -> None:
    """`--type` takes the name of a type or of a section."""
    done = run("verify", str(compiled), "--prog", "egress", "--type", name)
    assert done.returncode in (0, 1), done.stderr


@pytest.mark.parametrize("engine", ["jit", "interpreter", "kernel"])
def test_replay_says_that_nothing_runs_the_program(compiled: Path, engine: str) -> None:
    """One line, exit code of a wrong input."""
    done = run("replay", str(compiled), MIXED, "--prog", "classify", "--engine", engine)
    assert done.returncode == 3
    assert done.stderr.splitlines() == [
        "xdpsim: program 'classify' is of type sched_cls: it can be verified, and no hook here runs it"
    ]


def test_replay_of_a_bare_program_says_the_same(compiled: Path) -> None:
    """The library refuses as the command does."""
    with load(compiled, registry=default_registry()) as loaded, pytest.raises(UnsupportedError, match="no hook here"):
        replay(loaded.programs["classify"], MIXED)


def test_maps_that_nothing_makes_are_the_users_error() -> None:
    """An object with such a map is verified, and not loaded."""
    data = compile_c("""
struct { __uint(type, BPF_MAP_TYPE_STACK_TRACE); __uint(key_size, 4); __uint(value_size, 80); __uint(max_entries, 4); }
    stacks SEC(".maps");
SEC("kprobe/f") int probe(void *ctx)
{
    return bpf_get_stackid(ctx, &stacks, 0);
}
""")
    with pytest.raises(UnsupportedError, match="stack_trace: programs that use it can be verified"):
        load(data, registry=default_registry())


def test_helpers_that_nothing_carries_out_are_the_users_error(tmp_path: Path) -> None:
    """A program of a type that runs here, which looks a socket up and releases it, is verified, and not run."""
    path = tmp_path / "lookup.o"
    path.write_bytes(
        compile_c("""
SEC("xdp") int lookup(struct xdp_md *ctx)
{
    struct bpf_sock_tuple tuple = {};
    struct bpf_sock *sock = bpf_sk_lookup_tcp(ctx, &tuple, sizeof tuple.ipv4, -1, 0);
    if (!sock)
        return 1;
    int family = sock->family;
    bpf_sk_release(sock);
    return family == 2 ? 2 : 1;
}
""")
    )
    assert run_json("verify", str(path))[0]["accepted"]
    for engine in ("jit", "interpreter"):
        done = run("replay", str(path), MIXED, "--engine", engine)
        assert done.returncode == 3
        assert "calls bpf_sk_lookup_tcp: it is verified, and nothing here carries out that helper" in done.stderr


@pytest.mark.parametrize(("kind", "values"), [("ARRAY_OF_MAPS", "array_of_maps"), ("HASH_OF_MAPS", "hash_of_maps")])
def test_maps_of_maps_are_verified_and_not_made(kind: str, values: str) -> None:
    """The program is accepted; the object is not loaded, and the message says so."""
    data = compile_c(f"""
struct {{
    __uint(type, BPF_MAP_TYPE_{kind});
    __uint(max_entries, 4);
    __uint(key_size, 4);
    __array(values, struct {{
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, 4);
        __type(key, __u32);
        __type(value, __u64);
    }});
}} outer SEC(".maps");
SEC("xdp") int inside(struct xdp_md *ctx)
{{
    __u32 key = 0;
    void *inner = bpf_map_lookup_elem(&outer, &key);
    __u64 *value = inner ? bpf_map_lookup_elem(inner, &key) : 0;
    return value ? *value & 3 : 1;
}}
""")
    with pytest.raises(UnsupportedError, match=f"{values}: programs that use it can be verified"):
        load(data, registry=default_registry())


def test_a_record_that_is_kept_is_told(tmp_path: Path) -> None:
    """A program that keeps a record of a ring buffer is rejected for that."""
    path = tmp_path / "kept.o"
    path.write_bytes(
        compile_c("""
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } events SEC(".maps");
SEC("xdp") int kept(struct xdp_md *ctx)
{
    long *record = bpf_ringbuf_reserve(&events, 8, 0);
    if (record)
        *record = 1;
    return 2;
}
""")
    )
    done = run("verify", str(path))
    assert done.returncode == 1
    assert "with a reference that this path never gave back" in done.stdout + done.stderr
