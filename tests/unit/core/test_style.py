"""What all figures share: Chinese glyphs, colours that colour-blind readers tell apart, vector files that are
the same each time."""

import re
import warnings
from itertools import combinations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from empathy_lib.core import style
from empathy_lib.core.run import Run

CHINESE = "情绪与情境，原因与信念：“我总睡不着”；共情 · 支持 −1 ×"


@pytest.fixture(autouse=True)
def styled():
    with plt.rc_context():
        style.use_style()
        yield
    plt.close("all")


def ink(text):
    """The rendered text as an array of darkness."""
    figure = plt.figure(figsize=(1, 1), dpi=100)
    figure.text(0.5, 0.5, text, fontsize=40, ha="center", va="center")
    figure.canvas.draw()
    return 255 - np.asarray(figure.canvas.buffer_rgba())[..., 0].astype(int)


def test_chinese_is_rendered_without_tofu_boxes():
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of a glyph that its font lacks
        figure = style.caption(plt.figure(), CHINESE)
        figure.canvas.draw()
        for one, other in combinations("情绪信念", 2):
            assert ink(one).sum() > 10_000 and np.abs(ink(one) - ink(other)).sum() > 10_000, (
                "a box looks the same for every character"
            )


def test_the_same_check_sees_tofu_in_a_font_without_chinese():
    plt.rcParams["font.family"] = "DejaVu Sans"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert np.abs(ink("情") - ink("绪")).sum() == 0
    assert any("missing from" in str(warning.message) for warning in caught)


def test_a_figure_is_saved_as_png_and_as_vectors_the_same_each_time(tmp_path):
    run = Run.open("smoke", str(tmp_path))
    content = []
    for _ in range(2):
        figure, axes = plt.subplots()
        axes.plot([0, 1], [1, 0])
        axes.set_title(CHINESE)
        style.save(figure, run, "06_x")
        content.append((tmp_path / "figures" / "06_x.pdf").read_bytes())
    assert (tmp_path / "figures" / "06_x.png").stat().st_size > 1000
    assert content[0] == content[1] and b"CreationDate" not in content[0] and len(content[0]) < 60_000
    assert b"/FontFile" in content[0] and not re.search(rb"/Subtype\s*/Type3", content[0])


def test_systems_are_ordered_named_and_coloured_alike_everywhere():
    assert style.system_order(["x", "sft", "base", "a"]) == ["base", "sft", "a", "x"]
    assert style.system_label("sft") == "SFT with CoE" and style.system_label("x") == "x"
    assert style.SYSTEM_COLOURS.keys() == style.SYSTEM_LABELS.keys()


def test_a_watermark_stands_in_every_panel_inside_it_and_not_on_a_colour_bar():
    figure, panels = plt.subplots(1, 3, figsize=(9, 2))
    figure.colorbar(panels[2].imshow([[0, 1]]), ax=panels[2])
    panels[1].set_visible(False)
    style.watermark(style.caption(figure, "below"), "SIMULATED")
    figure.canvas.draw()
    for axes, times in zip(figure.axes, (1, 0, 1, 0), strict=True):
        marks = [text for text in axes.texts if text.get_text() == "SIMULATED"]
        assert len(marks) == times
        for mark in marks:
            inside, panel = mark.get_window_extent(), axes.get_window_extent()
            assert inside.width < panel.width and 0 < mark.get_alpha() < 0.4
            assert inside.width > panel.width / 3 or inside.height > panel.height / 2, "too small to be seen"


# Machado, Oliveira, Fernandes (2009), A physiologically-based model for simulation of color vision
# deficiency: severity 1, linear RGB.
DEFICIENCIES = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "normal": np.eye(3),
}


def lab(linear):
    """CIELAB (D65) of a linear RGB colour."""
    matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = np.cbrt(np.clip(np.array(matrix) @ linear / [0.9505, 1.0, 1.089], 0.008856, None))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("seen", DEFICIENCIES)
def test_colour_blind_readers_tell_the_systems_apart(seen):
    def look(colour):
        channels = np.array(to_rgb(colour))
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return lab(np.clip(np.array(DEFICIENCIES[seen]) @ linear, 0, 1))

    for one, other in combinations(style.SYSTEM_COLOURS.values(), 2):
        # about 2.3 is just noticeable
        assert np.linalg.norm(look(one) - look(other)) > 10, f"{one} and {other}"
