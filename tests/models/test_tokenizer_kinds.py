"""Tokenizers of every kind, trained here: the bytes of tokens, put together, are the library's own decode up to the stated rule."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from tests.tiny import TEXT
from ulam.core.errors import NeedsTokenizer
from ulam.core.vocabulary import Vocabulary
from ulam.models.tokenizer import CLEANED, read_vocabulary

SPECIAL = ["<unk>", "<s>", "</s>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def trained(tokenizer: Tokenizer, trainer: trainers.Trainer) -> Tokenizer:
    tokenizer.train_from_iterator([*TEXT, "isn't it? I'm: we've ' they're!"] * 3, trainer)
    return tokenizer


def with_bytes(tokenizer: Tokenizer) -> Tokenizer:
    """Trained with a token for every byte, which is an ordinary one: the trainer can only make special ones."""
    trainer = trainers.BpeTrainer(vocab_size=340, special_tokens=[*SPECIAL, *BYTES], limit_alphabet=40, show_progress=False)
    whole = json.loads(trained(tokenizer, trainer).to_str())
    return Tokenizer.from_str(json.dumps(whole | {"added_tokens": whole["added_tokens"][: len(SPECIAL)]}))


def llama_2() -> Tokenizer:
    """SentencePiece as Llama 2 has it: a space before the text by a normalizer, bytes for unknown letters, decoded in four steps."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return with_bytes(tokenizer)


def gemma() -> Tokenizer:
    """The same without the space before the text."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return with_bytes(tokenizer)


def metaspace() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return trained(tokenizer, trainers.BpeTrainer(vocab_size=140, special_tokens=SPECIAL, show_progress=False))


def unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return trained(tokenizer, trainers.UnigramTrainer(vocab_size=120, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False))


def word_piece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return trained(tokenizer, trainers.WordPieceTrainer(vocab_size=180, special_tokens=SPECIAL, show_progress=False))


def word_level() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return trained(tokenizer, trainers.WordLevelTrainer(vocab_size=60, special_tokens=SPECIAL, show_progress=False))


def suffixes() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.BPEDecoder("</w>")
    return trained(tokenizer, trainers.BpeTrainer(vocab_size=160, special_tokens=SPECIAL, end_of_word_suffix="</w>", show_progress=False))


KINDS = {make.__name__: make() for make in (llama_2, gemma, metaspace, unigram, word_piece, word_level, suffixes)}
SPACELESS = {"gemma"}  # no space is put before a word that begins a text
LOSSY = {"word_piece", "word_level", "suffixes"}  # line ends and double spaces are not kept


def read(tokenizer: Tokenizer) -> Vocabulary:
    return read_vocabulary(tokenizer.to_str().encode(), "t/tokenizer.json", size=tokenizer.get_vocab_size(), start=1, ends=(2,))


VOCABULARIES = {name: read(tokenizer) for name, tokenizer in KINDS.items()}


def own(name: str, ids: list[int]) -> str:
    """The library's decode with its rule of the first space (or the last) undone: what it drops there is put back, and `##` taken away."""
    text = KINDS[name].decode(ids, skip_special_tokens=True)
    if name == "word_piece":
        text = text.removeprefix("##")
    token = VOCABULARIES[name].tokens[ids[-1] if name == "suffixes" else ids[0]] if ids else b""
    if name == "suffixes":
        return text + " " * token.endswith(b" ")
    return text if name in SPACELESS else " " * token.startswith(b" ") + text


@pytest.mark.parametrize("name", KINDS)
@given(data=st.data())
def test_any_tokens_have_the_text_of_the_library(name: str, data: st.DataObject) -> None:
    """Any ids at all, not those of some text; single bytes of broken characters aside, whose replacement differs."""
    vocabulary = VOCABULARIES[name]
    whole = [i for i, raw in enumerate(vocabulary.tokens) if raw and raw.isascii() | (len(raw) > 1)]
    ids = data.draw(st.lists(st.sampled_from(whole), max_size=8))
    assert vocabulary.decode(ids) == own(name, ids)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("text", ["the cat", "The cat sat on the mat, and the dog", "a", "isn't the otter's ?", "日本語, naïve 🙂"])
def test_a_prompt_has_the_ids_of_the_library(name: str, text: str) -> None:
    ids = KINDS[name].encode(text, add_special_tokens=False).ids
    assert VOCABULARIES[name].encode_prompt(text) == ids
    known = [i for i in ids if VOCABULARIES[name].tokens[i]]
    assert VOCABULARIES[name].decode(known) == own(name, known)


@pytest.mark.parametrize("name", KINDS)
@given(text=st.text() | st.text("the catmso nd,.'\n", max_size=12) | st.sampled_from(TEXT))
def test_ids_have_exactly_the_text_or_are_refused(name: str, text: str) -> None:
    vocabulary = VOCABULARIES[name]
    try:
        ids = vocabulary.encode(text)
    except NeedsTokenizer:
        return
    assert vocabulary.decode(ids) == text


def test_texts_that_can_be_written_are() -> None:
    """Refusing everything would pass the test above."""
    for name in ("llama_2", "gemma"):
        for text in (*TEXT, "the", " the", "\n\n x", "日本語 🙂"):
            assert VOCABULARIES[name].decode(VOCABULARIES[name].encode(text)) == text
    for name, vocabulary in VOCABULARIES.items():
        text = "the " if name == "suffixes" else " the"
        assert vocabulary.decode(vocabulary.encode(text)) == text
    assert VOCABULARIES["llama_2"].encode("the") != VOCABULARIES["llama_2"].encode_prompt("the")


def test_bytes_of_sentence_piece() -> None:
    vocabulary = VOCABULARIES["llama_2"]
    at = {raw: i for i, raw in enumerate(vocabulary.tokens) if raw}
    assert vocabulary.tokens[3 + 10] == b"\n"
    assert {bytes([byte]) for byte in range(256)} <= set(at)
    assert vocabulary.names == {0: "<unk>", 1: "<s>", 2: "</s>"}
    assert "▁".encode() not in b"".join(vocabulary.tokens)


@pytest.mark.parametrize("before", [before for before, _ in CLEANED])
def test_the_tidying_of_word_piece(before: str) -> None:
    """Each of the library's rules, on a token of its own."""
    word = before.strip() or "'"
    tokenizer = Tokenizer(models.WordPiece({"<unk>": 0, "a": 1, word: 2, "##b": 3}, unk_token="<unk>"))
    tokenizer.decoder = decoders.WordPiece()
    vocabulary = read_vocabulary(tokenizer.to_str().encode(), "t", size=4, start=None, ends=())
    assert vocabulary.decode([1, 2, 3, 1]) == " " + tokenizer.decode([1, 2, 3, 1], skip_special_tokens=False)


def test_a_step_left_out_is_seen() -> None:
    """The planted fault: a decoder without its byte step writes `<0x0A>` where the library has a line end."""
    tokenizer = KINDS["llama_2"]
    wrong = Tokenizer.from_str(tokenizer.to_str())
    wrong.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    assert read(wrong).decode([13]) != tokenizer.decode([13])
    assert read(tokenizer).decode([13]) == tokenizer.decode([13]) == "\n"
