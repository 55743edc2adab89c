"""Files to documents: what is read, what is refused, what is held out."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulam.core.errors import TrainingTextError
from ulam.train.corpus import END, SMALLEST, Corpus, Source, hold_out, read_corpus, read_documents

LONG = "word " * (SMALLEST // 5)


def test_documents_stand_between_marks(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(f"\ufeffone\r\ntwo\n{END}\n\n{END}three \n{END}".encode())
    documents, sources = read_documents([path], 1)
    assert documents == ["one\ntwo", "three "]
    raw = path.read_bytes()
    assert sources == [Source("a.txt", len(raw), hashlib.sha256(raw).hexdigest())]


@pytest.mark.parametrize(
    ("raw", "says", "fix"),
    [
        (b"", "holds no text", "some pages"),
        (b" \n\n", "holds no text", "some pages"),
        (b"a few words", "11 characters", "more text"),
        (b"text\0more", "binary (a zero byte at offset 4)", "UTF-8"),
        ("text".encode("utf-16"), "UTF-16", "iconv -f utf-16"),
        (b"caf\xe9 " * 500, "not UTF-8 text (byte offset 3)", "iconv -f latin1"),
    ],
)
def test_what_is_no_text_says_what_it_is(tmp_path: Path, raw: bytes, says: str, fix: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(raw)
    with pytest.raises(TrainingTextError) as caught:
        read_corpus([path])
    assert says in caught.value.what
    assert fix in (caught.value.fix or "")
    assert caught.value.exit_code == 2


def test_a_path_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(TrainingTextError, match="cannot read"):
            read_corpus([path])


def test_validation_text_is_not_training_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(LONG)
    (tmp_path / "b.txt").write_text(LONG)
    with pytest.raises(TrainingTextError, match=r"b\.txt has the same bytes as the training file a\.txt"):
        read_corpus([tmp_path / "a.txt"], [tmp_path / "b.txt"])


def test_validation_text_may_be_short(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(LONG)
    (tmp_path / "b.txt").write_text("ten words.")
    corpus = read_corpus([tmp_path / "a.txt"], [tmp_path / "b.txt"])
    assert corpus.valid == ["ten words."]
    assert [source.name for source in corpus.valid_sources] == ["b.txt"]


@given(st.lists(st.text("ab \n", min_size=1, max_size=90), min_size=1, max_size=40).filter(lambda texts: sum(map(len, texts)) > 1))
def test_both_sides_hold_text_and_nothing_is_lost(documents: list[str]) -> None:
    kept, held = hold_out(documents, 0.1)
    assert all(kept)
    assert all(held)
    assert "".join(kept + held) == "".join(documents)


def test_whole_documents_are_held_out_where_there_are_many() -> None:
    documents = [f"document number {i:03}" for i in range(200)]
    assert hold_out(documents, 0.05) == (documents[:190], documents[190:])


def test_a_single_document_is_cut_between_words() -> None:
    (kept,), (held,) = hold_out(["one two three four five six seven eight nine ten"], 0.2)
    assert (kept, held) == ("one two three four five six seven", " eight nine ten")


def test_the_hash_knows_every_document_and_its_side() -> None:
    corpora = [Corpus(["ab", "c"], ["d"]), Corpus(["a", "bc"], ["d"]), Corpus(["ab"], ["c", "d"]), Corpus(["ab", "c"], ["e"])]
    assert len({corpus.sha256 for corpus in corpora}) == len(corpora)
    assert corpora[0].sha256 == Corpus(("ab", "c"), ("d",), [Source("x", 1, "")]).sha256
