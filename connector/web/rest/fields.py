"""Kinds of values in requests, with their bounds: what the checks take is what the document says."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

_PRINTABLE = r"^[^\x00-\x1f\x7f]*$"

Name = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""Of a PBX, queue or agent, as the PBX has it: any printable text."""

Text = Annotated[str, Meta(max_length=128, pattern=_PRINTABLE)]
"""As `Name`, or empty for any."""

Interface = Annotated[str, Meta(min_length=3, max_length=128, pattern=r"^[A-Za-z0-9_]+/[^\x00-\x1f\x7f,|&]+$")]
"""What a queue dials: technology, slash, resource."""

PersonId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")]
"""Id of a person, chosen by whoever adds them."""

Limit = Annotated[int, Meta(ge=1, le=1000, description="How many at most.")]

Time = Annotated[float, Meta(ge=0, le=253402300800, description="Seconds since the epoch.")]

CallCursor = Annotated[
    str,
    Meta(
        max_length=300,
        pattern=r"^([0-9]{1,12}(\.[0-9]{1,9})?~[^\x00-\x1f\x7f]+)?$",
        description="`next` of the page before; empty for the first page.",
    ),
]

NameCursor = Annotated[
    str,
    Meta(max_length=300, pattern=_PRINTABLE, description="`next` of the page before; empty for the first page."),
]


class OfPbx(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Restricts a list to one PBX; empty for all."""

    pbx: Text = ""
