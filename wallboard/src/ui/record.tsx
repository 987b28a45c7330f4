// Recording of a call that goes on: begin, leave out, end.

import { useEffect, useState } from "preact/hooks";
import { t, type Word } from "../i18n";
import { pauseRecording, record, recordingOf, stopRecording, type LiveCallId, type LiveRecording } from "../recordings";
import { may } from "../session";

export function Record({ call }: { call: LiveCallId }) {
  const [now, setNow] = useState<LiveRecording | null | undefined>(undefined);
  const [said, setSaid] = useState<{ text: string; bad: boolean } | null>(null);
  const [busy, setBusy] = useState(false);
  const { pbx, linkedid } = call;
  useEffect(() => {
    recordingOf(call).then(setNow, () => setNow(undefined));
  }, [pbx, linkedid]);
  if (!may("record") || now === undefined) return null;
  const run = async (word: Word, step: () => Promise<LiveRecording | null>): Promise<void> => {
    setBusy(true);
    try {
      setNow(await step());
      setSaid({ text: t(word), bad: false });
    } catch (error) {
      setSaid({ text: error instanceof Error ? error.message : String(error), bad: true });
    }
    setBusy(false);
  };
  return (
    <p class="record">
      {now === null ? (
        <button disabled={busy} onClick={() => run("recorded.began", () => record(call))}>
          ● {t("record")}
        </button>
      ) : (
        <>
          <button
            disabled={busy}
            aria-pressed={now.paused}
            onClick={() => run(now.paused ? "recorded.goes_on" : "recorded.paused", () => pauseRecording(call, !now.paused))}
          >
            ‖ {t("pause_recording")}
          </button>
          <button disabled={busy} onClick={() => run("recorded.ended", async () => (await stopRecording(call), null))}>
            ■ {t("stop_recording")}
          </button>
        </>
      )}
      <span role="status" class={said?.bad ? "bad" : "ok"}>
        {said?.text ?? (now ? t(now.paused ? "recorded.paused" : "recorded.goes_on") : "")}
      </span>
    </p>
  );
}
