"""The wire, outwards: a request becomes the bytes that functions expect."""

import json
import math
import sys
from itertools import chain
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, Union

import attrs
import cattrs
from cattrs.fns import identity

from .._rules.limits import MAX_DEPTH, MAX_INTEGER_BITS, MAX_REQUEST_RESPONSE_BYTES
from .._text.redaction import class_name, json_kind, shown
from .._text.timestamps import utc_timestamp
from ..messages import UNKNOWN_COMMUNITY, Id, Request


class UnfitRequestError(Exception):
    """A request that cannot be sent; the text names the path and what it should be."""


class _TooMuchError(UnfitRequestError):
    """Looking for the place would take as long as sending it."""


@attrs.frozen(eq=False, repr=False)
class Community:
    id: Id
    name: str
    is_subscribed: bool
    subscription_order_id: Optional[Id]
    seat_count: int


@attrs.frozen(eq=False, repr=False)
class Trigger:
    type: str
    command: Optional[str]
    context_text: Optional[str]
    event_type: Optional[str]
    event_data: Any


@attrs.frozen(eq=False, repr=False)
class User:
    id: Id
    username: str
    platform: str
    platform_user_id: Id


@attrs.frozen(eq=False, repr=False)
class Entity:
    id: Id
    platform: str
    platform_entity_id: Id


@attrs.frozen(eq=False, repr=False)
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


def encode_request(request: Request, timestamp: Callable[[], str] = utc_timestamp) -> EncodedRequest:
    """Turn any object with ExecuteRequest's attributes into the payload's bytes.

    Raises:
        UnfitRequestError: With the path to what is wrong. Nothing else, whatever the request holds.
    """
    try:
        metadata = _attribute(request, "metadata")
        if not isinstance(metadata, dict):
            raise UnfitRequestError(f"metadata must be an object, not {json_kind(metadata)}")
        try:
            payload = _map_request(request, metadata, timestamp())
            encoded = _encode(payload, metadata)
        except _TooMuchError:
            raise
        except Exception:
            # Only now is it worth its time to find out where.
            _check_json(metadata, "metadata")
            raise
        return EncodedRequest(
            payload=encoded,
            request_id=shown(payload.request_id, 128),
            scopes=_scopes(request),
            session_id=payload.request_id,
            community_id=payload.community.id,
        )
    except UnfitRequestError as exc:
        raise UnfitRequestError(shown(exc, 300)) from None
    except Exception as exc:
        # The request's own attributes can run any code, and raise anything.
        raise UnfitRequestError(f"the request cannot be read ({class_name(exc)})") from None


def check_session_id(session_id: object) -> Id:
    """A session_id as a payload would have it.

    Raises:
        UnfitRequestError: None could.
    """
    checked = _id(session_id, "session_id")
    return str.__str__(checked) if isinstance(checked, str) else int(checked)


def _encode(payload: LambdaPayload, metadata: Dict[str, Any]) -> bytes:
    """The payload's bytes. All of ``metadata`` has to be JSON, and so has what stays behind.

    The encoder, which is written in C, finds most of what JSON cannot hold; only what it lets pass is looked for here.
    """
    if metadata:
        # First: what contains itself would keep the encoder busy for ever.
        _check_levels(metadata)
        if not _encoder_limits_integers():
            _check_json(metadata, "metadata")
    encoded = _json.encode(_converter.unstructure(payload)).encode()
    if metadata:
        sent = payload.trigger.event_data
        unsent = metadata if sent is None else {key: value for key, value in metadata.items() if key != "event_data"}
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
        values = chain.from_iterable([*map(dict.values, dicts), *arrays])
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


def _map_request(request: Request, metadata: Dict[str, Any], timestamp: str) -> LambdaPayload:
    """The one place that says which field of the payload comes from where, and what stands in for silence."""
    community, user, entity = _section(metadata, "community"), _section(metadata, "user"), _section(metadata, "entity")
    platform = _text(_attribute(request, "platform"), "platform")
    user_id = _id(_attribute(request, "user_id"), "user_id")
    entity_id = _id(_attribute(request, "entity_id"), "entity_id")
    return LambdaPayload(
        community=_map_community(_id(_attribute(request, "community_id"), "community_id"), community),
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
        request_id=_id(_attribute(request, "session_id"), "session_id"),
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
    checked: Id = _typed(value, path, (str, int), "a string or an integer")
    return checked


def _typed(value: object, path: str, kinds: Tuple[type, ...], what: str) -> Any:
    """``value``, if it is one of ``kinds``; the error names the place in the request that it came from."""
    # bool is an int to Python, and to nobody who sends a seat count.
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise UnfitRequestError(f"{path} must be {what}, not {json_kind(value)}")
    _check_scalar(value, path)
    return value


def _scopes(request: Request) -> Tuple[str, ...]:
    return tuple(_strings(_attribute(request, "scopes"), "scopes"))


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


def _attribute(request: object, name: str) -> Any:
    try:
        return getattr(request, name)
    except AttributeError:
        raise UnfitRequestError(f"{name} is missing") from None


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


_HOLDERS = (dict, list, tuple)
#: Each takes two bytes at least, so that more would be too large in any case.
_MAX_VALUES = MAX_REQUEST_RESPONSE_BYTES // 2
#: https://docs.python.org/3/library/stdtypes.html#int-max-str-digits
_PYTHONS_MAX_DIGITS = 4_300
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
        raise UnfitRequestError(f"{_path(place)[:100]}… contains itself, or is nested over {MAX_DEPTH} levels deep")
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_key(key, place)
            _check_json(item, (place, key), depth + 1)
    else:
        for index, item in enumerate(value):
            _check_json(item, (place, index), depth + 1)


def _path(place: Place) -> str:
    """``metadata.user.roles[2]``"""
    if isinstance(place, str):
        return place
    holder, key = place
    return f"{_path(holder)}[{key}]" if isinstance(key, int) else f"{_path(holder)}.{shown(key, 40)}"


def _check_key(key: object, place: Place) -> None:
    if not isinstance(key, str):
        raise UnfitRequestError(f"{_path(place)} has a key of type {json_kind(key)}; JSON's keys are strings")
    _check_text(key, f"a key of {_path(place)}")


def _check_scalar(value: object, place: Place) -> None:
    if isinstance(value, str):
        _check_text(value, place)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise UnfitRequestError(f"{_path(place)} must be a finite number")
    elif isinstance(value, int):
        if value.bit_length() > MAX_INTEGER_BITS:
            raise UnfitRequestError(f"{_path(place)} must be an integer of up to {MAX_INTEGER_BITS} bits")
    elif value is not None:
        raise UnfitRequestError(f"{_path(place)} must be JSON, not {json_kind(value)}")


def _check_text(text: str, place: Place) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UnfitRequestError(f"{_path(place)} holds half a surrogate pair, which is no text") from None
