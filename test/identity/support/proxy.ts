/** A TCP proxy between a client and a server that delays, holds, drops, half-closes and duplicates, as told or by chance. */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { seededRandom } from './simulation.ts';

export interface Mischief {
  /** Longest delay of a piece, ms. */
  readonly delayMs?: number;
  /** Chances for each piece. */
  readonly drop?: number;
  readonly halfClose?: number;
  readonly duplicate?: number;
}

export class TcpProxy {
  port = 0;
  /** Where new connections go. */
  target: number;
  mischief: Mischief = {};
  /** Mischief that was done. */
  readonly counts = { drop: 0, halfClose: 0, duplicate: 0 };
  readonly #random: () => number;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  #held: (() => void)[] | undefined;

  private constructor(target: number, seed: number) {
    this.target = target;
    this.#random = seededRandom(seed);
  }

  static async start(target: number, seed = 1): Promise<TcpProxy> {
    const proxy = new TcpProxy(target, seed);
    const server = createServer((client) => proxy.#accept(client));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    proxy.#server = server;
    proxy.port = (server.address() as { port: number }).port;
    return proxy;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** Nothing gets through until `release`. */
  hold(): void {
    this.#held ??= [];
  }

  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const pass of held) pass();
  }

  /** Ends all connections. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #accept(client: Socket): void {
    const server = connect(this.target, '127.0.0.1');
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(from);
      from.on('error', () => {});
      from.on('close', () => {
        this.#sockets.delete(from);
        to.destroy();
      });
      // Pieces of a connection stay in order, whatever their delays.
      let last = Promise.resolve();
      from.on('data', (piece) => {
        last = last.then(() => this.#pass(piece, from, to));
      });
    }
  }

  async #pass(piece: Buffer, from: Socket, to: Socket): Promise<void> {
    const { delayMs = 0, drop = 0, halfClose = 0, duplicate = 0 } = this.mischief;
    if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, this.#random() * delayMs));
    if (this.#held !== undefined) await new Promise<void>((resolve) => this.#held?.push(resolve));
    const chance = this.#random();
    if (chance < drop) {
      this.counts.drop++;
      from.destroy();
    } else if (chance < drop + halfClose) {
      this.counts.halfClose++;
      to.end();
    } else {
      to.write(piece);
      if (chance < drop + halfClose + duplicate) {
        this.counts.duplicate++;
        to.write(piece);
      }
    }
  }

  async close(): Promise<void> {
    this.release();
    this.cut();
    await new Promise<void>((resolve) => this.#server?.close(() => resolve()));
  }
}
