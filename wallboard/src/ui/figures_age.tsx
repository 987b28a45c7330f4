// Says how old figures are that could not be read again.

import { FIGURES_OLD_S } from "../figures";
import { timeOfDay } from "../format";
import { now } from "../clock";
import { t } from "../i18n";
import type { Polled } from "../poll";

export function FiguresAge({ polled }: { polled: Polled<unknown> }) {
  void now.value; // looked at again each second
  if (polled.at === 0) return polled.error ? <p class="bad">▲ {polled.error}</p> : null;
  if (!polled.error || Date.now() / 1000 - polled.at < FIGURES_OLD_S) return null;
  return (
    <p class="bad">
      ▲ {t("stale.figures", { time: timeOfDay(polled.at) })}: {polled.error}
    </p>
  );
}
