"""A byte-level BPE tokenizer, fitted to the training text (library: `tokenizers`)."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from .corpus import END


def fit_tokenizer(documents: Sequence[str], vocabulary: int) -> Tokenizer:
    """Byte-level BPE with at most `vocabulary` tokens. Id 0 is `<|endoftext|>`, the start and the end of a document.

    Fewer tokens come out where the text has no pair left that it holds twice. Encoding with special tokens puts
    the start token in front, so `transformers` and `ulam` begin alike.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, min_frequency=2, special_tokens=[END], initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(documents, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{END} $A", pair=f"{END} $A $B", special_tokens=[(END, 0)])
    return tokenizer
