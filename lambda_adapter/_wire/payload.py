"""The wire, outwards: a request becomes the bytes that functions expect."""

import json
import math
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, Union

import attrs
import cattrs
from cattrs.fns import identity

from .._rules.limits import MAX_DEPTH, MAX_INTEGER_BITS
from .._text.redaction import class_name, json_kind, shown
from .._text.timestamps import utc_timestamp
from ..messages import Id, Request

Validator = Callable[[Any, Any, Any], None]


class UnfitRequestError(Exception):
    """A request that cannot be sent; the text names the path and what it should be."""


def _typed(path: str, kinds: Tuple[type, ...], what: str) -> Validator:
    """A validator that names the place in the request that a value came from."""

    def check(_instance: object, _attribute: "attrs.Attribute[Any]", value: object) -> None:
        # bool is an int to Python, and to nobody who sends a seat count.
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise UnfitRequestError(f"{path} must be {what}, not {json_kind(value)}")
        _check_scalar(value, path)

    return check


def _text(path: str) -> Validator:
    return _typed(path, (str,), "a string")


def _optional_text(path: str) -> Validator:
    return _typed(path, (str, type(None)), "a string or null")


def _id(path: str) -> Validator:
    return _typed(path, (str, int), "a string or an integer")


@attrs.frozen
class Community:
    id: Id = attrs.field(validator=_id("community_id"))
    name: str = attrs.field(validator=_text("metadata.community.name"))
    is_subscribed: bool = attrs.field(validator=_typed("metadata.community.is_subscribed", (bool,), "true or false"))
    subscription_order_id: Optional[Id] = attrs.field(
        validator=_typed(
            "metadata.community.subscription_order_id", (str, int, type(None)), "a string, an integer or null"
        )
    )
    seat_count: int = attrs.field(validator=_typed("metadata.community.seat_count", (int,), "an integer"))


@attrs.frozen
class Trigger:
    type: str
    command: Optional[str] = attrs.field(validator=_optional_text("command"))
    context_text: Optional[str]
    event_type: Optional[str] = attrs.field(validator=_optional_text("metadata.event_type"))
    event_data: Any


@attrs.frozen
class User:
    id: Id = attrs.field(validator=_id("user_id"))
    username: str = attrs.field(validator=_text("metadata.user.username"))
    platform: str = attrs.field(validator=_text("platform"))
    platform_user_id: Id = attrs.field(validator=_id("metadata.user.platform_user_id"))


@attrs.frozen
class Entity:
    id: Id = attrs.field(validator=_id("entity_id"))
    platform: str
    platform_entity_id: Id = attrs.field(validator=_id("metadata.entity.platform_entity_id"))


@attrs.frozen
class LambdaPayload:
    """The seed's payload; the order of the fields is the order of the keys."""

    community: Community
    trigger: Trigger
    user: User
    entity: Entity
    request_id: Id = attrs.field(validator=_id("session_id"))
    timestamp: str


_converter = cattrs.Converter()
# What is none of the classes above is JSON already. cattrs would look up the type of each value, and copy event_data.
_converter.register_unstructure_hook_func(lambda kind: not attrs.has(kind), identity)

_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


@attrs.frozen
class EncodedRequest:
    """What goes out in every attempt of a call, and what the log may say of it."""

    payload: bytes = attrs.field(repr=False)
    #: ``session_id`` as the log shows it.
    request_id: str
    scopes: Tuple[str, ...]
    session_id: Id = attrs.field(repr=False)
    community_id: Id = attrs.field(repr=False)


def encode_request(request: Request, timestamp: Callable[[], str] = utc_timestamp) -> EncodedRequest:
    """Turn any object with ExecuteRequest's attributes into the payload's bytes.

    Raises:
        UnfitRequestError: With the path to what is wrong. Nothing else, whatever the request holds.
    """
    try:
        payload = _map_request(request, timestamp())
        text = _json.encode(_converter.unstructure(payload))
        return EncodedRequest(
            payload=text.encode(),
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


def _map_request(request: Request, timestamp: str) -> LambdaPayload:
    """The one place that says which field of the payload comes from where, and what stands in for silence."""
    metadata = _attribute(request, "metadata")
    if not isinstance(metadata, dict):
        raise UnfitRequestError(f"metadata must be an object, not {json_kind(metadata)}")
    _check_json(metadata, "metadata")
    community, user, entity = (_section(metadata, name) for name in ("community", "user", "entity"))
    platform, user_id, entity_id = (_attribute(request, name) for name in ("platform", "user_id", "entity_id"))
    return LambdaPayload(
        community=Community(
            id=_attribute(request, "community_id"),
            name=_said(community, "name", "Unknown Community"),
            # Not true: a module must not take silence for a paid seat.
            is_subscribed=_said(community, "is_subscribed", False),
            subscription_order_id=community.get("subscription_order_id"),
            seat_count=_said(community, "seat_count", 0),
        ),
        trigger=_map_trigger(request, metadata),
        user=User(
            id=user_id,
            username=_said(user, "username", "unknown"),
            platform=platform,
            platform_user_id=_said(user, "platform_user_id", user_id),
        ),
        entity=Entity(
            id=entity_id,
            platform=platform,
            platform_entity_id=_said(entity, "platform_entity_id", entity_id),
        ),
        request_id=_attribute(request, "session_id"),
        timestamp=timestamp,
    )


def _map_trigger(request: Request, metadata: Dict[str, Any]) -> Trigger:
    is_event = _said(metadata, "is_event", False)
    if not isinstance(is_event, bool):
        raise UnfitRequestError(f"metadata.is_event must be true or false, not {json_kind(is_event)}")
    if is_event:
        return Trigger("event", None, None, metadata.get("event_type"), metadata.get("event_data"))
    command, args = _attribute(request, "command"), _attribute(request, "args")
    if not isinstance(command, str):
        raise UnfitRequestError(f"command must be a string, not {json_kind(command)}")
    args = _strings(args, "args")
    return Trigger("command", command, " ".join(args) if args else None, None, None)


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


#: Where a value stands: a name of the request's, or what holds the value and its key or index there.
Place = Union[str, Tuple[Any, Union[str, int]]]


def _check_json(value: object, place: Place, depth: int = 0) -> None:
    """Raise UnfitRequestError, with the path, for what strict JSON cannot hold.

    A payload may have megabytes of small values: a path is put together for a wrong one only, and plain text costs no
    call.
    """
    if not isinstance(value, (dict, list, tuple)):
        _check_scalar(value, place)
    elif depth == MAX_DEPTH:
        # A circular structure is one without an end, so this names it as well.
        raise UnfitRequestError(f"{_path(place)[:100]}… contains itself, or is nested over {MAX_DEPTH} levels deep")
    elif isinstance(value, dict):
        for key, item in value.items():
            if not (type(key) is str and key.isascii()):
                _check_key(key, place)
            if not (item.isascii() if type(item) is str else item is None):
                _check_json(item, (place, key), depth + 1)
    else:
        for index, item in enumerate(value):
            if not (item.isascii() if type(item) is str else item is None):
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
