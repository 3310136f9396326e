"""The wire, outwards: a request becomes the bytes that functions expect."""

import json
import logging
import math
import operator
import sys
from itertools import chain
from typing import Any, Callable, Dict, FrozenSet, List, Mapping, Optional, Set, Tuple, Union

import attrs
import cattrs
from cattrs.fns import identity

from .._rules.limits import MAX_DEPTH, MAX_INTEGER_BITS, MAX_REQUEST_RESPONSE_BYTES
from .._text.log_lines import log_line, logger
from .._text.redaction import class_name, json_kind, shown
from .._text.timestamps import utc_timestamp
from ..messages import UNKNOWN_COMMUNITY, ExecuteRequest, Id, Request


class UnfitRequestError(Exception):
    """A request that cannot be sent; the text names the path and what it should be.

    Args:
        log_text: The same for the log, where the text holds keys that a user may have typed.
    """

    def __init__(self, text: str = "", log_text: Optional[str] = None) -> None:
        super().__init__(text)
        self.log_text = text if log_text is None else log_text


class _TooMuchError(UnfitRequestError):
    """Looking for the place would take as long as sending it."""


# Not frozen: each is made, written and dropped within one call, and frozen ones cost more to make.
@attrs.define(eq=False, repr=False)
class Community:
    id: Id
    name: str
    is_subscribed: bool
    subscription_order_id: Optional[Id]
    seat_count: int


@attrs.define(eq=False, repr=False)
class Trigger:
    type: str
    command: Optional[str]
    context_text: Optional[str]
    event_type: Optional[str]
    event_data: Any


@attrs.define(eq=False, repr=False)
class User:
    id: Id
    username: str
    platform: str
    platform_user_id: Id


@attrs.define(eq=False, repr=False)
class Entity:
    id: Id
    platform: str
    platform_entity_id: Id


@attrs.define(eq=False, repr=False)
class LambdaPayload:
    """The seed's payload; the order of the fields is the order of the keys."""

    community: Community
    trigger: Trigger
    user: User
    entity: Entity
    request_id: Id
    timestamp: str


_converter = cattrs.Converter()
# What is not one of the classes above is JSON already. cattrs would look up each value's type, and copy event_data.
_converter.register_unstructure_hook_func(lambda kind: not attrs.has(kind), identity)

# What contains itself is nested too deep as well, and that is checked anyway.
_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"))


@attrs.frozen
class EncodedRequest:
    """What goes out in every attempt of a call, and what the log may say of it."""

    payload: bytes = attrs.field(repr=False)
    #: ``session_id`` as the log shows it.
    request_id: str
    scopes: Tuple[str, ...]
    session_id: Id = attrs.field(repr=False)
    community_id: Id = attrs.field(repr=False)

    @property
    def community(self) -> Id:
        """Whose call it is, as the payload has it: an enum's member counts as its value, and 5 is not "5"."""
        found = self.community_id
        return str.__str__(found) if isinstance(found, str) else int.__index__(found)


def encode_request(
    request: Request,
    timestamp: Callable[[], str] = utc_timestamp,
    forward_metadata: bool = False,
    strict_metadata: bool = False,
) -> EncodedRequest:
    """Turn any object with ExecuteRequest's attributes into the payload's bytes.

    Args:
        forward_metadata: Whether the metadata's other keys go out too.
        strict_metadata: Whether an unknown key of a section makes the request unfit; else the log has it at DEBUG.

    Raises:
        UnfitRequestError: With the path to what is wrong. Nothing else, whatever the request holds.
    """
    try:
        said = _said_by(request)
        metadata = said[0]
        if not isinstance(metadata, dict):
            if isinstance(request, type):
                raise _no_request(request)
            raise UnfitRequestError(f"metadata must be an object, not {json_kind(metadata)}")
        if metadata and (strict_metadata or logger.isEnabledFor(logging.DEBUG)):
            _look_for_unknown_keys(metadata, strict_metadata)
        try:
            payload = _map_request(request, said, timestamp())
            encoded = _encode(payload, metadata, forward_metadata)
        except _TooMuchError:
            raise
        except Exception:
            # Only now is it worth its time to find out where.
            _check_json(metadata, "metadata")
            raise
        return EncodedRequest(
            payload=encoded,
            request_id=shown(payload.request_id, 128),
            scopes=tuple(_strings(said[-1], "scopes")),
            session_id=payload.request_id,
            community_id=payload.community.id,
        )
    except UnfitRequestError as exc:
        raise UnfitRequestError(shown(exc, 300), shown(exc.log_text, 300)) from None
    except Exception as exc:
        # The request's own attributes can run any code, and raise anything.
        raise UnfitRequestError(f"the request cannot be read ({class_name(exc)})") from None


def encode_payload(text: str, request_id: str) -> EncodedRequest:
    """JSON for a function that is no module, sent as it is.

    Args:
        text: What ``json.loads`` has read without an error.
        request_id: Under which the log has the call; the function does not get it.

    Raises:
        UnfitRequestError: With the path to what strict JSON cannot hold.
    """
    _check_json(json.loads(text), "payload")
    return EncodedRequest(text.encode(), request_id, scopes=(), session_id=request_id, community_id=request_id)


def check_session_id(session_id: object) -> Id:
    """A session_id as a payload would have it.

    Raises:
        UnfitRequestError: None could.
    """
    checked = _id(session_id, "session_id")
    return str.__str__(checked) if isinstance(checked, str) else int(checked)


def _look_for_unknown_keys(metadata: Dict[str, Any], strict: bool) -> None:
    """Tell of keys that reach no function, as a misspelt one does.

    Raises:
        UnfitRequestError: With ``strict``, of the first.
    """
    for name, known in _SECTION_KEYS.items():
        section = metadata.get(name)
        # Keys that are no strings are told as such, in any request.
        unknown = (
            [key for key in section if isinstance(key, str) and key not in known] if isinstance(section, dict) else ()
        )
        for key in unknown[:_MOST_TOLD]:
            what = f"is not known; {_meant(key, known)}"
            if strict:
                raise UnfitRequestError(f"metadata.{name}.{_shown_key(key)} {what}", f"metadata.{name}.* {what}")
            # A name may be shown; anything else may be what a user typed.
            named = key if key.isidentifier() and len(key) <= 40 else "*"
            log_line(logging.DEBUG, "Not sent:", {"unknown_key": f"metadata.{name}.{named}", "cause": what})


def _meant(key: str, known: FrozenSet[str]) -> str:
    import difflib  # here, because only an unknown key needs it

    alike = difflib.get_close_matches(key[:40], known, 1)
    return f"did you mean {alike[0]}?" if alike else f"known are {', '.join(sorted(known))}"


def _encode(payload: LambdaPayload, metadata: Dict[str, Any], forward_metadata: bool = False) -> bytes:
    """The payload's bytes. All of ``metadata`` has to be JSON, and so has what stays behind.

    The encoder, which is written in C, finds most of what JSON cannot hold; only what it lets pass is looked for here.
    """
    if metadata:
        # First: what contains itself would keep the encoder busy for ever.
        _check_levels(metadata)
        if not _encoder_limits_integers():
            _check_json(metadata, "metadata")
    unstructured = _converter.unstructure(payload)
    sent: Set[str] = set() if payload.trigger.event_data is None else {"event_data"}
    if forward_metadata:
        forwarded = {key: value for key, value in metadata.items() if key not in _MAPPED_KEYS}
        unstructured["metadata"] = forwarded
        sent.update(forwarded)
    encoded = _json.encode(unstructured).encode()
    if metadata:
        unsent = {key: value for key, value in metadata.items() if key not in sent} if sent else metadata
        _json.encode(unsent).encode()
    return encoded


def _check_levels(value: object) -> None:
    """Raise for what the encoder lets pass: keys that are no strings, and more levels than a reader may take.

    Level by level, and without a path, which ``_check_json`` finds where one is needed.
    """
    level: List[Any] = [value]
    values_so_far = 0
    for _ in range(MAX_DEPTH):
        values_so_far += sum(map(len, level))
        if values_so_far > _MAX_VALUES:
            raise _TooMuchError(f"metadata contains itself, or holds over {_MAX_VALUES} values")
        dicts = [holder for holder in level if isinstance(holder, dict)]
        key_kinds = {*map(type, chain.from_iterable(dicts))}
        if key_kinds != {str} and not all(issubclass(kind, str) for kind in key_kinds):
            raise UnfitRequestError
        arrays = [holder for holder in level if not isinstance(holder, dict)] if len(dicts) < len(level) else []
        # One view at a time: 50,000 that live at once would set off passes of the garbage collector over all data.
        values = chain(chain.from_iterable(map(dict.values, dicts)), chain.from_iterable(arrays))
        level = [item for item in values if type(item) not in _LEAVES and isinstance(item, _HOLDERS)]
        if not level:
            return
    raise UnfitRequestError


def _encoder_limits_integers() -> bool:
    """Whether Python itself refuses to write longer integers than readers take; old ones do not, and others may be told
    not to.
    """
    limit: int = getattr(sys, "get_int_max_str_digits", int)()
    return 0 < limit <= _PYTHONS_MAX_DIGITS


def _map_request(request: Request, said: Tuple[Any, ...], timestamp: str) -> LambdaPayload:
    """The one place that says which field of the payload comes from where, and what stands in for silence."""
    metadata, platform, user_id, entity_id, community_id, session_id, _ = said
    community, user, entity = _section(metadata, "community"), _section(metadata, "user"), _section(metadata, "entity")
    platform = _text(platform, "platform")
    user_id = _id(user_id, "user_id")
    entity_id = _id(entity_id, "entity_id")
    return LambdaPayload(
        community=_map_community(_id(community_id, "community_id"), community),
        trigger=_map_trigger(request, metadata),
        user=User(
            id=user_id,
            username=_text(_said(user, "username", "unknown"), "metadata.user.username"),
            platform=platform,
            platform_user_id=_id(_said(user, "platform_user_id", user_id), "metadata.user.platform_user_id"),
        ),
        entity=Entity(
            id=entity_id,
            platform=platform,
            platform_entity_id=_id(
                _said(entity, "platform_entity_id", entity_id), "metadata.entity.platform_entity_id"
            ),
        ),
        request_id=_id(session_id, "session_id"),
        timestamp=timestamp,
    )


def _map_community(community_id: Id, section: Mapping[str, Any]) -> Community:
    if not section:
        # Not subscribed: a module must not take silence for a paid seat.
        return Community(community_id, UNKNOWN_COMMUNITY, False, None, 0)
    order_id = section.get("subscription_order_id")
    return Community(
        id=community_id,
        name=_text(_said(section, "name", UNKNOWN_COMMUNITY), "metadata.community.name"),
        is_subscribed=_typed(
            _said(section, "is_subscribed", False), "metadata.community.is_subscribed", (bool,), "true or false"
        ),
        subscription_order_id=_typed(
            order_id,
            "metadata.community.subscription_order_id",
            (str, int, type(None)),
            "a string, an integer or null",
        ),
        seat_count=_typed(_said(section, "seat_count", 0), "metadata.community.seat_count", (int,), "an integer"),
    )


def _map_trigger(request: Request, metadata: Mapping[str, Any]) -> Trigger:
    is_event = _said(metadata, "is_event", False)
    if not isinstance(is_event, bool):
        raise UnfitRequestError(f"metadata.is_event must be true or false, not {json_kind(is_event)}")
    if is_event:
        event_type = metadata.get("event_type")
        if event_type is not None:
            _typed(event_type, "metadata.event_type", (str,), "a string or null")
        return Trigger("event", None, None, event_type, metadata.get("event_data"))
    command = _text(_attribute(request, "command"), "command")
    args = _strings(_attribute(request, "args"), "args")
    return Trigger("command", command, " ".join(args) if args else None, None, None)


def _text(value: object, path: str) -> str:
    # Plain ASCII, as nearly all are, needs no further look.
    if type(value) is str and value.isascii():
        return value
    checked: str = _typed(value, path, (str,), "a string")
    return checked


def _id(value: object, path: str) -> Id:
    if type(value) is str and value.isascii():
        return value
    if value is None and path == "community_id":
        raise UnfitRequestError(
            "community_id must be a string or an integer, not null; for a direct message make one of the user's id"
        )
    checked: Id = _typed(value, path, (str, int), "a string or an integer")
    return checked


def _typed(value: object, path: str, kinds: Tuple[type, ...], what: str) -> Any:
    """``value``, if it is one of ``kinds``; the error names the place in the request that it came from."""
    # bool is an int to Python, and to nobody who sends a seat count.
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise UnfitRequestError(f"{path} must be {what}, not {json_kind(value)}")
    _check_scalar(value, path)
    return value


def _strings(value: object, path: str) -> List[str]:
    # A string is a sequence of strings too, and never what was meant.
    if not isinstance(value, (list, tuple)):
        raise UnfitRequestError(f"{path} must be a list of strings, not {json_kind(value)}")
    items = list(value)
    for index, item in enumerate(items):
        if not isinstance(item, str):
            raise UnfitRequestError(f"{path}[{index}] must be a string, not {json_kind(item)}")
        _check_text(item, (path, index))
    return [str.__str__(item) for item in items]


#: What each request has to say, a command or an event; read at once, which costs less than one by one.
_SAID = ("metadata", "platform", "user_id", "entity_id", "community_id", "session_id", "scopes")
_read = operator.attrgetter(*_SAID)


def _said_by(request: object) -> Tuple[Any, ...]:
    """A request's attributes, in the order of _SAID."""
    try:
        return _read(request)
    except AttributeError:
        return tuple(_attribute(request, name) for name in _SAID)


def _attribute(request: object, name: str) -> Any:
    try:
        return getattr(request, name)
    except AttributeError:
        if isinstance(request, type) or not any(hasattr(request, field.name) for field in attrs.fields(ExecuteRequest)):
            raise _no_request(request) from None
        raise UnfitRequestError(f"{name} is missing") from None


def _no_request(given: object) -> UnfitRequestError:
    what = "a class" if isinstance(given, type) else _NO_REQUESTS.get(type(given)) or f"of type {class_name(given)}"
    return UnfitRequestError(f"the request must be an ExecuteRequest or have its attributes, not {what}")


#: What is given by mistake, in Python's words.
_NO_REQUESTS = {type(None): "None", dict: "a dict", list: "a list", tuple: "a tuple", str: "a string", int: "a number"}


def _section(metadata: Dict[str, Any], name: str) -> Dict[str, Any]:
    section = metadata.get(name)
    if section is None:
        return {}
    if not isinstance(section, dict):
        raise UnfitRequestError(f"metadata.{name} must be an object, not {json_kind(section)}")
    return section


def _said(section: Mapping[str, Any], key: str, default: object) -> Any:
    """What the metadata says; null says nothing."""
    value = section.get(key)
    return default if value is None else value


#: The keys of each section of the metadata that reach the function.
_SECTION_KEYS = {
    "community": frozenset({"name", "is_subscribed", "subscription_order_id", "seat_count"}),
    "user": frozenset({"username", "platform_user_id"}),
    "entity": frozenset({"platform_entity_id"}),
}
#: The metadata's keys that the payload has in places of its own.
_MAPPED_KEYS = frozenset({*_SECTION_KEYS, "is_event", "event_type", "event_data"})
_OUR_KEYS = _MAPPED_KEYS.union(*_SECTION_KEYS.values())

_HOLDERS = (dict, list, tuple)
#: Each takes two bytes at least, so that more would be too large in any case.
_MAX_VALUES = MAX_REQUEST_RESPONSE_BYTES // 2
#: https://docs.python.org/3/library/stdtypes.html#int-max-str-digits
_PYTHONS_MAX_DIGITS = 4_300
#: Unknown keys of a section that the log has a line for.
_MOST_TOLD = 8
#: What nearly all values are; looking their type up is cheaper than asking whether they hold others.
_LEAVES = frozenset({str, int, float, bool, type(None)})

#: Where a value stands: a name of the request's, or what holds the value and its key or index there.
Place = Union[str, Tuple[Any, Union[str, int]]]


def _check_json(value: object, place: Place, depth: int = 0) -> None:
    """Raise UnfitRequestError, with the path, for what strict JSON cannot hold."""
    if not isinstance(value, _HOLDERS):
        _check_scalar(value, place)
    elif depth == MAX_DEPTH:
        # A circular structure is one without an end, so this names it as well.
        raise _unfit(place, f"contains itself, or is nested over {MAX_DEPTH} levels deep", 100)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_key(key, place)
            _check_json(item, (place, key), depth + 1)
    else:
        for index, item in enumerate(value):
            _check_json(item, (place, index), depth + 1)


_NO_TEXT = "holds half a surrogate pair, which is no text"


def _unfit(place: Place, what: str, cut: Optional[int] = None) -> UnfitRequestError:
    paths = (_path(place), _path(place, of_ours=True))
    return UnfitRequestError(*(f"{path if cut is None else f'{path[:cut]}…'} {what}" for path in paths))


def _path(place: Place, of_ours: bool = False) -> str:
    """``metadata.user.roles[2]``; or without keys that a user may have typed, ``metadata.user.*[2]``."""
    if isinstance(place, str):
        return place
    holder, key = place
    path = _path(holder, of_ours)
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{'*' if of_ours and key not in _OUR_KEYS else _shown_key(key)}"


def _shown_key(key: str) -> str:
    return shown(key, 40) or '""'


def _check_key(key: object, place: Place) -> None:
    if not isinstance(key, str):
        raise _unfit(place, f"has a key of type {json_kind(key)}; JSON's keys are strings")
    if not _is_text(key):
        raise UnfitRequestError(*(f"a key of {_path(place, of_ours)} {_NO_TEXT}" for of_ours in (False, True)))


def _check_scalar(value: object, place: Place) -> None:
    if isinstance(value, str):
        _check_text(value, place)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise _unfit(place, "must be a finite number")
    elif isinstance(value, int):
        if value.bit_length() > MAX_INTEGER_BITS:
            raise _unfit(place, f"must be an integer of up to {MAX_INTEGER_BITS} bits")
    elif value is not None:
        raise _unfit(place, f"must be JSON, not {json_kind(value)}")


def _check_text(text: str, place: Place) -> None:
    if not _is_text(text):
        raise _unfit(place, _NO_TEXT)


def _is_text(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
