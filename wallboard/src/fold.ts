// The push messages folded into what is shown. Pure: no socket, no clock.

import type { Item, Items, Kind, Message } from "./wire";

export type Tables = { [K in Kind]: Map<string, Items[K]> };

const KINDS: readonly Kind[] = ["link", "queue", "member", "caller", "agent", "stream"];

export interface Position {
  epoch: string;
  sequence: number;
}

export class Fold {
  tables: Tables = empty();
  position: Position | null = null;

  /** Takes a message; false if something was lost, so that one has to resume. */
  take(message: Message): boolean {
    if (message.type === "fault") return false;
    if (message.type === "snapshot") {
      this.tables = empty();
      for (const item of message.items) this.put(item);
    } else {
      const { position } = this;
      if (position === null || position.epoch !== message.epoch) {
        this.position = null; // numbers of another epoch mean nothing
        return false;
      }
      const from = message.type === "delta" ? message.after : message.sequence;
      if (position.sequence < from) return false;
      if (message.type === "delta") {
        for (const item of message.changed) this.put(item);
        for (const { kind, id } of message.removed) this.tables[kind as Kind]?.delete(id);
      }
    }
    this.position = { epoch: message.epoch, sequence: message.sequence };
    return true;
  }

  private put(item: Item): void {
    if (KINDS.includes(item.kind)) (this.tables[item.kind] as Map<string, Item>).set(item.id, item);
  }
}

function empty(): Tables {
  return {
    link: new Map(),
    queue: new Map(),
    member: new Map(),
    caller: new Map(),
    agent: new Map(),
    stream: new Map(),
  };
}
