/**
 * Generations: how finished tables reach the threads that judge by them, while packets run.
 *
 * A published buffer is never written again (but for owners of addresses, live.ts). The publisher checks it once, sends it to each subscriber's
 * port, and then stores the generation's number in a word that all threads share. A subscriber reads that word once a batch: one
 * load where nothing is new. Where something is, the buffer lies in its port already, and the batch that comes next is judged by it, so no
 * packet and no batch meets two generations:
 *
 *   publisher   check ─► postMessage to each port ─► Atomics.store(word, 8)
 *   subscriber  batch of generation 7 ─► Atomics.load(word): 8 ─► take the newest buffer from the port ─► batch of generation 8
 *
 * A subscriber that was busy through several generations takes the newest. Whoever has no new tables keeps the old ones: a compile that
 * fails publishes nothing.
 */
import { MessageChannel, type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import { openTables, type Tables, viewTables } from './tables.ts';

/** What a thread needs to follow a publisher; goes to it as a message, with `port` in the list of what is transferred. */
export interface Subscription {
  readonly word: SharedArrayBuffer;
  readonly port: MessagePort;
}

interface Published {
  readonly generation: number;
  readonly buffer: SharedArrayBuffer;
}

export class Publisher {
  readonly #word = new Int32Array(new SharedArrayBuffer(4));
  readonly #ports = new Set<MessagePort>();
  #newest: Published | undefined;

  /** Number of the newest generation; 0 before the first. */
  get generation(): number {
    return this.#newest?.generation ?? 0;
  }

  /** Checks `buffer`, makes it the newest generation and returns its views. Throws an `InvariantError` if it is not sound, and publishes nothing. */
  publish(buffer: SharedArrayBuffer): Tables {
    const tables = openTables(buffer);
    const published = { generation: this.generation + 1, buffer };
    this.#newest = published;
    for (const port of this.#ports) port.postMessage(published);
    Atomics.store(this.#word, 0, published.generation);
    return tables;
  }

  /** For one thread more. It gets the newest generation at its first look. */
  subscribe(): Subscription {
    const { port1, port2 } = new MessageChannel();
    port1.unref();
    port1.on('close', () => this.#ports.delete(port1));
    this.#ports.add(port1);
    if (this.#newest !== undefined) port1.postMessage(this.#newest);
    return { word: this.#word.buffer as SharedArrayBuffer, port: port2 };
  }

  /** Ends all subscriptions. */
  close(): void {
    for (const port of this.#ports) port.close();
    this.#ports.clear();
  }
}

export class Subscriber {
  /** Of the tables that `poll` gave last; 0 before the first. */
  generation = 0;
  readonly #word: Int32Array;
  readonly #port: MessagePort;

  constructor({ word, port }: Subscription) {
    this.#word = new Int32Array(word);
    this.#port = port;
  }

  /** The newest tables if there are newer ones than last time. Never waits. */
  poll(): Tables | undefined {
    if (Atomics.load(this.#word, 0) === this.generation) return undefined;
    let newest: Published | undefined;
    for (let received = receiveMessageOnPort(this.#port); received !== undefined; ) {
      newest = received.message as Published;
      received = receiveMessageOnPort(this.#port);
    }
    if (newest === undefined || newest.generation <= this.generation) return undefined;
    this.generation = newest.generation;
    return viewTables(newest.buffer);
  }

  close(): void {
    this.#port.close();
  }
}
