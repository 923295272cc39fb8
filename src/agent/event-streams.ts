/** Server-sent events to a bounded number of listeners. A listener that does not read misses events, and loses nothing: the next one says all. */
import type { Socket } from 'node:net';

const LISTENERS_MAX = 32;
/** Bytes that wait for one listener before events are left out. */
const PENDING_BYTES_MAX = 256 << 10;
/** Events in a row that one did not take: it is gone. */
const MISSED_MAX = 60;

interface Listener {
  readonly socket: Socket;
  readonly controller: ReadableStreamDefaultController<Uint8Array>;
  missed: number;
}

export class EventStreams {
  readonly #listeners = new Set<Listener>();
  readonly #encoder = new TextEncoder();

  get size(): number {
    return this.#listeners.size;
  }

  isStreaming(socket: Socket): boolean {
    for (const listener of this.#listeners) if (listener.socket === socket) return true;
    return false;
  }

  /** A body for one more listener; undefined if there are too many. */
  open(socket: Socket): ReadableStream<Uint8Array> | undefined {
    if (this.#listeners.size >= LISTENERS_MAX) return undefined;
    let listener: Listener;
    return new ReadableStream<Uint8Array>({
      start: (controller) => {
        listener = { socket, controller, missed: 0 };
        this.#listeners.add(listener);
        socket.once('close', () => this.#listeners.delete(listener));
        controller.enqueue(this.#encoder.encode('retry: 2000\n\n'));
      },
      cancel: () => {
        this.#listeners.delete(listener);
      },
    });
  }

  send(event: string, data: unknown): void {
    if (this.#listeners.size === 0) return;
    const bytes = this.#encoder.encode(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
    for (const listener of this.#listeners) {
      const { controller, socket } = listener;
      if (socket.writableLength > PENDING_BYTES_MAX || (controller.desiredSize ?? 0) < -8) {
        if (++listener.missed > MISSED_MAX) socket.destroy();
        continue;
      }
      listener.missed = 0;
      controller.enqueue(bytes);
    }
  }

  close(): void {
    for (const { controller } of this.#listeners) {
      try {
        controller.close();
      } catch {
        // Cancelled meanwhile.
      }
    }
    this.#listeners.clear();
  }
}
