// A caller goes to another queue in scope, or to an extension.

import { useState } from "preact/hooks";
import { t } from "../i18n";
import { tables } from "../live";
import { may } from "../session";
import type { Deed } from "./dialog";

interface Props {
  pbx: string;
  uniqueid: string;
  name: string;
  /** Where the caller is now: no target. */
  here?: string;
  run: (deed: Deed) => void;
}

export function Transfer({ pbx, uniqueid, name, here = "", run }: Props) {
  const [queue, setQueue] = useState("");
  const [exten, setExten] = useState("");
  if (!may("transfer")) return null;
  const queues = [...tables.value.queue.values()]
    .filter((each) => each.pbx === pbx && each.queue !== here)
    .map((each) => each.queue)
    .sort();
  const to = queue || exten;
  const target = queue ? { queue } : { exten };
  return (
    <p>
      <label>
        {t("to_queue")}
        <select
          value={queue}
          onChange={(event) => {
            setQueue(event.currentTarget.value);
            setExten("");
          }}
        >
          <option value="">…</option>
          {queues.map((each) => (
            <option key={each}>{each}</option>
          ))}
        </select>
      </label>
      <label>
        {t("to_extension")}
        <input
          value={exten}
          maxLength={64}
          pattern="[0-9A-Za-z*#+_.\-]+"
          size={8}
          onInput={(event) => {
            setExten(event.currentTarget.value);
            setQueue("");
          }}
        />
      </label>
      <button
        disabled={!to}
        onClick={() =>
          run({
            name: "transfer",
            body: { pbx, uniqueid, ...target },
            confirm: t("confirm.transfer", { name, to }),
            flag: false,
          })
        }
      >
        {t("transfer")}
      </button>
    </p>
  );
}
