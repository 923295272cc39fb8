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

/** What goes wrong with a stream that is no link. */
export class LinkError extends Error {
  override readonly name = 'LinkError';
}

/** Cuts a stream of bytes into frames. */
export class FrameReader {
  readonly #onFrame: (text: string, bytes: Uint8Array) => void;
  readonly #header = new Uint8Array(HEADER_BYTES);
  #headerFilled = 0;
  #body: Uint8Array | undefined;
  #bodyFilled = 0;

  constructor(onFrame: (text: string, bytes: Uint8Array) => void) {
    this.#onFrame = onFrame;
  }

  /** Takes the next bytes; `onFrame` is called for each frame that they complete. Throws a LinkError on lengths that cannot be. */
  push(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#body === undefined) {
        const count = Math.min(HEADER_BYTES - this.#headerFilled, chunk.length - at);
        this.#header.set(chunk.subarray(at, at + count), this.#headerFilled);
        this.#headerFilled += count;
        at += count;
        if (this.#headerFilled < HEADER_BYTES) return;
        const [text, bytes] = this.#lengths();
        this.#body = new Uint8Array(text + bytes);
        this.#bodyFilled = 0;
      }
      const count = Math.min(this.#body.length - this.#bodyFilled, chunk.length - at);
      this.#body.set(chunk.subarray(at, at + count), this.#bodyFilled);
      this.#bodyFilled += count;
      at += count;
      if (this.#bodyFilled === this.#body.length) this.#deliver(this.#body);
    }
  }

  #lengths(): [number, number] {
    const view = new DataView(this.#header.buffer);
    const text = view.getUint32(0, true);
    const bytes = view.getUint32(4, true);
    if (text > PART_BYTES_MAX || bytes > PART_BYTES_MAX) throw new LinkError('a message of impossible length');
    return [text, bytes];
  }

  #deliver(body: Uint8Array): void {
    const [text] = this.#lengths();
    this.#body = undefined;
    this.#headerFilled = 0;
    this.#onFrame(new TextDecoder().decode(body.subarray(0, text)), body.subarray(text));
  }
}

/** Both directions of a link. `onEnd` is called once, when the other side is gone or the stream is broken. */
export class Link<Sent, Received> {
  readonly #stream: Duplex;
  #isOpen = true;

  constructor(stream: Duplex, onMessage: (message: Received, bytes: Uint8Array) => void, onEnd: () => void) {
    this.#stream = stream;
    const frames = new FrameReader((text, bytes) => onMessage(JSON.parse(text) as Received, bytes));
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

  /** Sends, or does nothing if the other side is gone. `bytes` must stay as they are until they are sent. */
  send(message: Sent, bytes?: Uint8Array): void {
    if (!this.#isOpen) return;
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
