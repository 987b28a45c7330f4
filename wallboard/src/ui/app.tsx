// The page: who is not logged in sees the log-in, all others the view that the address names.

import { pageStale } from "../freshness";
import { seen } from "../live";
import { route } from "../route";
import { session } from "../session";
import { Agents } from "./agents";
import { Calls } from "./calls";
import { EarPanel } from "./ear_panel";
import { Freshness, Header } from "./header";
import { Login } from "./login";
import { Queue } from "./queue";
import { Queues } from "./queues";
import { Recordings } from "./recordings";
import { Wall } from "./wall";

export function App() {
  if (session.value === undefined) return null;
  if (session.value === null) return <Login />;
  const wall = route.value.path[0] === "wall";
  return (
    <div class={`${pageStale.value ? "stale" : ""} ${wall ? "wall" : ""}`}>
      {!wall && <Header />}
      <Freshness />
      <main id="content" tabIndex={-1}>
        {seen.value && <View />}
      </main>
      <EarPanel />
    </div>
  );
}

function View() {
  const [view, pbx, queue] = route.value.path;
  switch (view) {
    case "agents":
      return <Agents />;
    case "calls":
      return <Calls />;
    case "recordings":
      return <Recordings />;
    case "wall":
      return <Wall />;
    default:
      return pbx && queue ? <Queue key={`${pbx}/${queue}`} pbx={pbx} name={queue} /> : <Queues />;
  }
}
