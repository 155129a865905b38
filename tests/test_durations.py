"""How long stages took: every stage writes it down, and what is damaged is nothing."""

from __future__ import annotations

from pathlib import Path

from nola_core.durations import address, durations, record


def test_a_damaged_record_is_none_and_hides_no_other(tmp_path: Path) -> None:
    assert durations(tmp_path) == {}
    record(tmp_path, address("tune", "digits"), 3.14159)
    record(tmp_path, address("embed", "digits", "clip"), 2)
    folder = tmp_path / ".nola" / "durations"
    (folder / "fit@digits.json").write_text("[broken")
    (folder / "select@digits.json").write_text('"soon"')
    assert durations(tmp_path) == {"tune@digits": 3.1, "embed@digits-clip": 2.0}
