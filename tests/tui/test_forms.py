"""Forms made of schemas."""

from __future__ import annotations

from typing import Any

import pytest

from perstack.job import Call
from perstack.job.state import APPROVAL_SCHEMA
from perstack.tui.forms import Field, Form, fields_of, filled, form_of

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "note": {"type": "string", "description": "Anything else"},
        "size": {"type": "integer", "title": "Size", "minimum": 1, "maximum": 9},
        "colour": {"type": "string", "enum": ["r", "g"], "enumNames": ["Red", "Green"]},
        "loud": {"type": "boolean", "default": True},
        "days": {"type": "array", "items": {"enum": ["mo", "tu"]}},
        "ratio": {"type": "number"},
    },
    "required": ["size", "colour"],
}


def asks(**args: Any) -> Call:
    return Call(id="c1", tool="ask", kind="ask", skill="human", args=args)


def test_what_is_needed_comes_first():
    names = [field.name for field in fields_of(SCHEMA)]
    assert names == ["size", "colour", "note", "loud", "days", "ratio"]


def test_each_kind_of_member_is_a_kind_of_field():
    fields = {field.name: field for field in fields_of(SCHEMA)}
    assert {name: field.kind for name, field in fields.items()} == {
        "note": "text",
        "size": "integer",
        "colour": "choice",
        "loud": "boolean",
        "days": "many",
        "ratio": "number",
    }
    assert fields["size"].help == "1 to 9"
    assert fields["colour"].choices == (("r", "Red"), ("g", "Green"))
    assert fields["loud"].default == "true"


def test_what_was_filled_in_becomes_json():
    given = {
        "note": "",
        "size": " 3 ",
        "colour": "g",
        "loud": "false",
        "days": ("tu",),
        "ratio": ".5",
    }
    assert filled(fields_of(SCHEMA), given) == {
        "size": 3,
        "colour": "g",
        "loud": False,
        "days": ["tu"],
        "ratio": 0.5,
    }


@pytest.mark.parametrize(("given", "says"), [({}, "Size is needed."), ({"size": "x"}, "a number")])
def test_what_does_not_fit_is_said_before_it_is_sent(given: dict[str, str], says: str):
    with pytest.raises(ValueError, match=says):
        filled(fields_of(SCHEMA), given)


def test_a_question_of_a_server_can_be_declined():
    form = form_of(asks(message="Which?", requestedSchema=SCHEMA))
    assert form.can_decline
    assert form.message == "Which?"
    assert form.fields == fields_of(SCHEMA)


def test_a_question_whether_a_call_may_be_made_shows_the_call():
    call = asks(message="May it?", requestedSchema=APPROVAL_SCHEMA, rule="exec", arguments={"a": 1})
    form = form_of(call)
    assert form.approval
    assert (form.rule, form.arguments) == ("exec", {"a": 1})


def test_a_plain_question_may_propose_answers():
    assert form_of(asks(question="Which?", options=["a", "b"])).choices == ("a", "b")
    assert form_of(asks(question="Which?")) == Form(title="ask")
    assert form_of(asks(options=["a"], others=["b"])).choices == ()


def test_a_schema_that_says_nothing_makes_no_fields():
    assert fields_of({"type": "object"}) == ()
    assert fields_of({"properties": {"x": {}}}) == (Field(name="x", kind="text", label="x"),)
