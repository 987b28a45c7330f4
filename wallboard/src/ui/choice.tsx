// A filter of a view: one of several values, kept in the address.

import { code, t, type Word } from "../i18n";
import { refine } from "../route";

interface ChoiceProps {
  word: Word;
  name: string;
  value: string;
  options: readonly string[];
  prefix?: string;
  /** The word for no choice. */
  any?: Word;
}

export function Choice({ word, name, value, options, prefix, any = "all" }: ChoiceProps) {
  return (
    <label>
      {t(word)}
      <select value={value} onChange={(event) => refine(name, event.currentTarget.value)}>
        <option value="">{t(any)}</option>
        {options.map((each) => (
          <option key={each} value={each}>
            {prefix ? code(prefix, each) : each}
          </option>
        ))}
      </select>
    </label>
  );
}
