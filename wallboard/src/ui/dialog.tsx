// A dialog of acts: asks before what hurts, and shows what came of it as Asterisk confirmed it.

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { act, Refused } from "../api";
import { t, type Word } from "../i18n";

export interface Deed {
  name: string;
  body: Record<string, unknown>;
  /** What it does to somebody; asked before. */
  confirm?: string;
  /** Whether the request says that it was confirmed; the API asks it of what cannot be taken back. */
  flag?: boolean;
}

interface Props {
  title: string;
  close: () => void;
  children: (run: (deed: Deed) => void, busy: boolean) => ComponentChildren;
}

export function Dialog({ title, close, children }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [asked, setAsked] = useState<Deed | null>(null);
  const [busy, setBusy] = useState(false);
  const [result, setResult] = useState<{ text: string; bad: boolean } | null>(null);
  useEffect(() => dialog.current?.showModal(), []);

  const really = async (deed: Deed): Promise<void> => {
    setAsked(null);
    setBusy(true);
    setResult(null);
    try {
      const { outcome, detail } = await act(deed.name, { ...deed.body, ...(deed.confirm && deed.flag !== false && { confirm: true }) });
      setResult({ text: t(`outcome.${outcome}` as Word, { detail }), bad: outcome === "unknown" });
    } catch (error) {
      setResult({ text: error instanceof Refused ? `${error.message} ${error.remedy}` : String(error), bad: true });
    }
    setBusy(false);
  };
  const run = (deed: Deed): void => {
    if (deed.confirm) setAsked(deed);
    else void really(deed);
  };
  return (
    <dialog ref={dialog} onClose={close} aria-labelledby="dialog-title">
      <h2 id="dialog-title">{title}</h2>
      {asked ? (
        <div class="confirm" role="alertdialog" aria-labelledby="dialog-confirm">
          <p id="dialog-confirm">{asked.confirm}</p>
          <button class="danger" onClick={() => void really(asked)}>
            {t("do_it")}
          </button>
          <button ref={(button) => button?.focus()} onClick={() => setAsked(null)}>
            {t("cancel")}
          </button>
        </div>
      ) : (
        children(run, busy)
      )}
      <p role="status" class={`result ${result?.bad ? "bad" : "ok"}`}>
        {result && `${result.bad ? "▲" : "✓"} ${result.text}`}
      </p>
      <p>
        <button onClick={() => dialog.current?.close()}>{t("close")}</button>
      </p>
    </dialog>
  );
}
