/**
 * What the agent says once a second, kept current by whatever works: server-sent events; while the stream is away, questions every two
 * seconds; and tries to open the stream again at growing distances. Readers subscribe and see one immutable state.
 *
 *   connecting -> live <-> polling (stream refused or broken, answers come) <-> lost (no answers)
 *                                     `refused`: the agent asks for a token
 */

import type { AgentStatus, RateSeries, RateStep } from '../../agent/api.ts';
import { type ApiClient, ApiFailure } from './api-client.ts';
import { mergeSteps } from './rate-columns.ts';
import { EventParser, type ServerEvent } from './sse.ts';

export type Connection = 'connecting' | 'live' | 'polling' | 'lost' | 'refused';

export interface LiveState {
  readonly connection: Connection;
  readonly status: AgentStatus | undefined;
  /** One a second, oldest first, at most ten minutes. */
  readonly steps: readonly RateStep[];
  /** By `Date.now()`, of the last answer or event; 0 before the first. */
  readonly heardAtMs: number;
  /** Why there is no connection. */
  readonly trouble: string;
}

const POLL_MS = 2_000;
/** The agent sends an event a second: a stream that is silent for so long is dead, whatever TCP says. */
const SILENCE_MS = 6_000;
const RETRY_FIRST_MS = 1_000;
const RETRY_MAX_MS = 10_000;

export class LiveFeed {
  private readonly client: ApiClient;
  private readonly listeners = new Set<() => void>();
  private readonly ended = new AbortController();
  private current: LiveState = {
    connection: 'connecting',
    status: undefined,
    steps: [],
    heardAtMs: 0,
    trouble: '',
  };
  private wake: () => void = () => {};

  constructor(client: ApiClient) {
    this.client = client;
  }

  get state(): LiveState {
    return this.current;
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Runs until `stop`. */
  start(): void {
    void this.run();
  }

  stop(): void {
    this.ended.abort();
  }

  /** Tries at once, for a button or after a token was entered. */
  retry(): void {
    this.wake();
  }

  private async run(): Promise<void> {
    let retryMs = RETRY_FIRST_MS;
    while (!this.ended.signal.aborted) {
      if (await this.followStream()) retryMs = RETRY_FIRST_MS;
      const untilMs = performance.now() + retryMs;
      do await this.poll();
      while (!this.ended.signal.aborted && (await this.sleep(POLL_MS)) && performance.now() < untilMs);
      retryMs = Math.min(RETRY_MAX_MS, retryMs * 2);
    }
  }

  /** True when at least one event came, after which the next try may come soon. */
  private async followStream(): Promise<boolean> {
    const silence = new AbortController();
    let timer = setTimeout(() => silence.abort(), SILENCE_MS);
    let hasHeard = false;
    try {
      const body = await this.client.open('events', AbortSignal.any([silence.signal, this.ended.signal]));
      const parser = new EventParser();
      const decoder = new TextDecoder();
      const reader = body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return hasHeard;
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), SILENCE_MS);
        for (const event of parser.push(decoder.decode(value, { stream: true }))) this.take(event);
        if (!hasHeard) {
          hasHeard = true;
          // Fills what was missed while there was no stream.
          void this.loadRates();
        }
      }
    } catch (error) {
      this.fail(error);
      return hasHeard;
    } finally {
      clearTimeout(timer);
    }
  }

  private take(event: ServerEvent): void {
    const heard = { connection: 'live', heardAtMs: Date.now(), trouble: '' } as const;
    if (event.name === 'status') this.set({ ...heard, status: JSON.parse(event.data) as AgentStatus });
    else if (event.name === 'rates') {
      this.set({ ...heard, steps: mergeSteps(this.current.steps, [JSON.parse(event.data) as RateStep]) });
    }
  }

  private async poll(): Promise<void> {
    try {
      const [status, rates] = await Promise.all([
        this.client.get<AgentStatus>('status', this.ended.signal),
        this.client.get<RateSeries>('rates', this.ended.signal),
      ]);
      const steps = mergeSteps(this.current.steps, rates.steps);
      this.set({ connection: 'polling', status, steps, heardAtMs: Date.now(), trouble: '' });
    } catch (error) {
      this.fail(error);
    }
  }

  private async loadRates(): Promise<void> {
    try {
      const { steps } = await this.client.get<RateSeries>('rates', this.ended.signal);
      this.set({ steps: mergeSteps(this.current.steps, steps) });
    } catch {
      // The stream tells the same a second at a time.
    }
  }

  private fail(error: unknown): void {
    if (this.ended.signal.aborted) return;
    const status = error instanceof ApiFailure ? error.status : 0;
    const trouble = error instanceof ApiFailure ? error.message : 'the connection to the agent broke';
    this.set({ connection: status === 401 || status === 403 ? 'refused' : 'lost', trouble });
  }

  private set(change: Partial<LiveState>): void {
    this.current = { ...this.current, ...change };
    for (const listener of this.listeners) listener();
  }

  /** False when woken early. */
  private sleep(spanMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(true), spanMs);
      this.wake = () => {
        clearTimeout(timer);
        resolve(false);
      };
    });
  }
}
