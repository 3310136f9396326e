"""A request becomes exactly the documented JSON, or an error that names the path to what is wrong."""

import dataclasses
import datetime
import decimal
import enum
import json
import re
import sys
import types
import uuid
from typing import Any, Dict, List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_adapter import ExecuteRequest
from lambda_adapter._text.timestamps import utc_timestamp
from lambda_adapter._wire.payload import MAX_DEPTH, EncodedRequest, UnfitRequestError, encode_request
from support.values import nested

NOW = "2024-01-15T10:30:45.123456Z"


def encode(request):
    return encode_request(request, timestamp=lambda: NOW)


def sent(request):
    return json.loads(encode(request).payload)


def refusal(request):
    with pytest.raises(UnfitRequestError) as caught:
        encode(request)
    return str(caught.value)


def test_the_payload_has_the_documented_shape_and_key_order(make_request):
    request = make_request(
        command="my_command",
        args=["arg1", "arg2"],
        metadata={
            "community": {
                "name": "My Community",
                "is_subscribed": True,
                "subscription_order_id": "order_123",
                "seat_count": 50,
            },
            "user": {"username": "MyUser", "platform_user_id": "discord_123"},
            "entity": {"platform_entity_id": "channel_456"},
        },
        scopes=["community.read"],
    )
    expected = {
        "community": {
            "id": "community_789",
            "name": "My Community",
            "is_subscribed": True,
            "subscription_order_id": "order_123",
            "seat_count": 50,
        },
        "trigger": {
            "type": "command",
            "command": "my_command",
            "context_text": "arg1 arg2",
            "event_type": None,
            "event_data": None,
        },
        "user": {
            "id": "user_123",
            "username": "MyUser",
            "platform": "discord",
            "platform_user_id": "discord_123",
        },
        "entity": {"id": "entity_456", "platform": "discord", "platform_entity_id": "channel_456"},
        "request_id": "session_abc123",
        "timestamp": NOW,
    }
    encoded = encode(request)
    # Text, not objects: a dict's comparison would not see the order of the keys.
    assert encoded.payload.decode() == json.dumps(expected, separators=(",", ":"))
    assert (encoded.request_id, encoded.scopes) == ("session_abc123", ("community.read",))


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"community": None, "user": None, "entity": None, "is_event": None},
        {
            "community": {"name": None, "is_subscribed": None, "subscription_order_id": None, "seat_count": None},
            "user": {"username": None, "platform_user_id": None},
            "entity": {"platform_entity_id": None},
            "is_event": False,
        },
    ],
    ids=["no metadata", "sections are null", "values are null"],
)
def test_what_the_metadata_does_not_say_gets_its_default(make_request, metadata):
    payload = sent(make_request(metadata=metadata))
    assert payload["community"] == {
        "id": "community_789",
        "name": "Unknown Community",
        "is_subscribed": False,
        "subscription_order_id": None,
        "seat_count": 0,
    }
    assert payload["user"] == {
        "id": "user_123",
        "username": "unknown",
        "platform": "discord",
        "platform_user_id": "user_123",
    }
    assert payload["entity"] == {"id": "entity_456", "platform": "discord", "platform_entity_id": "entity_456"}


def test_falsy_values_are_values(make_request):
    metadata = {
        "community": {"name": "", "is_subscribed": False, "subscription_order_id": 0, "seat_count": 0},
        "user": {"username": "", "platform_user_id": 0},
        "entity": {"platform_entity_id": ""},
    }
    payload = sent(make_request(user_id="", entity_id=0, metadata=metadata))
    assert payload["community"]["name"] == ""
    assert payload["community"]["subscription_order_id"] == 0
    assert payload["user"] == {"id": "", "username": "", "platform": "discord", "platform_user_id": 0}
    assert payload["entity"] == {"id": 0, "platform": "discord", "platform_entity_id": ""}


@pytest.mark.parametrize(
    ("args", "context_text"),
    [
        ([], None),
        ((), None),
        ([""], ""),
        (["a"], "a"),
        (["a", "b c"], "a b c"),
        (("a", "b"), "a b"),
        (["Zürich", "🦆"], "Zürich 🦆"),
    ],
    ids=repr,
)
def test_context_text_is_the_args_joined_by_a_space(make_request, args, context_text):
    assert sent(make_request(args=args))["trigger"]["context_text"] == context_text


def test_an_event_has_no_command_and_no_context_text(make_request):
    metadata = {"is_event": True, "event_type": "follow", "event_data": {"tier": 3, "deep": [{"x": None}]}}
    assert sent(make_request(metadata=metadata))["trigger"] == {
        "type": "event",
        "command": None,
        "context_text": None,
        "event_type": "follow",
        "event_data": {"tier": 3, "deep": [{"x": None}]},
    }


@pytest.mark.parametrize("event_data", [None, "text", 5, 1.5, True, [], {}, [1, [2]], (1, 2)], ids=repr)
def test_event_data_may_be_any_json(make_request, event_data):
    trigger = sent(make_request(metadata={"is_event": True, "event_data": event_data}))["trigger"]
    assert trigger["event_data"] == (list(event_data) if isinstance(event_data, tuple) else event_data)
    assert trigger["event_type"] is None


def test_an_event_needs_neither_command_nor_args(make_request):
    trigger = sent(make_request(command=None, args=None, metadata={"is_event": True}))["trigger"]
    assert (trigger["type"], trigger["command"], trigger["context_text"]) == ("event", None, None)


def test_a_command_carries_nothing_of_an_event(make_request):
    trigger = sent(make_request(metadata={"event_type": "follow", "event_data": {"a": 1}}))["trigger"]
    assert (trigger["event_type"], trigger["event_data"]) == (None, None)


@pytest.mark.parametrize("value", ["abc", "", "０", 7, 0, -1, 2**70], ids=repr)
@pytest.mark.parametrize("name", ["user_id", "entity_id", "community_id", "session_id"])
def test_an_id_is_sent_as_given(make_request, name, value):
    payload = sent(make_request(**{name: value}))
    places = {
        "user_id": payload["user"]["id"],
        "entity_id": payload["entity"]["id"],
        "community_id": payload["community"]["id"],
        "session_id": payload["request_id"],
    }
    assert places[name] == value
    assert type(places[name]) is type(value)


def test_the_payload_is_utf_8_text_and_not_escaped(make_request):
    payload = encode(make_request(args=["Zürich 🦆"])).payload
    assert "Zürich 🦆".encode() in payload


def test_metadata_that_the_payload_has_no_place_for_is_not_sent(make_request):
    payload = encode(make_request(metadata={"secret": "swordfish", "user": {"password": "swordfish"}})).payload
    assert b"swordfish" not in payload


# -- Requests of others ---------------------------------------------------------------------------


@dataclasses.dataclass
class BotRequest:
    """A bot's own request: the same names, more attributes, and nothing of this package."""

    command: str
    args: List[str]
    user_id: str
    entity_id: str
    community_id: str
    session_id: str
    platform: str
    metadata: Dict[str, Any] = dataclasses.field(default_factory=dict)
    scopes: List[str] = dataclasses.field(default_factory=list)
    received_at: datetime.datetime = dataclasses.field(
        default_factory=lambda: datetime.datetime.now(datetime.timezone.utc)
    )


def test_any_object_with_the_attributes_is_sent_like_our_own():
    fields = ("weather", ["Berlin"], "user", "entity", "community", "session", "twitch", {"is_event": False}, ["read"])
    ours = encode(ExecuteRequest(*fields))
    assert encode(BotRequest(*fields)) == ours
    names = [field.name for field in dataclasses.fields(BotRequest)]
    assert encode(types.SimpleNamespace(**dict(zip(names, fields)))) == ours


class Platform(str, enum.Enum):
    DISCORD = "discord"


class Name(str):
    __slots__ = ()


def test_subclasses_of_str_and_int_are_sent_by_their_value(make_request):
    payload = sent(
        make_request(platform=Platform.DISCORD, command=Name("weather"), user_id=enum.IntEnum("N", "ONE").ONE)
    )
    assert (payload["user"]["platform"], payload["trigger"]["command"], payload["user"]["id"]) == (
        "discord",
        "weather",
        1,
    )


# -- Bad requests ---------------------------------------------------------------------------------

BAD_FIELDS = [
    ("command", None, "command must be a string, not null"),
    ("command", 5, "command must be a string, not a number"),
    ("command", b"weather", "command must be a string, not bytes"),
    ("command", "\ud800", "command holds half a surrogate pair"),
    ("args", None, "args must be a list of strings, not null"),
    ("args", "Berlin", "args must be a list of strings, not a string"),
    ("args", {"a": 1}, "args must be a list of strings, not an object"),
    ("args", {"a"}, "args must be a list of strings, not set"),
    ("args", ["a", 5], r"args\[1\] must be a string, not a number"),
    ("args", [None], r"args\[0\] must be a string, not null"),
    ("args", ["a", "b\udfff"], r"args\[1\] holds half a surrogate pair"),
    ("user_id", None, "user_id must be a string or an integer, not null"),
    ("user_id", True, "user_id must be a string or an integer, not a boolean"),
    ("user_id", 1.0, "user_id must be a string or an integer, not a number"),
    ("user_id", uuid.UUID(int=1), "user_id must be a string or an integer, not UUID"),
    ("user_id", "\ud800", "user_id holds half a surrogate pair"),
    ("entity_id", None, "entity_id must be a string or an integer, not null"),
    ("community_id", [], "community_id must be a string or an integer, not an array"),
    ("session_id", None, "session_id must be a string or an integer, not null"),
    ("session_id", "\udc00", "session_id holds half a surrogate pair"),
    ("platform", None, "platform must be a string, not null"),
    ("platform", 1, "platform must be a string, not a number"),
    ("scopes", None, "scopes must be a list of strings, not null"),
    ("scopes", "read", "scopes must be a list of strings, not a string"),
    ("scopes", ["read", 1], r"scopes\[1\] must be a string, not a number"),
    ("metadata", None, "metadata must be an object, not null"),
    ("metadata", [], "metadata must be an object, not an array"),
    ("metadata", "{}", "metadata must be an object, not a string"),
]


@pytest.mark.parametrize(
    ("name", "value", "expected"), [pytest.param(*row, id=f"{row[0]}-{ascii(row[1])[:30]}") for row in BAD_FIELDS]
)
def test_a_bad_field_is_named_with_what_it_should_be(make_request, name, value, expected):
    assert re.match(expected, refusal(make_request(**{name: value})))


BAD_METADATA = [
    ({"community": []}, "metadata.community must be an object, not an array"),
    ({"user": "jane"}, "metadata.user must be an object, not a string"),
    ({"entity": 5}, "metadata.entity must be an object, not a number"),
    ({"community": {"name": 5}}, "metadata.community.name must be a string, not a number"),
    ({"community": {"is_subscribed": "false"}}, "metadata.community.is_subscribed must be true or false, not a string"),
    ({"community": {"is_subscribed": 1}}, "metadata.community.is_subscribed must be true or false, not a number"),
    ({"community": {"seat_count": True}}, "metadata.community.seat_count must be an integer, not a boolean"),
    ({"community": {"seat_count": "5"}}, "metadata.community.seat_count must be an integer, not a string"),
    ({"community": {"seat_count": 5.0}}, "metadata.community.seat_count must be an integer, not a number"),
    ({"community": {"subscription_order_id": []}}, "metadata.community.subscription_order_id must be a string"),
    ({"user": {"username": []}}, "metadata.user.username must be a string, not an array"),
    ({"user": {"platform_user_id": 1.5}}, "metadata.user.platform_user_id must be a string or an integer"),
    ({"entity": {"platform_entity_id": {}}}, "metadata.entity.platform_entity_id must be a string or an integer"),
    ({"is_event": "true"}, "metadata.is_event must be true or false, not a string"),
    ({"is_event": 1}, "metadata.is_event must be true or false, not a number"),
    ({"is_event": True, "event_type": 5}, "metadata.event_type must be a string or null, not a number"),
    # Not JSON, though the payload has no place for it: a caller's mistake is told where it is made.
    ({"x": float("nan")}, "metadata.x must be a finite number"),
    ({"x": [1, float("-inf")]}, r"metadata.x\[1\] must be a finite number"),
    ({"x": {"y": {1, 2}}}, "metadata.x.y must be JSON, not set"),
    ({"x": b"bytes"}, "metadata.x must be JSON, not bytes"),
    ({"x": datetime.datetime(2024, 1, 1)}, "metadata.x must be JSON, not datetime"),  # noqa: DTZ001
    ({"x": decimal.Decimal("1.5")}, "metadata.x must be JSON, not Decimal"),
    ({"x": (1, object())}, r"metadata.x\[1\] must be JSON, not object"),
    ({"x": 1j}, "metadata.x must be JSON, not complex"),
    ({1: "x"}, "metadata has a key of type a number"),
    ({"x": {None: 1}}, "metadata.x has a key of type null"),
    ({"x": {("a",): 1}}, "metadata.x has a key of type tuple"),
    ({"x": "\ud83d"}, "metadata.x holds half a surrogate pair"),
    ({"x": {"\ud83d": 1}}, "a key of metadata.x holds half a surrogate pair"),
    ({"a\nb": {1}}, r"metadata.a\\nb must be JSON, not set"),
    ({"k" * 500: {1}}, r"metadata.k{39}… must be JSON, not set"),
]


@pytest.mark.parametrize(
    ("metadata", "expected"), [pytest.param(*row, id=ascii(row[0])[:40].partition(" at 0x")[0]) for row in BAD_METADATA]
)
def test_bad_metadata_is_named_by_its_path(make_request, metadata, expected):
    assert re.match(expected, refusal(make_request(metadata=metadata)))


def test_metadata_may_be_nested_as_deep_as_the_limit_and_no_deeper(make_request):
    # metadata itself is one level.
    deep = nested(MAX_DEPTH - 1)
    assert sent(make_request(metadata={"is_event": True, "event_data": deep}))["trigger"]["event_data"] == deep
    assert f"nested over {MAX_DEPTH} levels" in refusal(make_request(metadata={"event_data": nested(MAX_DEPTH)}))


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_metadata_deeper_than_pythons_stack_is_refused_without_a_crash(make_request, depth):
    text = refusal(make_request(metadata={"event_data": nested(depth)}))
    assert text.startswith("metadata.event_data[0][0]")
    assert len(text) < 200


def test_metadata_that_contains_itself_is_refused(make_request):
    circle: Dict[str, Any] = {}
    circle["again"] = [circle]
    assert re.match(r"metadata\.again\[0\]\.again.* contains itself", refusal(make_request(metadata=circle)))


def test_the_same_object_twice_is_no_circle(make_request):
    shared = {"a": 1}
    data = sent(make_request(metadata={"is_event": True, "event_data": [shared, shared]}))["trigger"]["event_data"]
    assert data == [{"a": 1}, {"a": 1}]


@pytest.mark.parametrize("path", ["metadata.event_data", "user_id"])
def test_an_integer_that_python_does_not_write_is_named(make_request, path):
    """CPython refuses to write integers of over 4,300 digits."""
    huge = 10**5_000
    changes = {"user_id": huge} if path == "user_id" else {"metadata": {"is_event": True, "event_data": huge}}
    assert path in refusal(make_request(**changes))


def test_metadata_of_megabytes_is_encoded_whole(make_request):
    payload = encode(make_request(metadata={"is_event": True, "event_data": "x" * 7_000_000})).payload
    assert len(payload) > 7_000_000


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(BotRequest)[:9]])
def test_a_missing_attribute_is_named(make_request, name):
    request = make_request()
    rest = {field: getattr(request, field) for field in (*request.__slots__,) if not field.startswith("_")}
    del rest[name]
    assert refusal(types.SimpleNamespace(**rest)) == f"{name} is missing"


@pytest.mark.parametrize("value", [None, {}, [], "request", 5, ExecuteRequest], ids=repr)
def test_no_request_at_all_is_refused(value):
    assert refusal(value)


@pytest.mark.parametrize("error", [ValueError, RuntimeError, KeyError, StopIteration, RecursionError, MemoryError])
def test_a_request_that_raises_when_read_is_refused_and_not_quoted(error):
    class Hostile:
        def __getattr__(self, name):
            raise error("swordfish")

    assert refusal(Hostile()) == f"the request cannot be read ({error.__name__})"


def test_a_mapping_that_raises_when_read_is_refused(make_request):
    class Hostile(dict):
        def items(self):
            raise OSError("swordfish")

    assert refusal(make_request(metadata={"x": Hostile(y=1)})) == "the request cannot be read (OSError)"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_passes_through(error):
    class Interrupted:
        def __getattr__(self, name):
            raise error

    with pytest.raises(error):
        encode(Interrupted())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)


@given(JSON)
def test_any_json_arrives_as_it_was(data):
    request = ExecuteRequest("c", [], "u", "e", "c", "s", "p", metadata={"is_event": True, "event_data": data})
    assert sent(request)["trigger"]["event_data"] == data


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary()
    | st.dates()
    | st.frozensets(st.integers()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.integers() | st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.fixed_dictionaries(dict.fromkeys(("command", "args", "user_id", "session_id", "metadata"), ANYTHING)))
def test_whatever_a_request_holds_the_outcome_is_strict_json_or_a_refusal(fields):
    request = types.SimpleNamespace(entity_id="e", community_id="c", platform="p", scopes=[], **fields)
    try:
        payload = encode(request).payload
    except UnfitRequestError as exc:
        payload, refused = b"null", str(exc)
    else:
        refused = ""
    json.loads(payload, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert refused == "" or refused.isprintable()
    assert len(refused) < 300


# -- Metadata that goes along, and metadata that is not known ------------------------------------


def forwarded(request):
    return json.loads(encode_request(request, forward_metadata=True).payload)


def test_forwarded_metadata_comes_last_and_the_rest_stays_as_it_is(make_request):
    metadata = {"locale": "de-DE", "roles": ["mod", 7], "message_id": 5, "nested": {"a": [None]}}
    request = make_request(metadata={**metadata, "user": {"username": "MyUser", "usrename": 1}})
    plain, more = sent(request), forwarded(request)
    assert list(more) == [*plain, "metadata"]
    assert more.pop("metadata") == metadata
    assert {**more, "timestamp": NOW} == plain


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param({}, id="none at all"),
        pytest.param(
            {"community": {"name": "x"}, "user": None, "entity": {}, "is_event": None}, id="only what has its place"
        ),
        pytest.param({"is_event": True, "event_type": "x", "event_data": [1]}, id="an event"),
        pytest.param({"is_event": False, "event_type": "x", "event_data": [1]}, id="what would be an event's"),
    ],
)
def test_without_other_keys_the_forwarded_metadata_is_an_empty_object(make_request, metadata):
    assert forwarded(make_request(metadata=metadata))["metadata"] == {}
    assert "metadata" not in sent(make_request(metadata=metadata))


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({1}, "metadata.roles must be JSON, not set"),
        (float("nan"), "metadata.roles must be a finite number"),
        ({5: 1}, "metadata.roles has a key of type a number; JSON's keys are strings"),
    ],
    ids=["set", "NaN", "key"],
)
@pytest.mark.parametrize("forward_metadata", [True, False])
def test_forwarded_or_not_metadata_must_be_json(make_request, value, told, forward_metadata):
    with pytest.raises(UnfitRequestError) as caught:
        encode_request(make_request(metadata={"roles": value}), forward_metadata=forward_metadata)
    assert str(caught.value) == told


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ({"user": {"usrename": "x"}}, "metadata.user.usrename is not known; did you mean username?"),
        ({"community": {"Name": "x"}}, "metadata.community.Name is not known; did you mean name?"),
        (
            {"entity": {"platform_entity_id": 1, "x\n": 2}},
            "metadata.entity.x\\n is not known; known are platform_entity_id",
        ),
        ({"user": {"": "x"}}, 'metadata.user."" is not known; known are platform_user_id, username'),
        ({"user": {5: "x"}}, "metadata.user has a key of type a number; JSON's keys are strings"),
        ({"user": {"username": 5}}, "metadata.user.username must be a string, not a number"),
        ({"user": ["usrename"]}, "metadata.user must be an object, not an array"),
    ],
    ids=["misspelt", "capital", "unlike any", "empty", "number", "known and wrong", "no section"],
)
def test_strict_metadata_refuses_what_is_not_known(make_request, metadata, told):
    with pytest.raises(UnfitRequestError) as caught:
        encode_request(make_request(metadata=metadata), strict_metadata=True)
    assert str(caught.value) == told


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param({}, id="empty"),
        pytest.param({"user": None, "community": {}, "entity": {"platform_entity_id": None}}, id="null"),
        pytest.param({"locale": "de", "usrename": 1, "is_event": False}, id="other keys of the metadata itself"),
    ],
)
def test_strict_metadata_lets_pass_what_is_known_and_what_is_elsewhere(make_request, metadata):
    assert encode_request(make_request(metadata=metadata), strict_metadata=True).payload


# -- What goes along ------------------------------------------------------------------------------


def test_the_log_form_of_a_request_id_is_one_short_line(make_request):
    assert encode(make_request(session_id="a\nb\x1b[31m")).request_id == "a\\nb\\x1b[31m"
    assert len(encode(make_request(session_id="x" * 1_000)).request_id) == 128
    assert encode(make_request(session_id=7)).request_id == "7"


def test_the_repr_of_an_encoded_request_shows_no_payload(make_request):
    assert "swordfish" not in repr(encode(make_request(args=["swordfish"])))
    assert isinstance(encode(make_request()), EncodedRequest)


def test_a_timestamp_is_utc_now_in_27_characters():
    before = datetime.datetime.now(datetime.timezone.utc)
    text = utc_timestamp()
    after = datetime.datetime.now(datetime.timezone.utc)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", text, re.ASCII)
    parsed = datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=datetime.timezone.utc)
    assert before <= parsed <= after


def test_a_request_gets_the_time_at_which_it_is_encoded(make_request):
    before = utc_timestamp()
    timestamp = json.loads(encode_request(make_request()).payload)["timestamp"]
    assert len(timestamp) == 27
    assert before <= timestamp <= utc_timestamp()


def family():
    root = {"children": []}
    root["children"] += [{"name": name, "parent": root} for name in "ab"]
    return root


def crowd():
    root = {"records": [{"n": n} for n in range(20_000)]}
    root["self"] = root
    return root


def shared(levels):
    value = 1
    for _ in range(levels):
        value = [value, value]
    return value


@pytest.mark.parametrize(
    ("make", "is_event"),
    [
        (family, False),
        (crowd, True),
        (lambda: shared(201), True),
        (lambda: shared(150), True),
        (lambda: shared(150), False),
    ],
    ids=["family-unsent", "crowd-sent", "201 levels-sent", "150 levels-sent", "150 levels-unsent"],
)
def test_what_contains_itself_or_has_no_end_is_refused_at_once(make_request, make, is_event):
    request = make_request(metadata={"is_event": is_event, "event_type": "x", "event_data": make()})
    assert re.match("metadata.* contains itself, or (is nested|holds) over", refusal(request))


def test_what_is_shared_and_small_is_written_twice(make_request):
    once = [1]
    assert sent(make_request(metadata={"is_event": True, "event_data": [once, once]}))["trigger"]["event_data"] == [
        [1],
        [1],
    ]


@pytest.mark.parametrize("bits", [14_001, 14_300, 1_000_000])
def test_where_python_writes_integers_of_any_length_they_are_looked_for(make_request, bits, monkeypatch):
    monkeypatch.setattr(sys, "get_int_max_str_digits", lambda: 0, raising=False)
    assert "14000 bits" in refusal(make_request(metadata={"x": 1 << bits}))
