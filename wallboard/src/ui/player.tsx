// Plays a recording: the browser's own controls, and above them the outline of both sides, in which one seeks.

import { useEffect, useRef, useState } from "preact/hooks";
import { t, type Word } from "../i18n";
import { peaks, type Peaks, type Recording } from "../recordings";

const WIDTH = 600;
const LANE = 44;

export function Player({ recording }: { recording: Recording }) {
  const audio = useRef<HTMLAudioElement>(null);
  const [outline, setOutline] = useState<Peaks | null>(null);
  const [at, setAt] = useState(0);
  const [failed, setFailed] = useState("");
  useEffect(() => {
    let ended = false;
    peaks(recording).then(
      (each) => !ended && setOutline(each),
      (error: unknown) => !ended && setFailed(error instanceof Error ? error.message : String(error)),
    );
    return () => {
      ended = true;
    };
  }, [recording.day, recording.file]);
  const seek = (event: MouseEvent): void => {
    const lane = (event.currentTarget as Element).querySelector(".playhead");
    if (lane === null) return;
    const { left, width } = lane.getBoundingClientRect();
    if (audio.current && outline) audio.current.currentTime = Math.max(0, (event.clientX - left) / width) * (outline.duration_ms / 1000);
  };
  const right = t(`ears.${recording.right}` as Word);
  return (
    <div class="player">
      {outline && (
        <div class="outline" onClick={seek}>
          <Lane name={t("ears.caller")} peaks={outline.left} />
          <Lane name={right} peaks={outline.right} />
          <svg class="playhead" viewBox="0 0 1000 1" preserveAspectRatio="none" aria-hidden="true">
            <path d={`M${(at * 1e6) / Math.max(1, outline.duration_ms)} 0v1`} />
          </svg>
        </div>
      )}
      <audio
        ref={audio}
        controls
        preload="metadata"
        src={recording.audio}
        onTimeUpdate={(event) => setAt(event.currentTarget.currentTime)}
        onError={() => setFailed(t("not_playable"))}
      />
      {recording.paused_ms > 0 && <small>{t("left_out", { seconds: Math.round(recording.paused_ms / 1000) })}</small>}
      {failed && <p class="result bad">▲ {failed}</p>}
    </div>
  );
}

/** One side: as high as it is loud, by the square root, or speech would be a thin line. */
function Lane({ name, peaks: heights }: { name: string; peaks: number[] }) {
  const step = WIDTH / Math.max(1, heights.length);
  const tops = heights.map((height) => Math.max(0.5, Math.sqrt(height / 255) * (LANE / 2 - 1)));
  const line = (sign: number): string[] => tops.map((top, n) => `${((n + 0.5) * step).toFixed(1)} ${(LANE / 2 + sign * top).toFixed(1)}`);
  return (
    <figure>
      <figcaption>{name}</figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${LANE}`} preserveAspectRatio="none" aria-hidden="true">
        <path d={`M${[...line(-1), ...line(1).reverse()].join("L")}z`} />
      </svg>
    </figure>
  );
}
