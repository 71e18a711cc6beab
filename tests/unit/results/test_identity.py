"""Canonical JSON: the same value has one text, different values have different ones, unknown types are refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plw.config import DatasetConfig, RecipeConfig, identity_fields
from plw.results.identity import canonical_json, field_diff, fingerprint

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), VALUES, max_size=5))
def test_order_of_keys_does_not_matter(value: dict[str, object]) -> None:
    assert canonical_json(value) == canonical_json(dict(reversed(value.items())))
    assert not field_diff(value, dict(reversed(value.items())))


@given(VALUES, VALUES)
def test_a_diff_is_empty_exactly_when_the_texts_are_equal(left: object, right: object) -> None:
    assert (canonical_json(left) == canonical_json(right)) == (not field_diff(left, right))


def test_an_integral_float_is_the_integer() -> None:
    assert fingerprint({"weight": 1.0}) == fingerprint({"weight": 1})
    # A tuple, which JSON does not have, is taken another way.
    assert canonical_json({"weight": (1.0, 0.5, "a", None)}) == '{"weight":[1,0.5,"a",null]}'
    assert fingerprint({"weight": 0.1}) != fingerprint({"weight": 0.2})


@pytest.mark.parametrize("value", [Path("x"), {1, 2}, float("nan"), float("inf"), {1: "a"}, b"x", object()])
def test_unknown_types_are_refused(value: object) -> None:
    with pytest.raises(TypeError, match=r"\$\.field"):
        canonical_json({"field": value})


def test_a_diff_names_the_field_and_both_values() -> None:
    assert field_diff({"recipe": {"epochs": 3}}, {"recipe": {"epochs": 4}, "seed": 1}) == [
        "recipe.epochs: 3 -> 4",
        "seed: (absent) -> 1",
    ]


def test_fields_added_later_leave_old_fingerprints_alone_until_they_are_used() -> None:
    plain = identity_fields(RecipeConfig(name="r"))
    assert "dropout" not in plain
    assert identity_fields(RecipeConfig(name="r", dropout=None, label_smoothing=0.0)) == plain
    assert identity_fields(RecipeConfig(name="r", label_smoothing=0.1)) == {**plain, "label_smoothing": 0.1}
    assert identity_fields(RecipeConfig(name="r", dropout=0.0)) == {**plain, "dropout": 0.0}
    assert identity_fields(DatasetConfig(name="d", path="p", held_out=3))["held_out"] == 3
