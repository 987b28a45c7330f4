// The log-in.

import { useState } from "preact/hooks";
import { ask, Refused } from "../api";
import { t } from "../i18n";
import { enter, sso } from "../session";
import type { Session } from "../wire";

export function Login() {
  const [problem, setProblem] = useState("");
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const form = event.target as HTMLFormElement;
    const fields = new FormData(form);
    try {
      enter(await ask<Session>("POST", "/session", { name: fields.get("name"), password: fields.get("password") }));
    } catch (error) {
      setProblem(error instanceof Refused ? `${error.message} ${error.remedy}` : String(error));
      form.querySelector<HTMLInputElement>("[name=password]")?.select();
    }
  };
  return (
    <main class="login">
      <h1>{t("title")}</h1>
      <form onSubmit={submit}>
        <label>
          {t("name")}
          <input name="name" autocomplete="username" required maxLength={64} />
        </label>
        <label>
          {t("password")}
          <input name="password" type="password" autocomplete="current-password" required />
        </label>
        <button class="primary">{t("log_in")}</button>
        <p role="alert" class="bad">
          {problem}
        </p>
      </form>
      {sso.value && <a href="/api/v1/oidc/login">{t("log_in_with", { title: sso.value })}</a>}
    </main>
  );
}
