// What is listened to in this browser: who, how loud, how late; mute and stop. It stays while one looks at other views.

import { useEffect, useRef } from "preact/hooks";
import { t, type Word } from "../i18n";
import { dismiss, ear, end, setMuted, type Ear } from "../listen/ear";

const QUIET_DB = -60;

export function EarPanel() {
  const now = ear.value;
  if (now === null) return null;
  return <Panel now={now} key={now.target.name + now.target.mode} />;
}

function Panel({ now }: { now: Ear }) {
  const { target, phase, tracks, levels, heldMs, own, muted } = now;
  const panel = useRef<HTMLElement>(null);
  useEffect(() => panel.current?.focus(), []);
  const key = (event: KeyboardEvent): void => {
    if (event.key === "Escape") (phase === "ended" ? dismiss : end)();
    if (event.key === "m" && phase !== "ended") setMuted(!muted);
  };
  const speaks = target.mode !== "listen";
  return (
    <section class={`ear ${phase} ${speaks ? "speaks" : ""}`} ref={panel} tabIndex={-1} aria-label={t("ears.panel")} onKeyDown={key}>
      <p class="ear-what">
        <span aria-hidden="true">●</span> <b>{target.name}</b>{" "}
        <span role="status">{said(now)}</span>
      </p>
      {phase === "hears" && (
        <div class="ear-levels">
          {tracks.map((track, n) => (
            <Level key={track} name={t(`ears.${track}` as Word)} rms={levels[n] ?? 0} />
          ))}
          {own !== null && <Level name={t("ears.own")} rms={own} />}
          <small title={t("ears.held_long")}>{t("ears.held", { ms: Math.round(heldMs / 10) * 10 })}</small>
        </div>
      )}
      <p class="ear-acts">
        {phase === "ended" ? (
          <button onClick={dismiss}>{t("close")}</button>
        ) : (
          <>
            <button aria-pressed={muted} onClick={() => setMuted(!muted)}>
              {t(speaks ? "ears.mute_microphone" : "ears.mute")} <kbd>M</kbd>
            </button>
            <button class="danger" onClick={end}>
              {t("ears.stop")} <kbd>Esc</kbd>
            </button>
          </>
        )}
      </p>
    </section>
  );
}

function said({ target, phase, why, muted }: Ear): string {
  if (phase === "connecting") return t("connecting");
  if (phase === "ended") return why.startsWith("ears.") ? t(why as Word) : why;
  const who = t(`ears.${target.mode}` as Word);
  return muted ? `${who} ${t("ears.muted")}` : who;
}

/** A bar from -60 dBFS to full scale. */
function Level({ name, rms }: { name: string; rms: number }) {
  const db = rms > 0 ? Math.max(QUIET_DB, 20 * Math.log10(rms)) : QUIET_DB;
  return (
    <label>
      {name}
      <meter min={QUIET_DB} max={0} low={-50} value={db} />
    </label>
  );
}
