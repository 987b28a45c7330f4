// The bar on top: views, freshness, looks, log-out.

import { ask } from "../api";
import { linkNotes, pageStale } from "../freshness";
import { languages, locale, speak, t, type Word } from "../i18n";
import { fault, seen } from "../live";
import { keepViews, theme, views, wear } from "../preferences";
import { link, route } from "../route";
import { may, session } from "../session";

const VIEWS: readonly Word[] = ["queues", "agents", "calls", "recordings", "wall"];

export function Header() {
  const here = route.value.path[0] ?? "queues";
  return (
    <header>
      <a class="skip" href="#content" onClick={toContent}>
        {t("skip")}
      </a>
      <h1>{t("title")}</h1>
      <nav>
        {VIEWS.filter((name) => name !== "recordings" || may("play_recordings")).map((name) => (
          <a key={name} href={link(name)} aria-current={here === name ? "page" : undefined}>
            {t(name)}
          </a>
        ))}
      </nav>
      <Views />
      <label class="pick">
        <span class="hidden">{t("theme")}</span>
        <select value={theme.value} onChange={(event) => wear(event.currentTarget.value)}>
          {(["auto", "light", "dark"] as const).map((name) => (
            <option key={name} value={name}>
              {t(`theme.${name}`)}
            </option>
          ))}
        </select>
      </label>
      <label class="pick">
        <span class="hidden">{t("language")}</span>
        <select value={locale.value} onChange={(event) => speak(event.currentTarget.value)}>
          {languages.map((name) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
        </select>
      </label>
      {session.value?.csrf && (
        <button onClick={leave}>
          {t("log_out")} <b>{session.value.name}</b>
        </button>
      )}
    </header>
  );
}

/** What is not of now, and since when. */
export function Freshness() {
  if (!seen.value) {
    return (
      <p class="freshness" role="status">
        {fault.value || t("connecting")}
      </p>
    );
  }
  const notes = pageStale.value ? [pageStale.value] : linkNotes.value;
  return (
    <div class={`freshness ${notes.length ? "bad" : "ok"}`} role="status">
      {notes.length ? notes.map((note) => <p key={note}>▲ {note}</p>) : <p>● {t("live")}</p>}
    </div>
  );
}

function Views() {
  if (!may("own") || !session.value?.csrf) return null;
  const save = (): void => {
    const name = window.prompt(t("save_view_as"))?.trim();
    if (name) void keepViews([...views.value.filter((view) => view.name !== name), { name, hash: location.hash || "#/" }]);
  };
  return (
    <details class="views">
      <summary>{t("views")}</summary>
      <ul>
        {views.value.map((view) => (
          <li key={view.name}>
            <a href={view.hash}>{view.name}</a>
            <button
              aria-label={t("remove_view", { name: view.name })}
              onClick={() => void keepViews(views.value.filter((each) => each !== view))}
            >
              ✕
            </button>
          </li>
        ))}
      </ul>
      <button onClick={save}>{t("save_view")}</button>
    </details>
  );
}

function toContent(event: Event): void {
  event.preventDefault(); // the part behind # is the view
  document.getElementById("content")?.focus();
}

async function leave(): Promise<void> {
  await ask("DELETE", "/session").catch(() => undefined);
  session.value = null;
}
