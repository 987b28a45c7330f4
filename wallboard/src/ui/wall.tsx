// For a screen on the wall: few large tiles, read from five metres, one page of queues after the other.

import { useEffect, useState } from "preact/hooks";
import { useQueueFigures } from "../figures";
import { timeOfDay } from "../format";
import { now } from "../clock";
import { t } from "../i18n";
import { link } from "../route";
import { FiguresAge } from "./figures_age";
import { chosenQueues, Tile } from "./queues";

const PER_PAGE = 4;
const PAGE_MS = 12_000;

export function Wall() {
  const [turn, setTurn] = useState(0);
  const figures = useQueueFigures();
  const queues = chosenQueues(figures.value.value);
  const pages = Math.max(1, Math.ceil(queues.length / PER_PAGE));
  useEffect(() => {
    const timer = window.setInterval(() => setTurn((each) => each + 1), PAGE_MS);
    const key = (event: KeyboardEvent): void => {
      if (event.key === "Escape") location.hash = link("queues");
      if (event.key === "ArrowRight") setTurn((each) => each + 1);
    };
    document.addEventListener("keydown", key);
    return () => {
      clearInterval(timer);
      document.removeEventListener("keydown", key);
    };
  }, []);
  const page = turn % pages;
  return (
    <>
      <h1 class="hidden">{t("wall")}</h1>
      <h2 class="hidden">{t("queues")}</h2>
      <div class={`tiles of-${Math.min(PER_PAGE, queues.length)}`}>
        {queues.slice(page * PER_PAGE, (page + 1) * PER_PAGE).map((queue) => (
          <Tile key={queue.id} queue={queue} figures={figures.value.value?.get(queue.id)} />
        ))}
      </div>
      <FiguresAge polled={figures.value} />
      <footer>
        <span>{timeOfDay(now.value)}</span> <span>{pages > 1 ? `${page + 1} / ${pages}` : ""}</span>{" "}
        <a href={link("queues")}>{t("leave_wall")}</a>
      </footer>
    </>
  );
}
