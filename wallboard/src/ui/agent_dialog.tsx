// What one can do for an agent.

import { useState } from "preact/hooks";
import { t } from "../i18n";
import { tables } from "../live";
import { may, session } from "../session";
import type { AgentItem } from "../wire";
import { Dialog } from "./dialog";
import { ListenHere } from "./listen_here";
import { Places } from "./members";
import { State } from "./parts";
import { Record } from "./record";

export function AgentDialog({ id, close }: { id: string; close: () => void }) {
  const [reason, setReason] = useState("");
  const [queue, setQueue] = useState("");
  const [text, setText] = useState("");
  const agent: AgentItem | undefined = tables.value.agent.get(id);
  if (agent === undefined) return null;
  const { pbx, name } = agent;
  const who = { pbx, agent: agent.agent };
  const phone = session.value?.phone ?? "";
  const talks = agent.state === "on_call" || agent.state === "on_hold";
  return (
    <Dialog title={name} close={close}>
      {(run, busy) => (
        <fieldset disabled={busy}>
          <p>
            <State state={agent.state} /> {agent.reason}
          </p>
          {may("pause") && (
            <p>
              <label>
                {t("in_queue")}
                <select value={queue} onChange={(event) => setQueue(event.currentTarget.value)}>
                  <option value="">{t("all")}</option>
                  {agent.queues.map((each) => (
                    <option key={each}>{each}</option>
                  ))}
                </select>
              </label>
              <label>
                {t("pause_reason")}
                <input value={reason} maxLength={64} onInput={(event) => setReason(event.currentTarget.value)} />
              </label>
              <button onClick={() => run({ name: "pause", body: { ...who, queue, reason } })}>{t("pause")}</button>{" "}
              <button onClick={() => run({ name: "unpause", body: { ...who, queue } })}>{t("unpause")}</button>
            </p>
          )}
          {talks && may("listen") && (
            <p>
              {(["listen", "whisper", "barge", "take-over"] as const)
                .filter((mode) => may(mode.replace("-", "_")))
                .map((mode) => (
                  <button
                    key={mode}
                    disabled={!phone}
                    class={mode === "take-over" ? "danger" : ""}
                    onClick={() =>
                      run({
                        name: mode,
                        body: who,
                        ...(mode === "take-over" && { confirm: t("confirm.take-over", { name }) }),
                      })
                    }
                  >
                    {t(mode === "take-over" ? "take_over" : mode)}
                  </button>
                ))}
              <small>{phone ? t("at_phone", { phone }) : t("no_phone")}</small>
            </p>
          )}
          {talks && <ListenHere target={{ ...who, name }} begun={close} />}
          {talks && agent.call && <Record call={{ pbx, linkedid: agent.call }} />}
          {may("message") && (
            <p>
              <label>
                {t("message")}
                <input value={text} maxLength={1000} onInput={(event) => setText(event.currentTarget.value)} />
              </label>
              <button disabled={!text} onClick={() => run({ name: "message", body: { ...who, text } })}>
                {t("send")}
              </button>
              {talks && <button onClick={() => run({ name: "chime", body: who })}>{t("chime")}</button>}
            </p>
          )}
          <Places agent={agent} run={run} />
          {may("force_logout") && (
            <p>
              <button
                class="danger"
                onClick={() => run({ name: "force-logout", body: who, confirm: t("confirm.force-logout", { name }) })}
              >
                {t("force_logout")}
              </button>
            </p>
          )}
        </fieldset>
      )}
    </Dialog>
  );
}
