"""The main job on the built-in model: the same seed, the same text, alone, among 64 others, streamed or not."""

from __future__ import annotations

import ulam


def test_the_same_seed_gives_the_same_story_alone_among_64_others_and_streamed() -> None:
    model = ulam.load()
    words = ("cat", "dog", "tree", "ball", "hat", "boat", "bird", "cake")
    prompts = [f"Once upon a time, a {one} saw a {other}" + "." * (i % 3) for i, one in enumerate(words) for other in words] + [""]
    recipes = [f"temperature={0.5 + i % 7 / 10:.1f} top_p=0.95" if i % 2 else "repetition_penalty=1.1 min_p=0.05" for i in range(len(prompts))]
    together = ulam.sample(model, prompts, recipes, max_tokens=24, seed=11)
    assert len(together) == 65
    for index in (0, 17, 63, 64):
        sample = together[index]
        alone = ulam.sample(model, prompts[index], recipes[index], max_tokens=24, seed=11, sequence=sample.sequence)[0]
        run = ulam.stream(model, prompts[index], recipes[index], max_tokens=24, seed=11, sequence=sample.sequence)
        streamed = "".join(event.text for event in run)
        assert alone.tokens == sample.tokens
        assert alone.model_log_probs.tobytes() == sample.model_log_probs.tobytes()
        assert alone.recipe_log_probs.tobytes() == sample.recipe_log_probs.tobytes()
        assert streamed == alone.text == sample.text


def test_samples_of_one_prompt_differ_and_are_each_reproducible() -> None:
    model = ulam.load()
    four = ulam.sample(model, "Once upon a time", n=4, max_tokens=16, seed=5)
    assert len({sample.text for sample in four}) == 4
    again = ulam.sample(model, "Once upon a time", max_tokens=16, seed=5, sequence=four[3].sequence)[0]
    assert again.tokens == four[3].tokens
