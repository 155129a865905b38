"""Items come and go; whatever else stands in the file stays."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from nola_core.yaml_list import with_item, without_item

HEAD, TAIL = "# top\nseed: 1   # why\n", "\n# below\nafter: {a: 1}  # end\n"
FORMS = {
    "inline": "names: [one, two]   # both\n",
    "inline over lines": "names: [\n  one,  # first, of all\n  two,  # second\n]\n",
    "inline over lines, comma before": "names: [ one # first\n  , two ]\n",
    "indented": "names:   # a line each\n\n  - one  # first\n  # then\n  - two\n",
    "not indented": "names:\n- one\n- 'two'   # second\n",
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("tail", [TAIL, ""])
def test_an_item_added_is_the_last_and_one_taken_out_leaves_the_text_as_it_was(form: str, tail: str) -> None:
    text = HEAD + form + tail
    more = with_item(text, "names", "three")
    assert yaml.safe_load(more) == yaml.safe_load(text) | {"names": ["one", "two", "three"]}
    assert without_item(more, "names", "three") == text


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("item", ["one", "two"])
def test_others_keep_their_comments(form: str, item: str) -> None:
    text = HEAD + form + TAIL
    less = without_item(text, "names", item)
    assert yaml.safe_load(less) == yaml.safe_load(text) | {"names": [name for name in ("one", "two") if name != item]}
    own = {"one": ["# first", "# first, of all"], "two": ["# second"]}[item]
    for line in text.splitlines():
        comment = line[line.find("#") :] if "#" in line else ""
        assert comment in less or comment in own


@given(
    st.lists(st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True), min_size=1, max_size=5, unique=True), st.booleans(), st.data()
)
def test_any_list_is_edited_as_a_list_is(names: list[str], flow: bool, data: st.DataObject) -> None:
    names = [f"x{name}" for name in names]  # no word that YAML takes for a number or a truth
    text = yaml.safe_dump({"a": 1, "names": names, "z": {"names": ["x"]}}, default_flow_style=None if flow else False)
    gone = data.draw(st.sampled_from(names))
    rest = [name for name in names if name != gone]
    if rest or flow:
        assert yaml.safe_load(without_item(text, "names", gone))["names"] == rest
    assert yaml.safe_load(with_item(text, "names", "new"))["names"] == [*names, "new"]
    assert yaml.safe_load(with_item("names: []\n", "names", "new"))["names"] == ["new"]


@pytest.mark.parametrize("text", ["", "a: 1\n", "names:\n", "names: {a: 1}\n", "- names\n"])
def test_where_there_is_no_list_it_says_so(text: str) -> None:
    with pytest.raises(ValueError, match="there is no list `names`"):
        with_item(text, "names", "new")
