// How loud something is, as a bar: from a whisper at -60 dBFS to full scale, with a mark where speech usually is.

const LEAST = -60;
const LOUD = -6;

export function Meter({ dbfs, label }: { dbfs: number | undefined; label: string }) {
  const silent = dbfs === undefined || dbfs <= LEAST;
  const value = silent ? LEAST : Math.min(0, dbfs);
  return (
    <meter
      aria-label={label}
      class={silent ? "silent" : ""}
      min={LEAST}
      max={0}
      low={LEAST / 2 - 10}
      high={LOUD}
      optimum={-20}
      value={value}
      title={dbfs === undefined ? "–" : `${dbfs.toFixed(0)} dBFS`}
    />
  );
}
