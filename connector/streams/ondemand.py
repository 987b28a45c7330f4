"""Listening on demand: asked for by the dialplan, by Stasis() or UserEvent(), and by UserEvent at AMI."""

from __future__ import annotations

import structlog

from connector.events import ListenAsked
from connector.streams.listeners import Listeners, NotListening
from connector.streams.parameters import split_arguments

log = structlog.get_logger()

LISTEN, UNLISTEN = "@listen", "@unlisten"
"""First arguments of Stasis(): no profile has such a name."""


class OnDemand:
    """Does what is asked for at one PBX. For the bus.

    Args:
        pbx: Its name.
        listeners: Do it.
    """

    takes = (ListenAsked,)

    def __init__(self, pbx: str, listeners: Listeners) -> None:
        self._pbx = pbx
        self._listeners = listeners

    def on_event(self, event: object) -> None:
        """Somebody asks by UserEvent."""
        if not isinstance(event, ListenAsked) or event.pbx != self._pbx:
            return
        if event.start:
            self._listeners.try_to_start(event.uniqueid, event.profile)
        else:
            self._listeners.stop(event.uniqueid, event.profile)

    def asked_by_dialplan(self, channel_id: str, args: list[str]) -> str:
        """What Stasis(connector,@listen,PROFILE[,name=value...]) or Stasis(connector,@unlisten,PROFILE) asks for.

        Returns:
            What the dialplan gets as CONNECTOR_RESULT: listening, stopped, or why not.
        """
        profile = args[1] if len(args) > 1 else ""
        if args[0] == UNLISTEN:
            return "stopped" if self._listeners.stop(channel_id, profile) else "not_listening"
        try:
            self._listeners.start(channel_id, profile, split_arguments(args[2:]))
        except NotListening as error:
            log.warning("not_listening", pbx=self._pbx, profile=profile, kind=error.kind, detail=str(error))
            return error.kind.replace("-", "_")
        return "listening"
