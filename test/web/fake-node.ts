/** The agent's own HTTP server over the made-up node: the page meets the real headers, filters and event stream. */

import type { Banner, FlowDetail, FlowEntry, RateStep } from '../../src/agent/api.ts';
import { readAssets } from '../../src/agent/assets.ts';
import type { FlowUpdate } from '../../src/agent/engine.ts';
import { FlowStore } from '../../src/agent/flow-store.ts';
import { AgentHttp, type AgentView } from '../../src/agent/http.ts';
import { BOARD, CONFIG, FINDINGS, FLOWS, GRAPH, HOSTILE_FLOW, STEPS, statusAt, stepAt } from './fixtures.ts';

const STEP_COUNT = 600;
/** Faster than the agent's second, so that tests wait less. */
const TICK_MS = 400;

export interface FakeNodeOptions {
  /** The built page. */
  readonly pageFolder: string;
  readonly token?: string;
}

export class FakeNode {
  banners: readonly Banner[] = [];
  private readonly options: FakeNodeOptions;
  private readonly store = new FlowStore(1_000);
  private readonly steps: RateStep[];
  private http: AgentHttp | undefined;
  private timer: ReturnType<typeof setInterval> | undefined;
  private port = 0;

  constructor(options: FakeNodeOptions) {
    this.options = options;
    const first = Math.floor(Date.now() / 1000) - STEP_COUNT;
    this.steps = Array.from({ length: STEP_COUNT }, (_, index) => stepAt(index, first));
    for (const flow of [HOSTILE_FLOW, ...FLOWS]) this.add(flow);
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}/`;
  }

  /** As the newest connection. */
  add(flow: FlowEntry): void {
    this.store.take(flow as unknown as FlowUpdate);
  }

  /** On a free port; after `stop`, on the same one. */
  async start(): Promise<void> {
    const { token, pageFolder } = this.options;
    this.http = new AgentHttp(this.view(), {
      host: '127.0.0.1',
      port: this.port,
      token,
      tls: undefined,
      allowedHosts: [],
      assets: readAssets(pageFolder),
    });
    await this.http.listen({ host: '127.0.0.1', port: this.port });
    this.port = Number(new URL(this.http.url).port);
    this.timer = setInterval(() => this.tick(), TICK_MS);
  }

  async stop(): Promise<void> {
    clearInterval(this.timer);
    await this.http?.close();
  }

  private tick(): void {
    const last = this.steps.at(-1)!;
    const time = Math.floor(Date.now() / 1000);
    if (time > last.time) this.steps.push({ ...stepAt(this.steps.length, 0), time });
    this.http?.tick(statusAt(Date.now(), this.banners), this.steps.at(-1)!);
  }

  private view(): AgentView {
    return {
      status: () => statusAt(Date.now(), this.banners),
      rates: () => ({ steps: this.steps.slice(-STEP_COUNT) }),
      flows: (filter, limit, before) => this.store.page(filter, limit, before),
      flow: async (id) => this.detail(id),
      policies: async () => Buffer.from(JSON.stringify(BOARD)),
      graph: () => GRAPH,
      findings: (limit) => ({ findings: FINDINGS.slice(0, limit), total: FINDINGS.length }),
      findingsCapture: async () => new Uint8Array(0),
      config: () => CONFIG,
      metrics: async () => '',
      health: () => ({ isHealthy: true, reasons: [] }),
      readiness: () => ({ isReady: true, reasons: [] }),
    };
  }

  private detail(id: string): FlowDetail | undefined {
    const flow = this.store.get(id);
    return (
      flow && {
        ...flow,
        steps: STEPS,
        text: `deny: end of tier default\n${'a line of the chain that is long '.repeat(5)}\n`,
      }
    );
  }
}
