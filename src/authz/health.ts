/** The health service of gRPC: SERVING once there are policies to decide by, NOT_SERVING from the moment of stopping on. */
import {
  type Server,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';
import { AUTHORIZATION_SERVICE, healthService } from './protos.ts';

interface HealthRequest {
  readonly service?: string;
}

interface HealthResponse {
  readonly status: number;
}

const SERVING = 1;
const NOT_SERVING = 2;
const SERVICE_UNKNOWN = 3;

/** Watchers at a time; further ones are turned away. */
const WATCHERS_MAX = 100;

type Watcher = ServerWritableStream<HealthRequest, HealthResponse>;

export class HealthService {
  readonly #watchers = new Set<Watcher>();
  #isServing = false;
  #isStopped = false;

  get isServing(): boolean {
    return this.#isServing;
  }

  set(isServing: boolean): void {
    if (this.#isStopped || isServing === this.#isServing) return;
    this.#isServing = isServing;
    for (const watcher of this.#watchers) watcher.write({ status: this.#statusOf(watcher.request.service) });
  }

  /** Says that it is over and ends the streams of those who watch, which would else keep the server from ending. */
  stop(): void {
    this.set(false);
    this.#isStopped = true;
    for (const watcher of this.#watchers) watcher.end();
    this.#watchers.clear();
  }

  addTo(server: Server): void {
    server.addService(healthService(), {
      Check: (call: ServerUnaryCall<HealthRequest, HealthResponse>, send: sendUnaryData<HealthResponse>) => {
        const answer = this.#statusOf(call.request.service);
        if (answer === SERVICE_UNKNOWN) send({ code: status.NOT_FOUND, details: 'unknown service' });
        else send(null, { status: answer });
      },
      Watch: (call: Watcher) => this.#watch(call),
    });
  }

  #watch(call: Watcher): void {
    if (this.#isStopped || this.#watchers.size >= WATCHERS_MAX) {
      call.emit('error', { code: status.RESOURCE_EXHAUSTED, details: 'no more watchers' });
      return;
    }
    this.#watchers.add(call);
    const forget = (): void => {
      this.#watchers.delete(call);
    };
    call.on('cancelled', forget);
    call.on('close', forget);
    call.write({ status: this.#statusOf(call.request.service) });
  }

  #statusOf(service: string | undefined): number {
    if (service !== undefined && service !== '' && service !== AUTHORIZATION_SERVICE) return SERVICE_UNKNOWN;
    return this.#isServing ? SERVING : NOT_SERVING;
  }
}
