"""Lossless vocabulary trimming: keep the embedding rows that a corpus needs, and the tokenizer in step.

Knows: the ``tokenizer.json`` of BPE tokenizers (byte fallback, as Gemma's, or byte level, as Qwen's) and how
rows of a model's embeddings follow from it. Does not know: where a base comes from or where the result lies.

Lossless means ``decode(encode(s)) == s`` for every string: what is cut is still written as bytes.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Iterable

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from empathy_lib.core.errors import UserError

SPACE_MARK = "▁"


def gb2312_characters() -> list[str]:
    """The 7,445 characters of GB 2312: simplified Chinese, punctuation, kana, Greek, Cyrillic."""
    rows = (bytes([high, low]) for high in range(0xA1, 0xF8) for low in range(0xA1, 0xFF))
    return [text for pair in rows if (text := pair.decode("gb2312", errors="ignore"))]


def trim_tokenizer(
    tokenizer: PreTrainedTokenizerFast, texts: Iterable[str], min_count: int
) -> tuple[PreTrainedTokenizerFast, list[int]]:
    """Cut a tokenizer down to what ``texts`` need.

    Kept: special tokens with a role, all bytes, ASCII, GB 2312, and each token seen at least ``min_count``
    times, closed under merges so that BPE still reaches it.

    Returns:
        The new tokenizer, and for each of its ids the old id (length = new vocabulary size).

    Raises:
        UserError: the tokenizer is no BPE that can spell every byte.
    """
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    model = state["model"]
    byte_level = "ByteLevel" in json.dumps([state.get("pre_tokenizer"), state.get("decoder")])
    if model["type"] != "BPE" or not (byte_level or model.get("byte_fallback")):
        raise UserError("this base's tokenizer is no byte-complete BPE; set base_model.trim_vocabulary=false")
    counts: Counter[int] = Counter()
    for text in texts:
        counts.update(tokenizer(text, add_special_tokens=False)["input_ids"])
    vocab: dict[str, int] = model["vocab"]
    spelling = {index: token for token, index in vocab.items()}
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in model["merges"]]
    parents: dict[str, tuple[str, str]] = {}
    for pair in merges:
        parents.setdefault("".join(pair), pair)
    kept = {spelling[i] for i, n in counts.items() if n >= min_count and i in spelling}
    alphabet = [chr(c) for c in range(32, 127)] + ["\n", SPACE_MARK, *gb2312_characters()]
    kept |= (
        {token for token in vocab if len(token) == 1} if byte_level else {c for c in alphabet if c in vocab}
    )
    kept |= {f"<0x{b:02X}>" for b in range(256)} & vocab.keys()
    todo = list(kept)
    while todo:
        for part in parents.get(todo.pop(), ()):
            if part not in kept:
                kept.add(part)
                todo.append(part)
    roles = {str(t) for t in tokenizer.all_special_tokens} | {str(model.get("unk_token"))}
    added = [
        t
        for t in state["added_tokens"]
        if byte_level or t["content"] in roles or counts[t["id"]] >= min_count
    ]
    old_ids = sorted({vocab[t] for t in kept} | {t["id"] for t in added})
    new_of = {old: new for new, old in enumerate(old_ids)}
    for token in added:
        token["id"] = new_of[token["id"]]
    state["added_tokens"] = added
    model["vocab"] = {t: new_of[i] for t, i in vocab.items() if i in new_of}
    model["merges"] = [list(p) for p in merges if p[0] in kept and p[1] in kept and "".join(p) in kept]
    for special in ((state.get("post_processor") or {}).get("special_tokens") or {}).values():
        special["ids"] = [new_of[i] for i in special["ids"]]
    if not byte_level:
        _spell_spaces_as_spaces(state)
    trimmed = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)),
        clean_up_tokenization_spaces=False,
        **{
            name: str(token) for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)
        },
    )
    trimmed.chat_template = tokenizer.chat_template
    return trimmed, old_ids


def _spell_spaces_as_spaces(state: dict) -> None:
    """Write the space mark as a real space, so that a literal ``▁`` in a post survives (it falls back to
    bytes)."""
    model = state["model"]
    model["vocab"] = {token.replace(SPACE_MARK, " "): index for token, index in model["vocab"].items()}
    model["merges"] = [[part.replace(SPACE_MARK, " ") for part in pair] for pair in model["merges"]]
    state["normalizer"] = state["pre_tokenizer"] = None
    state["decoder"] = {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]}


def trim_model(
    model: PreTrainedModel, old_ids: list[int], tokenizer: PreTrainedTokenizerFast
) -> PreTrainedModel:
    """Build a model with only the rows ``old_ids`` of its embeddings, in fp32 and free of any quantization
    config.

    A model read from GGUF can be neither saved nor trained as it is, so the weights move into a fresh config.
    """
    config = copy.deepcopy(model.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.vocab_size = len(old_ids)
    config.bos_token_id, config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
    config.pad_token_id = (
        tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    )
    rows = torch.tensor(old_ids)
    embeddings = {
        id(m.weight) for m in (model.get_input_embeddings(), model.get_output_embeddings()) if m is not None
    }
    state = {n: p.detach() for n, p in model.state_dict(keep_vars=True).items()}
    tables = {n for n, p in model.state_dict(keep_vars=True).items() if id(p) in embeddings}
    fresh = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    fresh.load_state_dict({n: (p[rows] if n in tables else p).to(torch.float32) for n, p in state.items()})
    fresh.tie_weights()
    fresh.generation_config.bos_token_id = config.bos_token_id
    # a chat model has several ends, of a turn and of the text; those that were cut it can no longer write
    ends = model.generation_config.eos_token_id
    kept = [new for new, old in enumerate(old_ids) if old in (ends if isinstance(ends, list) else [ends])]
    fresh.generation_config.eos_token_id = kept if len(kept) > 1 else config.eos_token_id
    fresh.generation_config.pad_token_id = config.pad_token_id
    return fresh
