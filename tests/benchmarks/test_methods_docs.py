"""The entries of docs/methods.md: every method has one, and its rows are those of the results."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest
import yaml

from benchmarks import beds, methods_docs
from nola_core.methods import registry
from nola_core.methods.method import TextMethod
from nola_core.methods.nola import Nola
from nola_core.schema import Section

PAGE = methods_docs.PAGE.read_text()
ENTRIES = dict(re.findall(r"^### `(\w+)`: .+?\n(.*?)(?=^##|\Z)", PAGE, re.DOTALL | re.MULTILINE))


def test_the_page_is_what_methods_and_results_say() -> None:
    assert methods_docs.page(PAGE) == PAGE, "docs/methods.md is out of date: run make docs (python -m benchmarks.methods_docs)"


@pytest.mark.parametrize("name", registry.names())
def test_a_method_has_an_entry_whose_rows_are_the_means_of_the_results(name: str) -> None:
    assert name in ENTRIES, f"docs/methods.md has no entry of {name}: run make docs"
    method, text = registry.find(name), ENTRIES[name]
    assert not re.search(r"^[+*] ", text, re.MULTILINE), (
        "a wrapped formula must not begin a line with + or *, which starts a list"
    )
    assert all(f"`{option}: " in text for option in method.section.model_fields) and method.paper in text
    results = pd.read_csv(methods_docs.RESULTS)
    results = results[results["method"].str.split().str[0] == name]
    told = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")]
    assert len(told) == (2 + results["protocol"].nunique() if len(results) else 0)
    for row in told[2:]:
        mine = results[results["protocol"] == row[0].split(",")[0]]
        by_variant = mine.groupby("variant")["top1_mean"].mean()
        expected = [*by_variant[list(beds.VARIANTS)], mine["top1_mean"].mean(), mine["gain_over_zero_shot"].mean()]
        assert [float(cell) for cell in row[1:10]] == pytest.approx(expected, abs=0.051)
        assert float(row[10].split()[0]) == pytest.approx(mine["gain_over_zero_shot"].min(), abs=0.051)
        options = json.loads(mine["method"].iloc[0].partition(" ")[2] or "{}")
        assert yaml.safe_load("{" + row[0].partition(", ")[2].replace("`", "") + "}") == options


class Options(Section):
    share: float | None = None
    names: list[str] = ["a"]  # noqa: RUF012  (pydantic copies it)


class Made(TextMethod):
    """What it does.

    When it helps.

    Attributes:
        name: not for the page.
    """

    name, title, summary, paper, section = "made", "Made up", "a method", "Nobody, 2026", Options

    def texts(self, texts, options):  # type: ignore[no-untyped-def]
        return texts.templates


class Taught(Nola):
    """Learns."""

    name, title, summary, paper, section = "taught", "Taught", "a student", "Nobody, 2026", Section


def test_a_new_method_needs_nothing_but_its_module() -> None:
    made = pd.read_csv(methods_docs.RESULTS).astype({"variant": str})
    text = methods_docs.entries([Taught(), Made()], made)
    assert text.split("## Students")[0].count("### `made`: Made up\n\nWhat it does.\n\nWhen it helps.\n\n- Inductive. ") == 1
    assert "Options: `share: null`, `names: [a]`.\n- Source: Nobody, 2026.\n\nNot measured in this table.\n" in text
    assert "### `taught`: Taught\n\nLearns.\n\n- Inductive. No options.\n" in text.split("## Students")[1]
