/**
 * Server-sent events out of a stream of text (the WHATWG HTML standard, section 9.2.6), read by `fetch` and not by EventSource, because
 * only `fetch` can send a token and tell the HTTP status of a refusal.
 */

export interface ServerEvent {
  readonly name: string;
  readonly data: string;
}

/** Pieces of text in any division go in; complete events come out. An event that is still open stays inside. */
export class EventParser {
  private rest = '';
  private name = '';
  private data: string[] = [];

  push(piece: string): ServerEvent[] {
    const events: ServerEvent[] = [];
    const text = this.rest + piece;
    // A trailing CR may be the first half of a CR LF: it waits for the next piece.
    const held = text.endsWith('\r') ? text.length - 1 : text.length;
    const lines = text.slice(0, held).split(/\r\n|\n|\r/);
    this.rest = lines.pop()! + text.slice(held);
    for (const line of lines) {
      const event = this.take(line);
      if (event) events.push(event);
    }
    return events;
  }

  private take(line: string): ServerEvent | undefined {
    if (line === '') {
      const event = this.data.length === 0 ? undefined : { name: this.name || 'message', data: this.data.join('\n') };
      this.name = '';
      this.data = [];
      return event;
    }
    const at = line.indexOf(':');
    const field = at < 0 ? line : line.slice(0, at);
    const value = at < 0 ? '' : line.slice(at + 1).replace(/^ /, '');
    if (field === 'event') this.name = value;
    else if (field === 'data') this.data.push(value);
    return undefined;
  }
}
