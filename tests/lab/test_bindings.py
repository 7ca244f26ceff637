# SPDX-License-Identifier: MIT
"""The binding of libbpf against the real kernel: maps, programs, object files, ring buffers, what it refuses."""

from __future__ import annotations

import errno
import mmap
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from firewall import bpfmap, bpfprog, features, paths
from firewall.bindings import libbpf, libbpf_map
from firewall.bpfmap import MapType
from firewall.bpfobject import Object, VerifierRefused
from firewall.errors import FwError, KernelRefused, NotLoaded, NotPermitted
from tests.lab.wait import until

SOURCE = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_INNER_MAP);
	__type(key, __u32);
	__type(value, __u64);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct inner);
} outer SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16);
	__type(key, __u64);
	__type(value, __u64);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

const volatile __u8 narrow = 1;
const volatile __s32 verdict = 1;
const volatile __u64 wide = 2;

SEC("tc")
int a_program_with_quite_a_long_name(struct __sk_buff *skb)
{
	__u32 zero = 0, one = 1;
	__u32 *counter = bpf_map_lookup_elem(&counters, &one);
	void *map = bpf_map_lookup_elem(&outer, &one);
	__u64 event[2] = { wide, narrow };

	if (counter)
		*counter += 1;
	if (map) {
		__u64 *value = bpf_map_lookup_elem(map, &zero);

		if (value)
			event[0] = *value;
	}
	skb->mark = 7;
	bpf_ringbuf_output(&events, event, sizeof(event), 0);
	return verdict;
}

SEC("tc")
int refused(struct __sk_buff *skb)
{
	return *(int *)(long)(skb->data + 1);
}

char _license[] SEC("license") = "GPL";
"""

U32, U64 = struct.Struct("=I"), struct.Struct("=Q")
PACKET = bytes(14) + bytes(range(50))


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bindings")
    source, target = folder / "bindings.bpf.c", folder / "bindings.bpf.o"
    source.write_text(SOURCE)
    machine = os.uname().machine
    subprocess.run(
        [
            "clang",
            "-g",
            "-O2",
            "-target",
            "bpf",
            f"-I/usr/include/{machine}-linux-gnu",
            "-c",
            source,
            "-o",
            target,
        ],
        check=True,
    )
    return target


@pytest.fixture
def opened(compiled: Path) -> Iterator[Object]:
    with Object.open(compiled) as opened:
        opened.set_autoload("refused", False)
        yield opened


@pytest.fixture
def pins() -> Iterator[Path]:
    folder = paths.bpffs() / f"test-{os.getpid()}"
    folder.mkdir(mode=0o700)
    yield folder
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def refused(errno_wanted: int, attempt: Callable[[], object], kind: type[FwError] = KernelRefused) -> FwError:
    """The error that an attempt ends with."""
    with pytest.raises(kind) as caught:
        attempt()
    assert caught.value.errno == errno_wanted
    return caught.value


# Maps


def test_hash_map() -> None:
    with bpfmap.create_map(MapType.HASH, "t_hash", 4, 8, 2) as each:
        facts = (each.type, each.name, each.key_size, each.value_size, each.max_entries, each.flags)
        assert facts == (MapType.HASH, "t_hash", 4, 8, 2, 0)
        assert each.lookup(b"aaaa") is None
        each.update(b"aaaa", b"00000001")
        each.update(b"aaaa", b"00000002", bpfmap.EXIST)
        assert each.lookup(b"aaaa") == b"00000002"
        refused(errno.EEXIST, lambda: each.update(b"aaaa", b"00000003", bpfmap.NOEXIST))
        refused(errno.ENOENT, lambda: each.update(b"bbbb", b"00000003", bpfmap.EXIST))
        each.update(b"bbbb", b"00000003")
        full = refused(errno.E2BIG, lambda: each.update(b"cccc", b"00000004"))
        assert (str(full), full.hint) == (
            "cannot write to map t_hash: argument list too long",
            "the map is full",
        )
        assert dict(each.items()) == {b"aaaa": b"00000002", b"bbbb": b"00000003"}
        assert sorted(each.keys()) == [b"aaaa", b"bbbb"]
        assert (each.delete(b"aaaa"), each.delete(b"aaaa")) == (True, False)


def test_sizes_are_checked_before_memory_is_read() -> None:
    with bpfmap.create_map(MapType.HASH, "t_hash", 4, 8, 2) as each:
        for attempt in (
            lambda: each.lookup(b"aaa"),
            lambda: each.update(b"aaaa", b"0"),
            lambda: each.update_batch([(b"aaaa", b"00000001"), (b"bbbb", b"0")]),
            lambda: each.delete_batch([b"aaaa", b"a"]),
        ):
            with pytest.raises(ValueError, match="t_hash"):
                attempt()


@pytest.mark.parametrize("kind", [MapType.HASH, MapType.LRU_HASH])
def test_many_entries(kind: MapType) -> None:
    wanted = {U32.pack(i): U64.pack(i * i) for i in range(40_000)}  # several batches
    with bpfmap.create_map(kind, "t_many", 4, 8, 80_000) as each:
        assert each.update_batch(wanted.items()) == len(wanted)
        assert dict(each.items()) == wanted
        gone = [U32.pack(i) for i in range(0, 50_000, 2)]  # some of them were never there
        assert each.delete_batch(gone) == 20_000
        assert sorted(U32.unpack(key)[0] for key, _ in each.items()) == list(range(1, 40_000, 2))


def test_batches_grow_when_a_bucket_does_not_fit() -> None:
    with bpfmap.create_map(MapType.HASH, "t_bucket", 4, 8, 64) as each:
        each.update_batch((U32.pack(i), U64.pack(i)) for i in range(64))
        read = list(libbpf_map.read_batches(each.fd, 4, 8, 1))  # 64 entries share 64 buckets: some hold two
        keys = b"".join(keys for _, keys, _ in read)
        assert sorted(value for (value,) in U32.iter_unpack(keys)) == list(range(64))
        assert max(count for count, _, _ in read) > 1


def test_array_map_and_prefix_trie() -> None:
    with bpfmap.create_map(
        MapType.ARRAY, "t_array", 4, 5, 3
    ) as each:  # values are padded in the kernel, not here
        each.update(U32.pack(1), b"abcde")
        assert [value for _, value in each.items()] == [bytes(5), b"abcde", bytes(5)]
    with bpfmap.create_map(MapType.LPM_TRIE, "t_trie", 8, 4, 1000, bpfmap.F_NO_PREALLOC) as each:
        wanted = {struct.pack("=I4B", 24, 10, 0, i, 0): U32.pack(i) for i in range(200)}
        each.update_batch(wanted.items())
        assert dict(each.items()) == wanted
        assert each.delete_batch(wanted) == 200
        assert list(each.items()) == []


def test_queue() -> None:
    with bpfmap.create_map(MapType.QUEUE, "t_queue", 0, 4, 2) as each:
        assert each.pop() is None
        each.push(b"old!")
        each.push(b"new!")
        refused(errno.E2BIG, lambda: each.push(b"more"))
        assert (each.pop(), each.pop(), each.pop()) == (b"old!", b"new!", None)


@pytest.mark.parametrize("kind", [MapType.PERCPU_HASH, MapType.PERCPU_ARRAY])
def test_per_cpu_map(kind: MapType) -> None:
    with bpfmap.create_map(kind, "t_percpu", 4, 4, 2) as each:
        assert each.raw_value_size == 8 * bpfmap.possible_cpus()
        raw = b"".join(U64.pack(cpu + 10) for cpu in range(bpfmap.possible_cpus()))
        each.update(U32.pack(1), raw)
        wanted = [U32.pack(cpu + 10) for cpu in range(bpfmap.possible_cpus())]
        assert each.lookup_percpu(U32.pack(1)) == wanted
        assert each.split_percpu(dict(each.items())[U32.pack(1)]) == wanted
        if kind == MapType.PERCPU_HASH:
            assert each.lookup_percpu(U32.pack(0)) == []


@pytest.mark.parametrize("kind", [MapType.HASH, MapType.LRU_HASH, MapType.LPM_TRIE])
def test_reading_ends_while_the_map_changes(kind: MapType) -> None:
    """Another process adds and removes at full speed: each walk ends, and shows what stays once."""
    flags = bpfmap.F_NO_PREALLOC if kind == MapType.LPM_TRIE else 0
    with bpfmap.create_map(kind, "t_churn", 8, 8, 20_000, flags) as each:
        lasting = {struct.pack("=II", 32, i) for i in range(1000)}
        each.update_batch((key, bytes(8)) for key in lasting)
        ready, stop = os.pipe()
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            os.close(ready)
            started = False
            while os.getppid() == parent:
                changing = [struct.pack("=II", 32, i + 100_000) for i in range(1000)]
                each.update_batch((key, bytes(8)) for key in changing)
                if not started:
                    os.write(stop, b"!")
                    started = True
                each.delete_batch(changing)
            os._exit(0)
        try:
            os.close(stop)
            assert os.read(ready, 1) == b"!"
            deadline = time.monotonic() + 1
            while time.monotonic() < deadline:
                keys = [key for key, _ in each.items()]
                assert len(keys) == len(set(keys))
                if kind != MapType.LPM_TRIE:  # a trie's walk starts over when its key goes, and may give up
                    assert lasting <= set(keys)
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(ready)


def test_map_of_maps() -> None:
    template = bpfmap.create_map(MapType.ARRAY, "t_inner", 4, 8, 1, bpfmap.F_INNER_MAP)
    with bpfmap.create_map(MapType.ARRAY_OF_MAPS, "t_outer", 4, 4, 2, inner=template) as outer:
        larger = bpfmap.create_map(MapType.ARRAY, "t_larger", 4, 8, 5000, bpfmap.F_INNER_MAP)
        assert outer.lookup_inner(U32.pack(0)) is None
        outer.set_inner(U32.pack(0), larger)
        found = outer.lookup_inner(U32.pack(0))
        assert found and (found.id, found.max_entries) == (larger.id, 5000)
        assert [key for key, _ in outer.items()] == [U32.pack(0)]
        wrong = bpfmap.create_map(MapType.HASH, "t_wrong", 4, 8, 5)
        refused(errno.EINVAL, lambda: outer.set_inner(U32.pack(1), wrong))


def test_mapped_array() -> None:
    with (
        bpfmap.create_map(MapType.ARRAY, "t_mapped", 4, 12, 2000, bpfmap.F_MMAPABLE) as each,
        each.mmap() as memory,
    ):
        assert memory.stride == 16
        memory.store_u32(16 + 4, 0xDEADBEEF)
        assert each.lookup(U32.pack(1)) == bytes(4) + U32.pack(0xDEADBEEF) + bytes(4)
        memory.store_u64(32, 1 << 40)
        each.update(U32.pack(3), b"abcdefghijkl")
        assert each.lookup(U32.pack(2)) == U64.pack(1 << 40) + bytes(4)
        assert memory.load_u32(16 + 4) == 0xDEADBEEF
        assert memory.read(48, 12) == b"abcdefghijkl"
        memory.write(1999 * 16, b"end")
        assert each.lookup(U32.pack(1999)) == b"end" + bytes(9)
        for store, offset in ((memory.store_u32, 2), (memory.store_u64, 4)):
            with pytest.raises(ValueError, match="multiple"):
                store(offset, 1)
        with pytest.raises(IndexError):
            memory.store_u32(2000 * 16 + mmap.PAGESIZE, 1)
    with bpfmap.create_map(MapType.ARRAY, "t_plain", 4, 4, 1) as plain:
        refused(errno.EINVAL, plain.mmap)


def test_pins_and_ids(pins: Path) -> None:
    with bpfmap.create_map(MapType.ARRAY, "t_pinned", 4, 4, 1) as each:
        each.pin(pins / "map")
        each.update(U32.pack(0), b"kept")
        refused(errno.EEXIST, lambda: each.pin(pins / "map"))
        assert bpfmap.map_by_id(each.id).lookup(U32.pack(0)) == b"kept"
    with bpfmap.open_pinned(pins / "map") as again:
        assert again.lookup(U32.pack(0)) == b"kept"
        again.freeze()
        refused(errno.EPERM, lambda: again.update(U32.pack(0), b"lost"), NotPermitted)
    missing = refused(errno.ENOENT, lambda: bpfmap.open_pinned(pins / "nothing"), NotLoaded)
    assert str(missing) == f"nothing is pinned at {pins}/nothing"
    refused(errno.ENOENT, lambda: bpfmap.map_by_id(0x7FFFFFFF))


# Programs and object files


def test_load_and_run(opened: Object) -> None:
    name = "a_program_with_quite_a_long_name"
    assert set(opened.map_names) == {"outer", "counters", "flows", "events", ".rodata"}
    opened.set_rodata({"narrow": 255, "verdict": -1, "wide": U64.pack(1 << 50)})
    opened.resize("flows", 5000)
    opened.load()
    assert opened.maps["flows"].max_entries == 5000
    assert list(opened.programs) == [name]
    program, outer = opened.programs[name], opened.maps["outer"]
    opened.close()  # what was taken stays
    assert name.startswith(program.name) and len(program.name) == 15
    assert opened.maps["counters"].id in program.map_ids
    assert len(program.tag) == 16
    assert program.jited == features.jit()

    records: list[bytes] = []
    with bpfmap.RingBuffer(opened.maps["events"], records.append) as ring:
        mark = struct.pack("=3I", 0, 0, 5)  # struct __sk_buff up to `mark`
        run = program.test_run(PACKET, ctx=mark, repeat=3, ctx_out_size=256)
        assert run.retval == 0xFFFFFFFF
        assert run.data_out == PACKET
        assert struct.unpack_from("=3I", run.ctx_out)[2] == 7
        inner = bpfmap.create_map(MapType.ARRAY, "t_inner", 4, 8, 10, bpfmap.F_INNER_MAP)
        inner.update(U32.pack(0), U64.pack(99))
        outer.set_inner(U32.pack(1), inner)
        program.test_run(PACKET)
        assert ring.poll(1000) == 4
    assert [struct.unpack("=2Q", record) for record in records] == [*[(1 << 50, 255)] * 3, (99, 255)]
    counted = [U32.unpack(value)[0] for value in opened.maps["counters"].lookup_percpu(U32.pack(1))]
    assert sum(counted) == 4


def test_room_for_the_packet(opened: Object) -> None:
    opened.load()
    program = next(iter(opened.programs.values()))
    refused(errno.ENOSPC, lambda: program.test_run(PACKET, data_out_size=10))
    refused(errno.EINVAL, lambda: program.test_run(b"short"))


def test_shared_maps(opened: Object, compiled: Path) -> None:
    opened.load()
    with Object.open(compiled) as second:
        second.set_autoload("refused", False)
        second.reuse("counters", opened.maps["counters"])
        second.load()
        assert second.maps["counters"].id == opened.maps["counters"].id
        assert second.maps["flows"].id != opened.maps["flows"].id


def test_mistakes_with_objects(opened: Object, tmp_path: Path) -> None:
    for attempt, said in (
        (partial(opened.set_rodata, {"wide": 1, "missing": 1}), "has no constant missing"),
        (partial(opened.resize, "missing", 1), "has no map missing"),
        (partial(opened.set_autoload, "missing", True), "has no program missing"),
    ):
        with pytest.raises(FwError, match=said):
            attempt()
    for value in (256, -129, b"ab"):
        with pytest.raises(ValueError, match="narrow is 1 bytes"):
            opened.set_rodata({"narrow": value})
    refused(errno.ENOENT, lambda: Object.open(tmp_path / "none.o"))
    (tmp_path / "bad.o").write_bytes(b"not an object")
    with pytest.raises(KernelRefused, match=r"cannot open .*bad\.o"):
        Object.open(tmp_path / "bad.o")


def test_a_refused_program_says_why(compiled: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with Object.open(compiled) as opened, pytest.raises(VerifierRefused) as caught:
        opened.load()
    error = caught.value
    assert (
        error.message
        == "the kernel refused program refused: R1 pointer arithmetic with <<= operator prohibited"
    )
    assert error.errno == errno.EACCES
    assert "processed " in error.log and error.message.rpartition(": ")[2] in error.log
    assert capfd.readouterr() == ("", "")


def test_a_map_that_cannot_be_made_is_named(opened: Object) -> None:
    opened.resize("flows", 0)
    with pytest.raises(KernelRefused, match=r"map 'flows'") as caught:
        opened.load()
    assert "\n" not in caught.value.message


def test_libbpf_speaks_when_asked(tmp_path: Path) -> None:
    (tmp_path / "bad.o").write_bytes(b"not an object")
    code = f"""
from firewall.bpfobject import Object
try:
    Object.open({str(tmp_path / "bad.o")!r})
except Exception:
    pass
"""
    said = {}
    for debug in ("0", "1"):
        words = [sys.executable, "-c", code]
        done = subprocess.run(
            words, env={**os.environ, "FW_LIBBPF_DEBUG": debug}, capture_output=True, text=True
        )
        said[debug] = done.stderr
    assert said["0"] == ""
    assert "libbpf: " in said["1"]


def test_without_privilege(opened: Object) -> None:
    """In a child that gave up root: one line, and what to do."""
    code = """
import os
from firewall import bpfmap, bpfprog, features
os.setresuid(65534, 65534, 65534)
from firewall.errors import NotPermitted
def make():
    bpfmap.create_map(1, "x", 4, 4, 1)
for attempt in (make, lambda: bpfprog.program_by_id(1), features.tcx, features.lru):
    try:
        attempt()
    except NotPermitted as error:
        print(error.exit_code, error.message, "|", error.hint)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 4, done.stderr
    assert lines[0] == "4 cannot create map x: operation not permitted | run as root"


def test_missing_library() -> None:
    code = """
import ctypes
real = ctypes.CDLL
def fake(name, **options):
    if name == "libbpf.so.1": raise OSError("cannot open shared object file")
    return real(name, **options)
ctypes.CDLL = fake
from firewall import bpfmap, bpfprog
try:
    bpfmap.possible_cpus()
except Exception as error:
    print(type(error).__name__, error.exit_code, error.message, "|", error.hint)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(
        "KernelLacks 5 libbpf.so.1 is not installed | install the package libbpf1 (Debian"
    )


def test_raw_program() -> None:
    code = struct.pack("=BBhi", 0xB7, 0, 0, 42) + struct.pack("=BBhi", 0x95, 0, 0, 0)
    with bpfprog.load_program(code, "answer") as program:
        assert program.test_run(PACKET).retval == 42
        assert bpfprog.program_by_id(program.id).name == "answer"
    refused(errno.EINVAL, lambda: bpfprog.load_program(code[:8], "endless"))


# Ring buffers


def test_ring_buffer_callback_that_raises(opened: Object) -> None:
    opened.load()
    (program,) = opened.programs.values()
    seen: list[bytes] = []

    def once(record: bytes) -> None:
        seen.append(record)
        if len(seen) == 1:
            raise RuntimeError("first")

    with bpfmap.RingBuffer(opened.maps["events"], once) as ring:
        program.test_run(PACKET, repeat=3)
        with pytest.raises(RuntimeError, match="first"):
            ring.consume()
        assert ring.consume() == 2
        assert ring.poll(0) == 0
    assert len(seen) == 3


def test_ring_buffer_wakes_a_waiting_reader(opened: Object) -> None:
    opened.load()
    (program,) = opened.programs.values()
    seen: list[bytes] = []
    with bpfmap.RingBuffer(opened.maps["events"], seen.append) as ring:
        poll = select.epoll()
        poll.register(ring.epoll_fd)
        assert poll.poll(0) == []
        writer = threading.Timer(0.05, program.test_run, [PACKET])
        writer.start()
        until(lambda: ring.poll(1000) > 0)
        writer.join()
        poll.close()
    assert len(seen) == 1


def test_a_signal_ends_the_wait(opened: Object) -> None:
    opened.load()

    class Alarm(Exception):
        pass

    def ring_bell(_number: int, _frame: object) -> None:
        raise Alarm

    before = signal.signal(signal.SIGALRM, ring_bell)
    try:
        with bpfmap.RingBuffer(opened.maps["events"], lambda _: None) as ring, pytest.raises(Alarm):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            ring.poll(60_000)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# Features


def test_features_of_this_kernel() -> None:
    """Against what the kernel itself exports, where it does."""
    found = {name: probe() for name, probe in features.PROBES.items()}
    names = ["tcx", "ringbuf", "lru", "inner_maps", "mmapable", "batch", "jit", "btf", "cgroups"]
    assert list(found) == names
    assert all(found[name] for name in ("ringbuf", "lru", "inner_maps", "mmapable", "batch"))  # all in 5.10
    assert found["jit"] == (Path("/proc/sys/net/core/bpf_jit_enable").read_text().strip() != "0")
    functions = Path("/sys/kernel/btf/vmlinux").read_bytes()
    assert found["tcx"] == (b"\0tcx_prog_query\0" in functions)
    assert libbpf.version().startswith("v1.")


def test_a_missing_feature_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacks(*_: object) -> int:
        return -errno.EINVAL

    monkeypatch.setattr(libbpf.functions(), "bpf_prog_query", lacks)
    monkeypatch.setattr(libbpf.functions(), "bpf_map_create", lacks)
    monkeypatch.setattr(libbpf.functions(), "bpf_map_lookup_batch", lambda *_: -524)
    assert not any((features.tcx(), features.ringbuf(), features.lru(), features.inner_maps()))
    assert bpfprog.tcx_programs(1, ingress=True) == ()


def test_without_batches_all_is_done_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with bpfmap.create_map(MapType.HASH, "t_single", 4, 8, 100) as each:
        for name in ("lookup", "update", "delete"):
            monkeypatch.setattr(libbpf.functions(), f"bpf_map_{name}_batch", lambda *_: -524)
        assert not each.reads_batches()
        wanted = {U32.pack(i): U64.pack(i) for i in range(50)}
        assert each.update_batch(wanted.items()) == 50
        assert dict(each.items()) == wanted
        assert each.delete_batch([*wanted, U32.pack(99)]) == 50
        assert list(each.items()) == []
