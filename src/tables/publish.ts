/**
 * Generations: how finished tables reach the threads that judge by them, while packets run.
 *
 * A published buffer is never written again (but for owners of addresses, live.ts; and by who alternates between two, below). The publisher checks it once, sends it to each subscriber's
 * port, and then stores the generation's number in a word that all threads share. A subscriber reads that word once a batch: one
 * load where nothing is new. Where something is, the buffer lies in its port already, and the batch that comes next is judged by it, so no
 * packet and no batch meets two generations:
 *
 *   publisher   check ─► postMessage to each port ─► Atomics.store(word, 8)
 *   subscriber  batch of generation 7 ─► Atomics.load(word): 8 ─► take the newest buffer from the port ─► batch of generation 8
 *
 * A subscriber that was busy through several generations takes the newest. Whoever has no new tables keeps the old ones: a compile that
 * fails publishes nothing.
 *
 * A subscriber that has the newest buffer need not be sent it again: where its words were stored in place (compile/direct-addresses.ts), a new generation is a
 * number alone, and says that what was worked out from the tables (lines of connections) has to be worked out anew.
 *
 * Tables that take changes (compile/repack.ts) come from two buffers in turn, so the publisher must know when nobody reads the older one: each
 * subscriber says in a word of its own which generation it has taken, or that it reads none (`rest`).
 */
import { MessageChannel, type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import { openTables, type Tables, viewTables } from './tables.ts';

/** What a thread needs to follow a publisher; goes to it as a message, with `port` in the list of what is transferred. */
export interface Subscription {
  readonly word: SharedArrayBuffer;
  /** Where the thread says which generation it reads; RESTING = none. */
  readonly reads: SharedArrayBuffer;
  readonly port: MessagePort;
}

const RESTING = 0x7fff_ffff;

interface Published {
  readonly generation: number;
  readonly buffer: SharedArrayBuffer;
}

export class Publisher {
  /** Numbers of the newest generation, and of the newest whose buffer was sent. */
  readonly #word = new Int32Array(new SharedArrayBuffer(8));
  /** With what each subscriber reads. */
  readonly #ports = new Map<MessagePort, Int32Array>();
  #newest: Published | undefined;

  /** Number of the newest generation; 0 before the first. */
  get generation(): number {
    return this.#newest?.generation ?? 0;
  }

  /** Checks `buffer`, makes it the newest generation and returns its views. Throws an `InvariantError` if it is not sound, and publishes nothing. */
  publish(buffer: SharedArrayBuffer): Tables {
    return this.#publish(openTables(buffer), buffer);
  }

  /** The same for tables that were made by changing ones that were checked (`LiveCompiler.publish`): nothing is checked again. */
  publishChanged(tables: Tables): void {
    this.#publish(tables, tables.buffer as SharedArrayBuffer);
  }

  /** Nobody reads a generation before the newest. */
  readonly isOlderFree = (): boolean => {
    for (const reads of this.#ports.values()) if (Atomics.load(reads, 0) < this.generation) return false;
    return true;
  };

  #publish(tables: Tables, buffer: SharedArrayBuffer): Tables {
    const isSent = this.#newest?.buffer === buffer;
    const published = { generation: this.generation + 1, buffer };
    this.#newest = published;
    if (!isSent) {
      for (const port of this.#ports.keys()) port.postMessage(published);
      Atomics.store(this.#word, 1, published.generation);
    }
    Atomics.store(this.#word, 0, published.generation);
    return tables;
  }

  /** For one thread more. It gets the newest generation at its first look. */
  subscribe(): Subscription {
    const { port1, port2 } = new MessageChannel();
    port1.unref();
    port1.on('close', () => this.#ports.delete(port1));
    const reads = new Int32Array(new SharedArrayBuffer(4));
    Atomics.store(reads, 0, RESTING);
    this.#ports.set(port1, reads);
    if (this.#newest !== undefined) port1.postMessage(this.#newest);
    return {
      word: this.#word.buffer as SharedArrayBuffer,
      reads: reads.buffer as SharedArrayBuffer,
      port: port2,
    };
  }

  /** Ends all subscriptions. */
  close(): void {
    for (const port of this.#ports.keys()) port.close();
    this.#ports.clear();
  }
}

export class Subscriber {
  /** Of the tables that `poll` gave last; 0 before the first. */
  generation = 0;
  readonly #word: Int32Array;
  readonly #reads: Int32Array;
  readonly #port: MessagePort;
  #buffer: SharedArrayBuffer | undefined;
  #isResting = true;

  constructor({ word, reads, port }: Subscription) {
    this.#word = new Int32Array(word);
    this.#reads = new Int32Array(reads);
    this.#port = port;
  }

  /** The newest tables if there are newer ones than last time. Never waits. */
  poll(): Tables | undefined {
    // Said before the look at the word: from here on the publisher leaves alone what this thread has.
    if (this.#isResting) Atomics.store(this.#reads, 0, this.generation);
    this.#isResting = false;
    const generation = Atomics.load(this.#word, 0);
    if (generation === this.generation) return undefined;
    if (this.#buffer !== undefined && Atomics.load(this.#word, 1) <= this.generation) {
      this.#take({ generation, buffer: this.#buffer });
      return viewTables(this.#buffer);
    }
    let newest: Published | undefined;
    for (let received = receiveMessageOnPort(this.#port); received !== undefined; ) {
      newest = received.message as Published;
      received = receiveMessageOnPort(this.#port);
    }
    if (newest === undefined || newest.generation <= this.generation) return undefined;
    // It may have been published again since.
    const isNewest = Atomics.load(this.#word, 1) === newest.generation;
    this.#take({ ...newest, generation: isNewest ? Math.max(generation, newest.generation) : newest.generation });
    return viewTables(newest.buffer);
  }

  #take({ generation, buffer }: Published): void {
    this.generation = generation;
    this.#buffer = buffer;
    Atomics.store(this.#reads, 0, generation);
  }

  /** Nothing is read until the next `poll`: a thread that waits for packets does not hold up who writes. */
  rest(): void {
    this.#isResting = true;
    Atomics.store(this.#reads, 0, RESTING);
  }

  close(): void {
    this.rest();
    this.#port.close();
  }
}
