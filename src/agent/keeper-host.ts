/** The main process's end of the keeper (keeper.ts): children that are forked elsewhere, as if they were forked here. */
import { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import type { ChildHost, HostedChild } from './child-host.ts';
import { type KeeperNews, type KeeperOrder, KeeperStream } from './keeper-frames.ts';

/** Descriptor of the stream to the keeper. */
const KEEPER = 3;
/** Bytes that may lie in the keeper for one child: tables are larger, and a child may not be reading. */
const CREDIT_BYTES = 1024 * 1024;
const PIECE_BYTES = 256 * 1024;

class KeptChild implements HostedChild {
  pid: number | undefined;
  readonly stream: Duplex;
  readonly #kill: () => void;
  readonly #onLine: ((line: string) => void)[] = [];
  readonly #onExit: ((how: string) => void)[] = [];
  readonly #send: (bytes: Buffer) => void;
  #credit = CREDIT_BYTES;
  #resume: (() => void) | undefined;

  constructor(orders: {
    readonly send: (bytes: Buffer) => void;
    readonly end: () => void;
    readonly kill: () => void;
  }) {
    this.#send = orders.send;
    this.#kill = orders.kill;
    this.stream = new Duplex({
      read: () => {},
      write: (bytes: Buffer, _encoding, done) => this.#put(bytes, done),
      final: (done) => {
        orders.end();
        done();
      },
    });
  }

  #put(bytes: Buffer, done: () => void): void {
    let at = 0;
    for (; at < bytes.length && this.#credit > 0; at += PIECE_BYTES) {
      const piece = bytes.subarray(at, at + PIECE_BYTES);
      this.#credit -= piece.length;
      this.#send(piece);
    }
    if (at >= bytes.length) done();
    else this.#resume = () => this.#put(bytes.subarray(at), done);
  }

  /** The keeper has got rid of so many bytes. */
  taken(bytes: number): void {
    this.#credit += bytes;
    const resume = this.#resume;
    this.#resume = undefined;
    resume?.();
  }

  /** The keeper sends one signal only, SIGKILL. */
  kill(): void {
    this.#kill();
  }

  onLine(listener: (line: string) => void): void {
    this.#onLine.push(listener);
  }

  onExit(listener: (how: string) => void): void {
    this.#onExit.push(listener);
  }

  line(text: string): void {
    for (const listener of this.#onLine) listener(text);
  }

  exit(how: string): void {
    this.stream.push(null);
    for (const listener of this.#onExit) listener(how);
  }
}

export class KeeperHost implements ChildHost {
  readonly #stream: KeeperStream<KeeperOrder, KeeperNews>;
  readonly #children = new Map<number, KeptChild>();
  readonly #onEnd: (() => void)[] = [];
  #last = 0;
  #isClosed = false;
  #isGone = false;

  constructor(stream: Duplex = new Socket({ fd: KEEPER })) {
    this.#stream = new KeeperStream(stream, {
      message: (news) => this.#hear(news),
      bytes: (child, bytes) => this.#children.get(child)?.stream.push(bytes),
      end: () => {
        this.#isGone = true;
        for (const child of this.#children.values()) child.exit('the keeper is gone');
        this.#children.clear();
        if (!this.#isClosed) for (const listener of this.#onEnd) listener();
      },
    });
  }

  fork(hasStdin: boolean): HostedChild {
    const number = ++this.#last;
    const child = new KeptChild({
      send: (bytes) => this.#stream.send(number, bytes),
      end: () => this.#stream.tell({ kind: 'end', child: number }),
      kill: () => this.#stream.tell({ kind: 'kill', child: number }),
    });
    this.#children.set(number, child);
    if (this.#isGone) setImmediate(() => child.exit('the keeper is gone'));
    this.#stream.tell({ kind: 'fork', child: number, hasStdin });
    return child;
  }

  onEnd(listener: () => void): void {
    this.#onEnd.push(listener);
  }

  close(): void {
    this.#isClosed = true;
    this.#stream.close();
  }

  #hear(news: KeeperNews): void {
    const child = this.#children.get(news.child);
    if (child === undefined) return;
    if (news.kind === 'forked') child.pid = news.pid;
    else if (news.kind === 'taken') child.taken(news.bytes);
    else if (news.kind === 'line') child.line(news.line);
    else {
      this.#children.delete(news.child);
      child.exit(news.how);
    }
  }
}
