// What one can do for a caller who waits.

import { useState } from "preact/hooks";
import { caller as named } from "../format";
import { t } from "../i18n";
import { may, session } from "../session";
import type { CallerItem } from "../wire";
import { Dialog } from "./dialog";
import { Transfer } from "./transfer";

export function CallerDialog({ caller, close }: { caller: CallerItem; close: () => void }) {
  const [priority, setPriority] = useState(String(caller.priority));
  const { pbx, queue, uniqueid } = caller;
  const name = named(caller.number, caller.name);
  const phone = session.value?.phone ?? "";
  return (
    <Dialog title={name} close={close}>
      {(run, busy) => (
        <fieldset disabled={busy}>
          {may("transfer") && (
            <p>
              <button disabled={!phone} onClick={() => run({ name: "pick-up", body: { pbx, queue, uniqueid } })}>
                {t("pick_up")}
              </button>{" "}
              <small>{phone ? t("at_phone", { phone }) : t("no_phone")}</small>
            </p>
          )}
          <Transfer pbx={pbx} uniqueid={uniqueid} name={name} here={queue} run={run} />
          {may("priority") && (
            <p>
              <label>
                {t("priority")}
                <input
                  type="number"
                  min={0}
                  max={1000}
                  value={priority}
                  onInput={(event) => setPriority(event.currentTarget.value)}
                />
              </label>
              <button
                onClick={() => run({ name: "set-priority", body: { pbx, queue, uniqueid, priority: Number(priority) } })}
              >
                {t("set")}
              </button>
            </p>
          )}
          <p>
            {may("withdraw") && (
              <button
                class="danger"
                onClick={() =>
                  run({ name: "withdraw", body: { pbx, queue, uniqueid }, confirm: t("confirm.withdraw", { name }) })
                }
              >
                {t("withdraw")}
              </button>
            )}{" "}
            {may("hang_up") && (
              <button
                class="danger"
                onClick={() => run({ name: "hang-up", body: { pbx, uniqueid }, confirm: t("confirm.hang-up", { name }) })}
              >
                {t("hang_up")}
              </button>
            )}
          </p>
        </fieldset>
      )}
    </Dialog>
  );
}
