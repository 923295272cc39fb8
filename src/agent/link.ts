/**
 * Messages between the main process and a capture child, over any byte stream (a socket pair, or the keeper's relay).
 *
 *   frame   0   bytes of the JSON text (uint32, little-endian)
 *           4   bytes that follow it (uint32), 0 for most; tables and captures travel there as they are
 *           8   JSON, then the bytes
 *
 * Node's own channel for messages would do for the JSON, but it cannot be relayed without being unpacked, and a thread cannot have it.
 */
import type { Duplex } from 'node:stream';

const HEADER_BYTES = 8;
/** Bytes of one frame's parts; tables of the largest cluster are a tenth of this. */
const PART_BYTES_MAX = 1024 * 1024 * 1024;
const NO_BYTES = new Uint8Array(0);

/** What goes wrong with a stream that is no link. */
class LinkError extends Error {
  override readonly name = 'LinkError';
}

/** Memory for the bytes of a frame. */
export type MakeBytes = (length: number) => Uint8Array;

/** Cuts a stream of bytes into frames. */
export class FrameReader {
  readonly #onFrame: (text: string, bytes: Uint8Array) => void;
  readonly #makeBytes: MakeBytes;
  readonly #header = new Uint8Array(HEADER_BYTES);
  #headerFilled = 0;
  /** Of the frame in hand: its text, its bytes, and how much of both is there. */
  #text: Uint8Array | undefined;
  #bytes: Uint8Array = NO_BYTES;
  #filled = 0;

  /** @param makeBytes  where the bytes of frames go, which can be large; the text of a frame is small */
  constructor(
    onFrame: (text: string, bytes: Uint8Array) => void,
    makeBytes: MakeBytes = (length) => new Uint8Array(length),
  ) {
    this.#onFrame = onFrame;
    this.#makeBytes = makeBytes;
  }

  /** Takes the next bytes; `onFrame` is called for each frame that they complete. Throws a LinkError on lengths that cannot be. */
  push(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) {
      at += this.#text === undefined ? this.#takeHeader(chunk, at) : this.#takeBody(this.#text, chunk, at);
      const text = this.#text;
      if (text === undefined || this.#filled < text.length + this.#bytes.length) continue;
      const bytes = this.#bytes;
      this.#text = undefined;
      this.#bytes = NO_BYTES;
      this.#headerFilled = 0;
      this.#onFrame(new TextDecoder().decode(text), bytes);
    }
  }

  #takeHeader(chunk: Uint8Array, at: number): number {
    const count = Math.min(HEADER_BYTES - this.#headerFilled, chunk.length - at);
    this.#header.set(chunk.subarray(at, at + count), this.#headerFilled);
    this.#headerFilled += count;
    if (this.#headerFilled === HEADER_BYTES) {
      const [text, bytes] = this.#lengths();
      this.#text = new Uint8Array(text);
      this.#bytes = bytes === 0 ? NO_BYTES : this.#makeBytes(bytes);
      this.#filled = 0;
    }
    return count;
  }

  #takeBody(text: Uint8Array, chunk: Uint8Array, at: number): number {
    const isText = this.#filled < text.length;
    const target = isText ? text : this.#bytes;
    const start = isText ? this.#filled : this.#filled - text.length;
    const count = Math.min(target.length - start, chunk.length - at);
    target.set(chunk.subarray(at, at + count), start);
    this.#filled += count;
    return count;
  }

  #lengths(): [number, number] {
    const view = new DataView(this.#header.buffer);
    const text = view.getUint32(0, true);
    const bytes = view.getUint32(4, true);
    if (text > PART_BYTES_MAX || bytes > PART_BYTES_MAX) throw new LinkError('a message of impossible length');
    return [text, bytes];
  }
}

/** Both directions of a link. `onEnd` is called once, when the other side is gone or the stream is broken. */
export class Link<Sent, Received> {
  readonly #stream: Duplex;
  #isOpen = true;

  constructor(
    stream: Duplex,
    onMessage: (message: Received, bytes: Uint8Array) => void,
    onEnd: () => void,
    makeBytes?: MakeBytes,
  ) {
    this.#stream = stream;
    const frames = new FrameReader((text, bytes) => onMessage(JSON.parse(text) as Received, bytes), makeBytes);
    const end = (): void => {
      if (!this.#isOpen) return;
      this.#isOpen = false;
      stream.destroy();
      onEnd();
    };
    stream.on('data', (chunk: Uint8Array) => {
      try {
        frames.push(chunk);
      } catch (error) {
        if (!(error instanceof LinkError) && !(error instanceof SyntaxError)) throw error;
        end();
      }
    });
    stream.on('end', end);
    stream.on('error', end);
    stream.on('close', end);
  }

  /** Bytes that wait for the other side to read. */
  get pendingBytes(): number {
    return this.#stream.writableLength;
  }

  /** Sends, or does nothing if the other side is gone or this one has closed. `bytes` must stay as they are until they are sent. */
  send(message: Sent, bytes?: Uint8Array): void {
    // A write behind the end would break the stream, and with it all that is still on its way.
    if (!this.#isOpen || this.#stream.writableEnded) return;
    const text = Buffer.from(JSON.stringify(message));
    const head = Buffer.allocUnsafe(HEADER_BYTES + text.length);
    head.writeUInt32LE(text.length, 0);
    head.writeUInt32LE(bytes?.length ?? 0, 4);
    text.copy(head, HEADER_BYTES);
    this.#stream.write(head);
    if (bytes !== undefined && bytes.length > 0) this.#stream.write(bytes);
  }

  /** Resolves when everything that was sent is with the other side, or it is gone; then the link is closed. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      if (!this.#isOpen) resolve();
      this.#stream.once('close', () => resolve());
      this.#stream.end(() => resolve());
    });
  }
}
