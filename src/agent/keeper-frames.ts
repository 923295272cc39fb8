/**
 * The stream between the main process and the keeper: bytes of all children's links, and orders, in frames.
 *
 *   frame   0  child (uint32, little-endian); 0 = an order or a piece of news, as JSON
 *           4  bytes that follow (uint32)
 *           8  the bytes
 */
import type { Duplex } from 'node:stream';

const HEADER_BYTES = 8;
/** A frame is one chunk of a stream, or a line of JSON. */
const FRAME_BYTES_MAX = 1024 * 1024;

export type KeeperOrder =
  | { readonly kind: 'fork'; readonly child: number; readonly hasStdin: boolean }
  | { readonly kind: 'kill'; readonly child: number }
  /** Nothing more comes for this child's link. */
  | { readonly kind: 'end'; readonly child: number };

export type KeeperNews =
  | { readonly kind: 'forked'; readonly child: number; readonly pid: number | undefined }
  | { readonly kind: 'line'; readonly child: number; readonly line: string }
  /** So many bytes for this child's link have gone to it. */
  | { readonly kind: 'taken'; readonly child: number; readonly bytes: number }
  | { readonly kind: 'exit'; readonly child: number; readonly how: string };

export class KeeperStream<Sent, Received> {
  readonly #stream: Duplex;
  #rest: Buffer = Buffer.alloc(0);

  constructor(
    stream: Duplex,
    on: {
      readonly message: (message: Received) => void;
      readonly bytes: (child: number, bytes: Buffer) => void;
      readonly end: () => void;
    },
  ) {
    this.#stream = stream;
    // One that waits for `drain` for each child.
    stream.setMaxListeners(0);
    let isOpen = true;
    const end = (): void => {
      if (isOpen) on.end();
      isOpen = false;
    };
    stream.on('data', (chunk: Buffer) => {
      this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
      let at = 0;
      while (this.#rest.length - at >= HEADER_BYTES) {
        const child = this.#rest.readUInt32LE(at);
        const length = this.#rest.readUInt32LE(at + 4);
        if (length > FRAME_BYTES_MAX) {
          stream.destroy();
          break;
        }
        if (this.#rest.length - at < HEADER_BYTES + length) break;
        const bytes = this.#rest.subarray(at + HEADER_BYTES, at + HEADER_BYTES + length);
        if (child === 0) on.message(JSON.parse(bytes.toString()) as Received);
        else on.bytes(child, bytes);
        at += HEADER_BYTES + length;
      }
      this.#rest = this.#rest.subarray(at);
    });
    stream.on('end', end);
    stream.on('close', end);
    stream.on('error', end);
  }

  tell(message: Sent): void {
    this.#write(0, Buffer.from(JSON.stringify(message)));
  }

  /** Sends bytes of a child's link. False if the other side does not keep up; `onDrain` is then called once it does. */
  send(child: number, bytes: Uint8Array, onDrain?: () => void): boolean {
    let isFree = true;
    for (let at = 0; at < bytes.length; at += FRAME_BYTES_MAX) {
      isFree = this.#write(child, bytes.subarray(at, at + FRAME_BYTES_MAX));
    }
    if (!isFree && onDrain !== undefined) this.#stream.once('drain', onDrain);
    return isFree;
  }

  close(): void {
    this.#stream.end();
  }

  #write(child: number, bytes: Uint8Array): boolean {
    if (!this.#stream.writable) return true;
    const header = Buffer.allocUnsafe(HEADER_BYTES);
    header.writeUInt32LE(child, 0);
    header.writeUInt32LE(bytes.length, 4);
    this.#stream.write(header);
    return this.#stream.write(bytes);
  }
}
