"""A function's name, partial ARN or ARN, parsed once into a value: one grammar for both sides of the API."""

import re
from typing import Optional

import attrs

from .limits import MAX_FUNCTION_IDENTIFIER_CHARS, MAX_FUNCTION_NAME_CHARS, MAX_QUALIFIER_CHARS

# The pattern of botocore's Lambda model (NamespacedFunctionName), but with the ARN's parts all there or none.
_IDENTIFIER = re.compile(
    r"""
    (?P<prefix>
        arn:aws[a-zA-Z-]*:lambda:
            (?P<region> (?:eusc-)?[a-z]{2}(?:-gov|-iso[a-z]?)?-[a-z]+-\d{1,2} ):
            (?P<account> \d{12} ):function:
      | \d{12}:function: | \d{12}: | function:
    )?
    (?P<name> [a-zA-Z0-9-_.]+ )
    (?: :(?P<qualifier> \$LATEST(?:\.PUBLISHED)? | [a-zA-Z0-9-_]+ ) )?
    """,
    re.ASCII | re.VERBOSE,
)
# https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html (Qualifier)
_QUALIFIER = re.compile(r"\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9$_-]+", re.ASCII)


@attrs.frozen
class FunctionIdentifier:
    """What a name, partial ARN or ARN says."""

    #: All of it, as it is sent.
    text: str
    #: The function's own name.
    name: str
    #: The version or alias at its end.
    qualifier: Optional[str] = None
    #: Of a whole ARN only.
    region: Optional[str] = None
    #: Whether it is more than a name, with or without a qualifier.
    is_arn: bool = False

    @property
    def unqualified(self) -> str:
        """All of it but the qualifier."""
        return self.text if self.qualifier is None else self.text[: -len(self.qualifier) - 1]


def parse_identifier(text: str) -> Optional[FunctionIdentifier]:
    """The parts of ``text``; None where AWS could have no such function."""
    parts = _IDENTIFIER.fullmatch(text)
    if parts is None or parts["name"] in (".", ".."):
        return None
    is_arn = parts["prefix"] is not None
    longest_name = MAX_FUNCTION_IDENTIFIER_CHARS if is_arn else MAX_FUNCTION_NAME_CHARS
    if len(parts["name"]) > longest_name or len(text) > MAX_FUNCTION_IDENTIFIER_CHARS:
        return None
    return FunctionIdentifier(text, parts["name"], parts["qualifier"], parts["region"], is_arn)


def is_name(text: str) -> bool:
    """Whether ``text`` is a function's bare name."""
    parsed = parse_identifier(text)
    return parsed is not None and parsed.name == text


def is_qualifier(text: str) -> bool:
    """Whether ``text`` can be a version or an alias."""
    return len(text) <= MAX_QUALIFIER_CHARS and _QUALIFIER.fullmatch(text) is not None
