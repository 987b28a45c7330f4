"""The XML by which vendors have calls controlled (TwiML, Plivo XML), as far as a call that leaves its bot needs it.

The first verb decides: <Hangup/> and <Reject/>, <Dial> of a number, SIP address or queue, <Enqueue>, <Redirect> to
another document. A document without a verb ends the call, as it does at the vendors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl
from xml.etree import ElementTree

from connector.config_targets import TargetKind
from connector.dialects.commands import HangUp, Transfer

MAX_CHARACTERS = 16_384
SERVED = "Hangup, Reject, Dial, Enqueue, Redirect"
_FORMATTING = str.maketrans("", "", " -().")
_ROOT_KINDS = frozenset(kind.value for kind in TargetKind)


class BadXml(ValueError):
    """It is no such document; the message says why."""


class NotServed(ValueError):
    """The document asks for what is not done here; the message says what."""


@dataclass(frozen=True, slots=True)
class Redirect:
    """Another document says what to do."""

    url: str
    method: str = "POST"


def read(xml: str, *, context: str = "") -> HangUp | Transfer | Redirect:
    """Reads a document.

    Args:
        xml: As text.
        context: Dialplan context of numbers; empty for the one that the call came from.

    Raises:
        BadXml: It cannot be read.
        NotServed: It can, but asks for what is not done here.
    """
    if len(xml) > MAX_CHARACTERS:
        raise BadXml(f"longer than {MAX_CHARACTERS} characters")
    if "<!doctype" in xml.lower():  # entities that grow: no vendor's document has one
        raise BadXml("a document type is not allowed")
    try:
        root = ElementTree.fromstring(xml.strip())
    except (ElementTree.ParseError, ValueError) as error:
        raise BadXml(str(error)[:200]) from None
    if root.tag != "Response":
        raise BadXml(f"the root is <{root.tag[:40]}>, not <Response>")
    verb = next(iter(root), None)
    if verb is None:
        return HangUp("end of document")
    match verb.tag:
        case "Hangup" | "Reject":
            return HangUp(verb.get("reason", ""))
        case "Redirect":
            return Redirect(_text(verb), verb.get("method", "POST").upper())
        case "Enqueue":
            return Transfer(f"{TargetKind.QUEUE}:{_text(verb)}")
        case "Dial":
            return _dial(verb, context)
    raise NotServed(f"<{str(verb.tag)[:40]}>; a document may begin with {SERVED}")


def target_of(text: str, context: str = "") -> str:
    """A number, SIP address, or target in our own words, as a target."""
    scheme = text.partition(":")[0].lower()
    if scheme in ("sip", "sips"):
        return f"{TargetKind.SIP}:{text.partition(':')[2].partition(';')[0].partition('?')[0]}"
    if scheme in _ROOT_KINDS:
        return text
    number = text.translate(_FORMATTING)
    return f"{TargetKind.EXTENSION}:{number}" + (f"@{context}" if context else "")


def sip_headers(address: str) -> Mapping[str, str]:
    """Custom headers behind the question mark of a SIP address."""
    return {name: value for name, value in parse_qsl(address.partition("?")[2]) if name.lower().startswith("x-")}


def _dial(dial: ElementTree.Element, context: str) -> Transfer:
    nouns = list(dial)
    if not nouns:
        return Transfer(target_of(_text(dial), context))
    if len(nouns) > 1:
        raise NotServed(f"<Dial> of {len(nouns)}; one at a time")
    noun = nouns[0]
    match noun.tag:
        case "Number" | "Client":
            return Transfer(target_of(_text(noun), context))
        case "Sip" | "User":
            text = _text(noun)
            address = text if text.lower().startswith(("sip:", "sips:")) else f"sip:{text}"
            return Transfer(target_of(address), headers=dict(sip_headers(text)))
        case "Queue":
            return Transfer(f"{TargetKind.QUEUE}:{_text(noun)}")
    raise NotServed(f"<{str(noun.tag)[:40]}> in <Dial>; Number, Client, Sip, User and Queue are served")


def _text(element: ElementTree.Element) -> str:
    text = (element.text or "").strip()
    if not text:
        raise BadXml(f"<{element.tag}> says nothing")
    return text
