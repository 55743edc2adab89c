"""A byte-level BPE tokenizer, fitted to the training text (library: `tokenizers`)."""

from __future__ import annotations

from typing import Sequence

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from .corpus import END


def fit_tokenizer(documents: Sequence[str], vocabulary: int) -> Tokenizer:
    """Byte-level BPE with `vocabulary` tokens. Id 0 is `<|endoftext|>`, the start and the end of a document.

    Encoding with special tokens puts the start token in front, so `transformers` and `ulam` begin alike.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        documents,
        trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=[END], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False),
    )
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{END} $A", pair=f"{END} $A $B", special_tokens=[(END, 0)])
    return tokenizer
