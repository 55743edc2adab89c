"""The header of a GGUF file: written here by hand, byte by byte, then damaged."""

from __future__ import annotations

import random
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gguf_tiny import write_gguf
from ulam.core.errors import ModelError
from ulam.models import gguf_file
from ulam.models.gguf_file import Header, read_header, sampling

TOKENS = "tokenizer.ggml.tokens"


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def setting(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def listed(kind: int, count: int, values: bytes) -> bytes:
    return struct.pack("<IQ", kind, count) + values


def tensor(name: str, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    return text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}QIQ", *shape, kind, offset)


def whole(settings: list[bytes], tensors: list[bytes] = [], data: int = 0, alignment: int = 32, version: int = 3) -> bytes:  # noqa: B006
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(settings)) + b"".join([*settings, *tensors])
    return head + bytes(-len(head) % alignment) + bytes(data)


GOOD = whole(
    [
        setting("general.architecture", 8, text("llama")),
        setting("general.sampling.temp", 6, struct.pack("<f", 0.7)),
        setting("general.sampling.top_k", 5, struct.pack("<i", 40)),
        setting("general.sampling.sequence", 8, text("kpt")),
        setting("some.flag", 7, b"\x01"),
        setting("some.big", 10, struct.pack("<Q", 2**63)),
        setting(TOKENS, 9, listed(8, 3, text("a") + text(b"\xff") + text(""))),
        setting("tokenizer.ggml.scores", 9, listed(6, 3, bytes(12))),
        setting("tokenizer.ggml.token_type", 9, listed(5, 3, bytes(12))),
    ],
    [tensor("one", (4, 3), 0, 0), tensor("two", (256, 2), 12, 64)],
    64 + 2 * 144,
)


def reads(path: Path, raw: bytes) -> Header:
    path.write_bytes(raw)
    return read_header(path, "x.gguf")


def test_settings_lists_and_tensors(tmp_path: Path) -> None:
    header = reads(tmp_path / "x.gguf", GOOD)
    assert header.settings == {
        "general.architecture": "llama",
        "general.sampling.temp": 0.7,
        "general.sampling.top_k": 40,
        "general.sampling.sequence": "kpt",
        "some.flag": True,
        "some.big": 2**63,
    }
    assert header.lists == {TOKENS: (8, 3), "tokenizer.ggml.scores": (6, 3), "tokenizer.ggml.token_type": (5, 3)}
    assert header.types == {0, 12}
    assert header.length == len(GOOD) - 64 - 2 * 144


def test_the_sampling_settings_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(GOOD)
    assert sampling(path) == {"general.sampling.temp": 0.7, "general.sampling.top_k": 40, "general.sampling.sequence": "kpt"}
    path.write_bytes(whole([]))
    assert sampling(path) == {}
    with pytest.raises(ModelError, match=r"there is no nowhere/x\.gguf"):
        sampling(Path("nowhere/x.gguf"))


@pytest.mark.parametrize("length", range(len(GOOD)))
def test_every_shorter_file_is_refused(tmp_path: Path, length: int) -> None:
    with pytest.raises(ModelError, match=r"^x\.gguf (is broken or cut short|is not a GGUF file)") as error:
        reads(tmp_path / "x.gguf", GOOD[:length])
    assert "\n" not in error.value.what


HUGE = struct.pack("<Q", 2**64 - 1)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"\x80\x04pickle", "is not a GGUF file"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "its bytes are in big-endian order"),
        (whole([], version=1), "its version is 1"),
        (whole([], version=4), "its version is 4"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**64 - 1), "the header ends beyond the file"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**64 - 1, 0), "the header ends beyond the file"),
        (whole([HUGE + bytes(20)]), "a key has 18,446,744,073,709,551,615 bytes"),
        (whole([setting("k", 8, HUGE)]), r'the setting "k" has'),
        (whole([setting("k", 9, struct.pack("<I", 10) + HUGE)]), r'the setting "k" ends beyond the file'),
        (whole([setting("k", 9, struct.pack("<I", 8) + HUGE)]), r'the setting "k" ends beyond the file'),
        (whole([setting("k", 9, listed(8, 1, HUGE))]), r'the setting "k" ends beyond the file'),
        (whole([setting("k", 9, listed(9, 1, bytes(12)))]), r'"k" is a list of the type 9'),
        (whole([setting("k", 13, bytes(8))]), r'"k" is of the type 13, which does not exist'),
        (whole([setting("k\x1b[2J", 13, bytes(8))]), r'"k\\u001b\[2J" is of the type'),
        (whole([setting("k", 8, text(b"\xff"))]), r'"k" is not UTF-8'),
        (whole([setting("k", 0, b"\0"), setting("k", 0, b"\0")]), r'"k" is there twice'),
        (whole([setting(TOKENS, 9, listed(8, 2, text("a") * 2))]), 'names "a" twice, the second time as 1'),
        (whole([setting(TOKENS, 9, listed(8, 2, text("a") + text("a\0b")))]), 'names "a" twice'),
        (whole([setting(TOKENS, 9, listed(5, 2, bytes(8)))]), "tokens has 2 entries of the type 5 for 2 tokens"),
        (whole([setting(TOKENS, 9, listed(8, 1, text("a"))), setting("tokenizer.ggml.scores", 9, listed(6, 0, b""))]), "scores has 0 entries"),
        (whole([setting("general.architecture", 8, text("m")), setting("m.block_count", 4, struct.pack("<I", 513))]), "which no network has"),
        (whole([setting("general.architecture", 8, text("m")), setting("m.block_count", 4, bytes(4))]), r'"m\.block_count" is 0'),
        (whole([setting("general.architecture", 8, text("m")), setting("m.attention.layer_norm_rms_epsilon", 6, b"\xff" * 4)]), "is nan, which no"),
        (whole([setting("general.alignment", 4, struct.pack("<I", 12))]), "general.alignment is 12"),
        (whole([setting("general.alignment", 4, bytes(4))]), "general.alignment is 0"),
        (whole([setting("general.alignment", 8, text("32"))]), 'general.alignment is "32"'),
        (whole([], [tensor("t", (4,), 0, 0)] * 2, 64), r'the tensor "t" is there twice'),
        (whole([], [tensor("t", (1, 1, 1, 1, 1), 0, 0)], 64), "has 5 dimensions"),
        (whole([], [tensor("t", (4,), 0, 4)], 64), "does not begin or end at the border of a block"),
        (whole([], [tensor("t", (31,), 2, 0)], 64), "does not begin or end at the border of a block"),
        (whole([], [tensor("t", (16,), 0, 0)], 63), "its tensors need 1 bytes more"),
        (whole([], [tensor("t", (32, 4), 2, 0)], 71), "its tensors need 1 bytes more"),
        (whole([], [tensor("t", (2**62, 2**62), 0, 0)], 64), "its tensors need"),
        (whole([], [tensor("t", (4,), 99, 2**63)], 64), "its tensors need"),
    ],
)
def test_what_is_refused(tmp_path: Path, raw: bytes, words: str) -> None:
    with pytest.raises(ModelError, match=words) as error:
        reads(tmp_path / "x.gguf", raw)
    assert error.value.what.startswith("x.gguf ")
    assert error.value.what.isprintable()
    assert error.value.fix


def test_a_tensor_of_exactly_the_rest_is_taken(tmp_path: Path) -> None:
    assert reads(tmp_path / "x.gguf", whole([], [tensor("t", (16,), 0, 0)], 64)).length == 64
    assert reads(tmp_path / "x.gguf", whole([], [tensor("t", (32, 4), 2, 0)], 72)).types == {2}


def test_an_alignment_of_its_own(tmp_path: Path) -> None:
    raw = whole([setting("general.alignment", 4, struct.pack("<I", 128))], [tensor("t", (2,), 0, 0)], 8, alignment=128)
    assert reads(tmp_path / "x.gguf", raw).length == 128


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_damaged_files_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    draw, raw = random.Random(seed), bytearray(GOOD)
    for _ in range(draw.randint(1, 4)):
        raw[draw.randrange(len(raw))] = draw.choice([0, 1, 255, draw.randrange(256)])
    path = tmp_path_factory.getbasetemp() / "damaged.gguf"
    try:
        said = f"x.gguf has a header of {reads(path, bytes(raw)).length}"
    except ModelError as error:
        said = error.what
    assert said.startswith("x.gguf ")
    assert said.isprintable()


def test_a_length_that_is_a_lie_takes_no_memory(tmp_path: Path) -> None:
    """A file with a hole of 4 GiB whose list of texts says that it has 2^28 entries, the first of which is the rest of the file."""
    path = tmp_path / "x.gguf"
    with path.open("wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<IIQQ", 9, 8, 2**28, 2**32 - 2**20))
        file.truncate(2**32)
    tracemalloc.start()
    with pytest.raises(ModelError, match="ends beyond the file"):
        read_header(path, "x.gguf")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2**25


def test_what_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match=r"^folder is a directory"):
        read_header(tmp_path, "folder")

    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "x.gguf").write_bytes(GOOD)
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ModelError, match=r"^x\.gguf cannot be read: Permission denied"):
        read_header(tmp_path / "x.gguf", "x.gguf")


def test_files_of_the_gguf_package(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    path = write_gguf(tmp_path / "x.gguf", settings={"general.sampling.min_p": 0.05})
    header, theirs = read_header(path, "x.gguf"), gguf.GGUFReader(path)
    assert header.length == min(t.data_offset for t in theirs.tensors)
    assert header.types == {int(t.tensor_type) for t in theirs.tensors}
    assert {*header.settings, *header.lists} == {key for key in theirs.fields if not key.startswith("GGUF.")}
    assert sampling(path) == {"general.sampling.min_p": 0.05}


def test_the_sizes_of_blocks_are_those_of_the_gguf_package() -> None:
    constants = pytest.importorskip("gguf.constants")
    known = {int(kind): sizes for kind, sizes in constants.GGML_QUANT_SIZES.items()}
    assert {kind: gguf_file.BLOCKS[kind] for kind in known} == known
