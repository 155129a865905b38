"""Texts of others on the page, and plots in its colours."""

from __future__ import annotations

from nola_core.report.style import INK, inlined, new_figure, shown, styled


def test_what_others_wrote_is_cut_visible_and_kept_in_its_place() -> None:
    assert shown("owl") == "owl"
    assert shown("x" * 10_000) == "x" * 79 + "…"
    assert shown("a\u202eb\x00\nc") == "a\\u202eb\\x00 c", "no letter turns the line round"
    assert shown("שלום") == "\u2068שלום\u2069"
    assert shown("👩\u200d🔬 owl") == "👩\u200d🔬 owl"


def test_a_plot_on_the_page_is_text_in_the_colours_of_the_scheme() -> None:
    with styled():
        figure = new_figure(3, 2)
        figure.subplots().set_title("<script>alert('$x$')</script> 🦉")
        drawing = inlined(figure, "one")
    assert "<script>" not in drawing and "&lt;script&gt;alert('$x$')" in drawing
    assert INK.lower() not in drawing.lower() and "var(--ink)" in drawing
    assert drawing == inlined(figure, "one") and "DejaVu" not in drawing
