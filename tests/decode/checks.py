"""What must hold of the loop, each as one function that raises `AssertionError`. The tests run them, and so do the planted faults."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np

import ulam
from ulam.core.noise import Address, PhiloxNoise, sequence_number
from ulam.decode import SampleEvent, TokenEvent
from ulam.decode import text as text_module

from .conftest import Prefix, Probs, Tree, assert_given_back, distance, law_of, shown, walk

Shape = Callable[[Probs, Prefix], list[float]]

# the law of one token, by arithmetic of this file


def normal(weight: Sequence[float]) -> list[float]:
    return [w / math.fsum(weight) for w in weight]


def temperature(T: float) -> Shape:
    return lambda probs, prefix: normal([p ** (1 / T) for p in probs])


def top_p(least: float) -> Shape:
    def shape(probs: Probs, prefix: Prefix) -> list[float]:
        mass, kept = 0.0, set()
        for token in sorted(range(len(probs)), key=lambda i: (-probs[i], i)):
            if mass < least:
                kept.add(token)
            mass += probs[token]
        return normal([p if i in kept else 0.0 for i, p in enumerate(probs)])

    return shape


def greedy(probs: Probs, prefix: Prefix) -> list[float]:
    return [float(i == probs.index(max(probs))) for i in range(len(probs))]


def presence(a: float) -> Shape:
    return lambda probs, prefix: normal([p * math.exp(-a) if i in prefix else p for i, p in enumerate(probs)])


def chain(*shapes: Shape) -> Shape:
    def shape(probs: Probs, prefix: Prefix) -> list[float]:
        for each in shapes:
            probs = each(probs, prefix)
        return list(probs)

    return shape


RECIPES: dict[str, Shape] = {
    "": chain(),
    "gumbel_max": chain(),
    "temperature=0.7 top_p=0.8": chain(temperature(0.7), top_p(0.8)),
    "top_p=0.8 temperature=1.5 gumbel_max": chain(top_p(0.8), temperature(1.5)),
    "presence_penalty=0.9 temperature=0.6": chain(presence(0.9), temperature(0.6)),
    "greedy": greedy,
    "presence_penalty=1.5 greedy": chain(presence(1.5), greedy),
}

# the running example of the design, a model with every kind of leaf, and one whose tokens are parts of characters

D = Tree({(): (0.5, 0.4, 0.1), (0,): (0, 0.5, 0.5), (1,): (0, 0, 1), (0, 1): (0, 0, 1)}, [b"x", b"y", b""], ends=[2])


def irregular(size: int, seed: int, zeros: float = 0.3) -> Callable[[Prefix], list[float]]:
    """Rows of a Dirichlet law, some entries zero, a function of the prefix."""

    def row(prefix: Prefix) -> list[float]:
        rng = np.random.default_rng([seed, len(prefix), *prefix])
        weight = rng.exponential(size=size) ** 2 * (rng.random(size) > zeros)
        weight[rng.integers(size)] += 0.1
        return normal(weight.tolist())

    return row


def model_of(seed: int) -> Tree:
    """Tokens a, b, ab, the two halves of an e with an accent, and an end."""
    return Tree(irregular(6, seed), [b"a", b"b", b"ab", b"\xc3", b"\xa9", b""], ends=[5])


def check_law(model: Tree, prompt: Prefix, recipe: str, max_tokens: int, stop: Sequence[str] = ()) -> None:
    """The law of a run is the law of the walk, to 1e-12; every sample's log-probabilities are those of its leaf."""
    leaves = walk(model, prompt, RECIPES[recipe], max_tokens, stop)
    found: dict[Any, Any] = {}

    def run(noise: Any) -> Any:
        (sample,) = ulam.sample(model, [prompt], recipe, max_tokens=max_tokens, stop=stop, noise=noise)
        found[shown(sample)] = sample
        assert_given_back(model)
        return shown(sample)

    law = law_of(run)
    assert distance(law, {leaf: mass for leaf, (mass, _) in leaves.items()}) < 1e-12
    for leaf, sample in found.items():
        mass, model_log_prob = leaves[leaf]
        assert abs(sample.recipe_log_prob - math.log(mass)) < 1e-11
        assert abs(sample.model_log_prob - model_log_prob) < 1e-11
        assert len(sample.tokens) == len(sample.recipe_log_probs) == len(sample.model_log_probs)
    assert abs(math.fsum(math.exp(sample.recipe_log_prob) for sample in found.values()) - 1) < 1e-12


def check_ends_and_limits() -> None:
    check_law(D, (), "", 3)
    check_law(D, (), "temperature=0.7 top_p=0.8", 2)


def check_stop_strings_in_the_law() -> None:
    check_law(model_of(3), (0,), "", 3, stop=["ba", "abb"])


def check_joint_law() -> None:
    """Two prompts with recipes of their own, and two samples of one prompt, are independent."""
    model = Tree(irregular(3, 11), [b"a", b"b", b""], ends=[2])
    recipes = ["temperature=0.7 top_p=0.8", ""]
    one, other = (walk(model, (i,), RECIPES[recipes[i]], 3) for i in range(2))
    both = {(x, y): one[x][0] * other[y][0] for x in one for y in other}
    assert distance(law_of(lambda noise: tuple(map(shown, ulam.sample(model, [[0], [1]], recipes, max_tokens=3, noise=noise)))), both) < 1e-12
    twice = {(x, y): other[x][0] * other[y][0] for x in other for y in other}
    assert distance(law_of(lambda noise: tuple(map(shown, ulam.sample(model, [[1]], "", n=2, max_tokens=3, noise=noise)))), twice) < 1e-12


def large(seed: int = 2, size: int = 40) -> Tree:
    """Peaked rows over many tokens, with an end that comes after a dozen tokens or so."""

    def row(prefix: Prefix) -> Any:
        rng = np.random.default_rng([seed, len(prefix), *prefix])
        z = rng.normal(size=size) * 3
        z[size - 1] = z.max() - 2
        return z

    return Tree(row, [bytes([97 + i % 26]) for i in range(size - 1)] + [b""], ends=[size - 1], logits=True)


def exact(sample: Any) -> tuple[Any, ...]:
    """All of a sample but its place, log-probabilities bit for bit."""
    return (*shown(sample), sample.sequence, sample.model_log_probs.tobytes(), sample.recipe_log_probs.tobytes(), str(sample.recipe), str(sample.error))


OTHERS = (
    "temperature=0.7 top_p=0.8",
    "temperature=1.3 top_p=0.9",
    "",
    "gumbel_max",
    "top_k=5 min_p=0.1",
    "presence_penalty=0.5 greedy",
    "typical_p=0.6 temperature=0.4",
)


def check_alone_is_among_others(count: int = 64) -> None:
    """A row draws the same alone and among others with other prompts, recipes and lengths, in any order."""
    model = large()
    prompts = [[i % 7] * (i % 5 + 1) for i in range(count)]
    recipes = [OTHERS[i % len(OTHERS)] for i in range(count)]
    numbers = [sequence_number(i, i % 3) for i in range(count)]
    many = ulam.sample(model, prompts, recipes, sequence=numbers, max_tokens=12, seed=2**40 + 7)
    assert len({len(sample.tokens) for sample in many}) > 5
    for i in range(0, count, 7):
        (alone,) = ulam.sample(model, [prompts[i]], recipes[i], sequence=numbers[i], max_tokens=12, seed=2**40 + 7)
        assert exact(alone) == exact(many[i])
    order = random.Random(1).sample(range(count), count)
    mixed = ulam.sample(model, [prompts[i] for i in order], [recipes[i] for i in order], sequence=[numbers[i] for i in order], max_tokens=12, seed=2**40 + 7)
    assert [exact(sample) for sample in mixed] == [exact(many[i]) for i in order]
    assert_given_back(model)


def check_samples_of_a_prompt() -> None:
    """Sample j of eight is the one sample that is asked for by its number."""
    model = large()
    eight = ulam.sample(model, [[1], [2]], "temperature=0.9", n=8, max_tokens=9, seed=5)
    assert [sample.sequence for sample in eight] == [*range(8), *(2**32 + j for j in range(8))]
    assert len({sample.text for sample in eight}) > 12
    for sample in eight:
        (alone,) = ulam.sample(model, [sample.prompt_tokens], "temperature=0.9", sequence=sample.sequence, max_tokens=9, seed=5)
        assert exact(alone) == exact(sample)


def check_addresses() -> None:
    """Each token is the draw of its address: sequence (prompt << 32) + sample, position = tokens before it, by inverse CDF."""
    model = large()
    for sample in ulam.sample(model, [[1], [2], [3]], "", n=2, max_tokens=9, seed=9):
        assert sample.sequence == (sample.index // 2 << 32) + sample.index % 2
        for position, token in enumerate(sample.tokens):
            z = model.after((*sample.prompt_tokens, *sample.tokens[:position]))
            weight = np.exp(z - z.max())
            u = float(PhiloxNoise(9).uniform(Address(sample.sequence, position)))
            assert token == int(np.searchsorted(np.cumsum(weight), u * weight.sum(), side="right"))


def check_streamed_is_unstreamed() -> None:
    """Events joined are the samples: tokens, both log-probabilities, and the text."""
    model = model_of(4)
    arguments: dict[str, Any] = {"n": 20, "max_tokens": 8, "seed": 3, "stop": ["ba", "é"]}
    run = ulam.stream(model, [[0], [1]], "temperature=1.2", **arguments)
    tokens: dict[int, list[TokenEvent]] = {}
    texts: dict[int, str] = {}
    done: dict[int, Any] = {}
    for event in run:
        assert event.row not in done, "an event after the end of its row"
        texts[event.row] = texts.get(event.row, "") + event.text
        if isinstance(event, SampleEvent):
            done[event.row] = event.sample
        else:
            assert event.position == len(tokens.setdefault(event.row, []))
            tokens[event.row].append(event)
    assert sorted(done) == list(range(40))
    for sample, row in zip(ulam.sample(model, [[0], [1]], "temperature=1.2", **arguments), sorted(done), strict=True):
        assert exact(sample) == exact(done[row]) == exact(run.samples[row])
        assert texts[row].encode() == sample.text.encode()
        assert tuple(event.token for event in tokens[row]) == sample.tokens
        assert np.array([event.model_log_prob for event in tokens[row]]).tobytes() == sample.model_log_probs.tobytes()
        assert np.array([event.recipe_log_prob for event in tokens[row]]).tobytes() == sample.recipe_log_probs.tobytes()
    assert {sample.finish_reason for sample in done.values()} == {"stop", "length"}


def check_prompts_are_read_once() -> None:
    """However many samples: one prefill with each prompt once, no row stepped after its end, every state given back."""
    model = large()
    samples = ulam.sample(model, [[1], [2, 3], [4]], ["", "greedy", "top_k=3"], n=5, max_tokens=9, seed=4)
    assert model.asked("prefill") == [[(1,), (2, 3), (4,)]]
    assert sum(model.asked("step")) == sum(len(sample.tokens) - 1 for sample in samples)
    assert len(model.asked("step")) == max(len(sample.tokens) for sample in samples) - 1
    assert_given_back(model)


# text as it comes


def splits(raw: bytes, pieces: int) -> list[list[bytes]]:
    """Every way to cut `raw` into so many pieces, empty ones left out."""
    return [[raw[a:b] for a, b in zip((0, *cut), (*cut, len(raw)), strict=True)] for cut in combinations(range(1, len(raw)), pieces - 1)]


def told(pieces: Sequence[bytes], stop: Sequence[str] = ()) -> tuple[str, str | None]:
    """What a stream says of these pieces, joined, and the stop string; it must never take anything back."""
    stream = text_module.TextStream(stop)
    said = "".join(stream.feed(piece) for piece in pieces)
    return said + stream.finish(), stream.stopped_by


WHOLE = "aé€🙂ß漢".encode()
BROKEN = [
    b"\xff",
    b"\xe2\x82",
    b"\xe2\x28\xa1",
    b"\xf0\x9f\x99",
    b"\xf0\x9f\x99a\x82",
    b"\xc0\x80\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"a\x80\xc3\xc3\xa9\xe2",
    b"\xf0\x9f\xf0\x9f\x99\x82",
    b"\xef\xbb\xbfa\x00",
]


def check_characters() -> None:
    """Whole and broken UTF-8, in every way to cut it into two, three or single bytes: the text is that of the bytes at once."""
    for raw in (WHOLE, *BROKEN, *(WHOLE[:-1] + broken + b"z" for broken in BROKEN)):
        whole = raw.decode("utf-8", "replace")
        for pieces in ([raw], [bytes([byte]) for byte in raw], *splits(raw, 2), *splits(raw, 3)):
            assert told(pieces) == (whole, None)


def cut(text: str, stop: Sequence[str]) -> tuple[str, str | None]:
    """The text before the stop string that is complete first; the longer of two that are complete together."""
    for end in range(1, len(text) + 1):
        found = [word for word in stop if text[:end].endswith(word)]
        if found:
            word = max(found, key=len)
            return text[: end - len(word)], word
    return text, None


def cuttings(raw: bytes, rng: random.Random) -> list[bytes]:
    marks = sorted(rng.sample(range(1, len(raw)), rng.randint(0, min(4, len(raw) - 1)))) if len(raw) > 1 else []
    return [raw[a:b] for a, b in zip((0, *marks), (*marks, len(raw)), strict=True)]


STOPS = [
    ("ab",),
    ("aab", "b"),
    ("aba", "ab"),
    ("b", "bb"),
    ("abab",),
    ("é", "aé"),
    ("aaa", "éa"),
    ("\ufffd",),
    ("🙂b", "bé\n"),
    ("a\ufffd", "ba"),
    ("aba", "b"),
    ("aéa", "é", "bb"),
]


def check_stops() -> None:
    """Random texts in random pieces: the cut does not depend on the pieces, and is the one of a plain search."""
    rng = random.Random(7)
    for stop in STOPS:
        for _ in range(60):
            raw = "".join(rng.choice(["a", "a", "b", "é", "🙂", "\n"]) for _ in range(rng.randint(1, 9))).encode()
            raw = raw[: len(raw) - rng.randint(0, 1)] or b"a"
            expect = cut(raw.decode("utf-8", "replace"), stop)
            for _ in range(4):
                assert told(cuttings(raw, rng), stop) == expect


def speaker(pieces: Sequence[bytes]) -> Tree:
    """A model that says these tokens after a prompt of one token, and then ends."""
    size = len(pieces)
    return Tree(lambda prefix: [float(i == len(prefix) - 1) for i in range(size + 1)], [*pieces, b""], ends=[size])


def check_stops_in_the_loop() -> None:
    """The same text, drawn in other tokens, ends at the same place with the same word."""
    text = "xaéb🙂c"
    for stop in (["éb"], ["🙂"], ["b", "aéb🙂"], ["c"], ["q"], ["c", "🙂c"]):
        before, word = cut(text, stop)
        results = set()
        for pieces in ([text.encode()], [bytes([byte]) for byte in text.encode()], *splits(text.encode(), 3)):
            (sample,) = ulam.sample(speaker(pieces), [[0]], "", stop=stop, seed=1)
            results.add((sample.text, sample.stopped_by if sample.stopped_by in stop else None, sample.finish_reason))
        assert results == {(before, word, "stop")}


def check_failing_rows() -> None:
    """A row that fails ends alone, with its error and what it had; its mates are what they are without it."""
    healthy = large()
    for bad in ([math.nan] * 40, [-math.inf] * 40, [0.0] * 39 + [math.inf]):
        model = large()
        model.after = lambda prefix, after=model.after, bad=bad: bad if prefix[0] == 3 and len(prefix) == 4 else after(prefix)
        recipes = ["temperature=0.7 top_p=0.8", "temperature=0.7 top_p=0.9", "temperature=0.7 top_p=0.8", "gumbel_max"]
        samples = ulam.sample(model, [[1], [2], [3], [4]], recipes, n=2, max_tokens=8, seed=6)
        wanted = ulam.sample(healthy, [[1], [2], [3], [4]], recipes, n=2, max_tokens=8, seed=6)
        for sample, other in zip(samples, wanted, strict=True):
            if sample.prompt_tokens == (3,):
                assert (sample.finish_reason, sample.stopped_by) == ("error", None)
                assert isinstance(sample.error, ulam.UlamError)
                assert (type(sample.error).__name__, sample.error.row, sample.error.position) == ("InvalidLogits", sample.index, 3)
                assert sample.tokens == other.tokens[:3]
                assert sample.text == other.text[:3]
                assert sample.recipe_log_probs.tobytes() == other.recipe_log_probs[:3].tobytes()
            else:
                assert exact(sample) == exact(other)
        assert_given_back(model)


def check_cancel() -> None:
    """Rows that are not done end as cancelled after the step in which they were told to, with all they have."""
    whole = ulam.sample(large(), [[1], [2]], "", n=3, max_tokens=9, seed=8)
    for after in range(1, 30):
        model = large()
        run = ulam.stream(model, [[1], [2]], "", n=3, max_tokens=9, seed=8)
        drawn = 0
        for event in run:
            drawn += isinstance(event, TokenEvent)
            if drawn == after:
                run.cancel()
        steps = max(len(sample.tokens) for sample in run.samples)
        assert len(run.samples) == 6
        for sample, other in zip(run.samples, whole, strict=True):
            done = len(other.tokens) <= steps
            assert sample.finish_reason == (other.finish_reason if done else "cancelled")
            assert sample.tokens == other.tokens[:steps]
            assert sample.text == other.text[:steps]
            assert sample.model_log_probs.tobytes() == other.model_log_probs[:steps].tobytes()
        assert sum(min(len(other.tokens), steps - 1) for other in whole) < after <= sum(len(sample.tokens) for sample in run.samples)
        assert_given_back(model)
