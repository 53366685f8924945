"""What a thing is: values, files, functions that a reader wrote, code."""

import functools
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from empathy_lib.core import identity
from empathy_lib.core.errors import UserError
from empathy_lib.core.identity import digest, file_digest
from empathy_lib.core.schema import Answer, Item
from empathy_lib.reward.paid import r_format


def cell(source: str, **names):
    """Names of a notebook's cell after it ran."""
    space = {"__name__": "__main__", **names}
    exec(compile(source, "<cell>", "exec"), space)
    return space


def test_equal_values_have_equal_digests_and_others_do_not():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 2, "b": 1})
    assert len(digest("你\ud83d")) == 16
    assert (
        len({digest(v) for v in ("1", 1, 1.5, True, None, [1], [[1]], {"1": 1}, ["1", "1"], ["1,1"])}) == 10
    )
    assert digest((1, 2)) == digest([1, 2]) == digest(iter([1, 2])) == digest(np.array([1, 2]))
    table = pd.DataFrame({"a": [1, 2]})
    assert digest(table) == digest(table.copy()) != digest(table.assign(a=[2, 1]))


def test_an_item_is_what_it_holds():
    item = Item(id="1", question="帖", answers=[Answer(text="答")])
    same = item.model_copy(deep=True)
    assert digest([item]) == digest([same])
    same.answers[0].text = "答。"
    assert digest([item]) != digest([same])


def test_what_cannot_be_told_apart_is_refused():
    with pytest.raises(UserError, match=r"cannot tell one object from another; .* identity\(\)"):
        digest({"x": object()})


def test_a_readers_function_is_its_source_and_what_it_names():
    source = (
        "tau = {tau}\ndef helper(x): return x + {add}\ndef reward(completions, **_): return [helper(tau)]"
    )
    first, moved, other, deeper = (
        digest(cell(head + source.format(tau=tau, add=add))["reward"])
        for head, tau, add in (("", 0.5, 1), ("\n\n# a comment\n", 0.5, 1), ("", 0.6, 1), ("", 0.5, 2))
    )
    assert first == moved and len({first, other, deeper}) == 3


def test_a_closure_a_default_and_a_partial_count():
    made = cell("def make(x):\n    def f(y=1): return x + y\n    return f\ndef g(y=2): return y")
    assert digest(made["make"](1)) == digest(made["make"](1)) != digest(made["make"](2))
    g = made["g"]
    assert digest(functools.partial(g, y=1)) != digest(functools.partial(g, y=3)) != digest(g)
    assert digest(g) != digest(cell("def g(y=3): return y")["g"])


def test_the_librarys_own_functions_are_their_names(monkeypatch):
    before = digest(r_format)
    monkeypatch.setattr(r_format, "__code__", (lambda completions, **_: [0.0]).__code__)
    assert digest(r_format) == before


def test_a_readers_class_is_its_methods_and_fields():
    source = "@dataclass\nclass R:\n    x: int = 1\n    def rate(self): return {}"
    one, two = (cell(source.format(number), dataclass=dataclass)["R"] for number in (1, 2))
    assert digest(one()) == digest(one()) != digest(two()) and digest(one()) != digest(one(x=2))


CLASS = """
import functools, re
import numpy as np
from dataclasses import dataclass
from empathy_lib.core.copying import has_letters
pattern, table = re.compile({pattern!r}), np.array([{entry}])

class Helper:
    size = {size}

@dataclass
class Base:
    scale: float = 1.0
    def rate(self, answers): return [self.scale for _ in answers]

class Mine(Base):
    bonus = {bonus}
    def __init__(self):
        super().__init__()
        self.weight = {weight}
    @staticmethod
    def part(text): return len(text) + {static}
    @property
    def half(self): return {half}
    def rate(self, answers):
        if isinstance(answers, Mine): return []
        paid = super().rate(answers)
        more = table[0] + Helper.size
        return [p + self.part(a) + bool(pattern.search(a)) + more for p, a in zip(paid, answers)]
"""
CHOICES = {"pattern": "？", "entry": 1, "size": 2, "bonus": 0.5, "weight": 1, "static": 0, "half": 0.5}
OTHER = {"pattern": "！", "entry": 2, "size": 3, "bonus": 2.0, "weight": 2, "static": 1, "half": 0.6}


@pytest.mark.parametrize("changed", CHOICES)
def test_whatever_is_changed_of_a_readers_class_counts(changed):
    source = CLASS.replace("{pattern!r}", "'{pattern}'")

    def mine(**choices):
        return cell(source.format(**choices))["Mine"]()

    first = digest(mine(**CHOICES))
    assert digest(mine(**CHOICES)) == first
    assert digest(mine(**(CHOICES | {changed: OTHER[changed]}))) != first


def test_a_method_that_a_cell_puts_on_an_object_counts():
    space = cell(CLASS.replace("{pattern!r}", "'{pattern}'").format(**CHOICES))
    mine = space["Mine"]()
    before = digest(mine)
    exec("def rate(answers): return [1.0 for _ in answers]", space)
    mine.rate = space["rate"]
    assert digest(mine) != before


def test_what_a_function_names_and_cannot_be_told_apart_is_refused_and_an_attribute_is_no_name():
    with pytest.raises(UserError, match="cannot tell one object from another"):
        digest(cell("thing = object()\ndef reward(x): return thing")["reward"])
    digest(cell("mean = object()\ndef reward(x): return x.mean()")["reward"])


def test_two_functions_that_call_each_other_have_an_end():
    source = "def even(n): return n == 0 or odd(n - 1)\ndef odd(n): return n != {n} and even(n - 1)"
    one, two = (digest(cell(source.format(n=n))["even"]) for n in (0, 5))
    assert one != two


def test_an_object_may_say_what_it_is():
    @dataclass
    class Model:
        weights: object

        def identity(self):
            return ["model", self.weights]

    assert digest(Model("a")) == digest(Model("a")) != digest(Model("b"))


def test_a_script_beside_the_notebooks_is_the_readers_own(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("def f(): return 1\n")
    module = ModuleType("mine")
    module.__file__ = str(tmp_path / "mine.py")
    monkeypatch.setitem(__import__("sys").modules, "mine", module)
    assert identity._is_readers_own("mine")
    assert not identity._is_readers_own("numpy") and not identity._is_readers_own("json")
    assert not identity._is_readers_own("empathy_lib.core.run")


def test_files(tmp_path):
    folder = tmp_path / "空 格"
    (folder / "sub").mkdir(parents=True)
    (folder / "x").write_text("1")
    (folder / "sub" / "y").write_text("2")
    first = file_digest(folder)
    assert first == file_digest(folder)
    (folder / "x").rename(folder / "z")
    renamed = file_digest(folder)
    (folder / "sub" / "y").write_text("3")
    assert len({first, renamed, file_digest(folder), file_digest(folder / "sub" / "y")}) == 4
    with_log = file_digest(folder, without=frozenset({"log.jsonl"}))
    (folder / "sub" / "log.jsonl").write_text("took 3 s")
    assert file_digest(folder, without=frozenset({"log.jsonl"})) == with_log != file_digest(folder)
    with pytest.raises(UserError, match="no such file or folder"):
        file_digest(tmp_path / "none")


def test_code_up_to_a_package(tmp_path, monkeypatch):
    for package in identity.LAYERS:
        (tmp_path / package).mkdir()
        (tmp_path / package / "a.py").write_text("x = 1")
    monkeypatch.setattr(identity, "PACKAGE", tmp_path)
    code = identity.code_digest.__wrapped__
    early, late = code("dataset"), code("grpo")
    (tmp_path / "sft" / "a.py").write_text("x = 2")
    assert code("dataset") == early and code("grpo") != late


def test_git_commit(monkeypatch, tmp_path):
    assert identity.git_commit() == "unknown" or len(identity.git_commit().rstrip("+")) == 40
    monkeypatch.setattr(identity, "PACKAGE", tmp_path / "empathy_lib")
    assert identity.git_commit() == "unknown"
