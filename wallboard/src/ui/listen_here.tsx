// Buttons for being in a conversation through this browser; what follows is in the panel.

import { useState } from "preact/hooks";
import { t, type Word } from "../i18n";
import { begin, type Mode, type Target } from "../listen/ear";
import { may } from "../session";

const MODES: readonly Mode[] = ["listen", "whisper", "barge"];

interface Props {
  target: Omit<Target, "mode">;
  /** Called when it begins. */
  begun: () => void;
}

export function ListenHere({ target, begun }: Props) {
  const [asked, setAsked] = useState<Mode | null>(null);
  const modes = MODES.filter((mode) => may(mode) && (mode === "listen" || target.agent !== undefined));
  if (modes.length === 0) return null;
  if (asked) {
    return (
      <div class="confirm" role="alertdialog" aria-labelledby="listen-confirm">
        <p id="listen-confirm">{t(`confirm.${asked}_here` as Word, { name: target.name })}</p>
        <button
          class="primary"
          ref={(button) => button?.focus()}
          onClick={() => {
            void begin({ ...target, mode: asked });
            begun();
          }}
        >
          {t(`${asked}_here` as Word)}
        </button>
        <button onClick={() => setAsked(null)}>{t("cancel")}</button>
      </div>
    );
  }
  return (
    <p>
      {modes.map((mode) => (
        <button key={mode} onClick={() => setAsked(mode)}>
          {t(`${mode}_here` as Word)}
        </button>
      ))}
      <small>{t("here")}</small>
    </p>
  );
}
