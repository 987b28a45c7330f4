"""RingCentral's receiver for Python (PyPI ev_audio_streaming_transcription_py) with a recogniser that only listens.

`ringcx_receiver.py PORT FILE`: the recogniser of each call writes how many bytes of audio it was given to the file. The
package is used as it is; the recogniser that it imports is a service of Google, so a stub stands in for that module.
"""

from __future__ import annotations

import asyncio
import json
import sys
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

PORT, REPORT = int(sys.argv[1]), Path(sys.argv[2])


class SpeechClient:
    """Takes audio until there is no more."""

    def streaming_recognize(self, _config: Any, requests: Iterable[Any]) -> Iterator[Any]:
        total = 0
        for request in requests:
            total += len(request["audio_content"])
            half = REPORT.with_suffix(".half")
            half.write_text(json.dumps({"audio_bytes": total}))
            half.replace(REPORT)  # whoever reads finds all of it
        yield from ()


speech = types.ModuleType("google.cloud.speech")
speech.SpeechClient = SpeechClient  # type: ignore[attr-defined]
speech.RecognitionConfig = type(  # type: ignore[attr-defined]
    "RecognitionConfig", (), {"AudioEncoding": types.SimpleNamespace(MULAW=1), "__init__": lambda self, **_: None}
)
speech.StreamingRecognitionConfig = dict  # type: ignore[attr-defined]
speech.StreamingRecognizeRequest = dict  # type: ignore[attr-defined]
cloud = types.ModuleType("google.cloud")
cloud.speech = speech  # type: ignore[attr-defined]
sys.modules["google.cloud"], sys.modules["google.cloud.speech"] = cloud, speech

from ev_audio_streaming_transcription_py import server  # noqa: E402

asyncio.run(server.main(PORT))
