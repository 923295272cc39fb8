/**
 * The authorization service: Envoy asks, one decision answers.
 *
 * Rules that hold whatever happens:
 *
 * - An answer is OK only if a decision said so. Without policies the answer is UNAVAILABLE, a message that cannot be read is
 *   INVALID_ARGUMENT, a fault of ours INTERNAL. All of them are sent as *answers*, not as errors of gRPC, which a proxy with
 *   `failure_mode_allow` would take for a yes. What never gets here (an oversized message, a closed server) is an error of gRPC.
 * - One request is decided by one authorizer. `use` puts a new one in its place between two requests.
 * - `stop` takes no new calls, waits for those that are there, and gives up after a time.
 */
import {
  logVerbosity,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type sendUnaryData,
  setLogVerbosity,
} from '@grpc/grpc-js';
import type { Logger } from 'pino';
import { type Factor, remarksOn } from './answer.ts';
import type { Authorizer, Decision } from './authorizer.ts';
import { CODE_INTERNAL, CODE_INVALID_ARGUMENT, CODE_OK, CODE_UNAVAILABLE, type Code } from './codes.ts';
import type { DenialLog } from './denial-log.ts';
import { type CheckRequest, type CheckResponse, requestOf } from './envoy.ts';
import { HealthService } from './health.ts';
import { clearStaleSocket, type ListenAddress, ListenTrouble, listenText, withSocketMode } from './listen.ts';
import type { AuthzMetrics } from './metrics.ts';
import { authorizationService, MALFORMED } from './protos.ts';

/** Bytes of one request. Envoy's headers have 60 KiB by default; a proxy that sends bodies along must be told to cut them. */
export const MESSAGE_BYTES_MAX = 1 << 20;
/** Open requests of one connection. */
const STREAMS_MAX = 10_000;
/** How long calls that are there may take to end when the service stops. */
const DRAIN_MS = 5_000;

export interface AuthzServerParts {
  readonly listen: ListenAddress;
  readonly log: Logger;
  readonly denials: DenialLog;
  readonly metrics: AuthzMetrics;
}

export class AuthzServer {
  readonly #parts: AuthzServerParts;
  readonly #server: Server;
  readonly #health: HealthService;
  #authorizer: Authorizer | undefined;
  #boundPort = 0;

  constructor(parts: AuthzServerParts) {
    this.#parts = parts;
    // What it would print on standard error it also reports to us.
    setLogVerbosity(logVerbosity.NONE);
    this.#server = new Server({
      'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
      'grpc.max_concurrent_streams': STREAMS_MAX,
      // Nobody asks for the statistics, and every call pays for them.
      'grpc.enable_channelz': 0,
    });
    this.#health = new HealthService();
    this.#server.addService(authorizationService(), {
      Check: (
        call: ServerUnaryCall<CheckRequest | typeof MALFORMED, CheckResponse>,
        send: sendUnaryData<CheckResponse>,
      ) => send(null, this.answer(call.request)),
    });
    this.#health.addTo(this.#server);
  }

  /** Where it listens, as gRPC writes it. */
  get address(): string {
    return listenText(this.#parts.listen, this.#boundPort);
  }

  get isServing(): boolean {
    return this.#health.isServing;
  }

  /** Decides by `authorizer` from the next request on; `undefined`: nothing can be decided. */
  use(authorizer: Authorizer | undefined): void {
    this.#authorizer = authorizer;
    this.#health.set(authorizer !== undefined);
    if (authorizer === undefined) return;
    const { endpoints, policies, subjects } = authorizer.form;
    const { length: policyCount } = policies;
    this.#parts.metrics.loaded({ endpoints: endpoints.length, policies: policyCount, subjects: subjects.length });
  }

  /** Binds. Rejects with `ListenTrouble`, or `PolicyError` for a path where something else lies. */
  async start(): Promise<void> {
    const { listen } = this.#parts;
    const bind = (): Promise<number> =>
      new Promise((resolve, reject) => {
        this.#server.bindAsync(listenText(listen), ServerCredentials.createInsecure(), (error, port) => {
          if (error === null) resolve(port);
          else reject(new ListenTrouble(listenText(listen), causeOf(error)));
        });
      });
    if (listen.kind === 'unix') {
      await clearStaleSocket(listen.path);
      await withSocketMode(listen.path, bind);
    } else this.#boundPort = await bind();
  }

  /** Drains; true if every call that was there got its answer. */
  async stop(): Promise<boolean> {
    this.#health.stop();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(false), DRAIN_MS);
    });
    const drained = new Promise<boolean>((resolve) => {
      this.#server.tryShutdown((error) => resolve(error === undefined));
    });
    const isDrained = await Promise.race([drained, late]);
    clearTimeout(timer);
    if (!isDrained) this.#server.forceShutdown();
    return isDrained;
  }

  /** The answer to one message. Never throws. */
  answer(message: CheckRequest | typeof MALFORMED): CheckResponse {
    const startMs = performance.now();
    const { metrics, log } = this.#parts;
    let response: CheckResponse;
    try {
      response = this.#answer(message);
    } catch (error) {
      log.error({ err: error }, 'a fault of margay: the request is denied');
      metrics.denied('internal');
      response = status(CODE_INTERNAL, 'internal error');
    }
    metrics.answered(response.status.code, (performance.now() - startMs) / 1000);
    return response;
  }

  #answer(message: CheckRequest | typeof MALFORMED): CheckResponse {
    const { metrics, denials } = this.#parts;
    if (message === MALFORMED) {
      metrics.denied('request');
      return status(CODE_INVALID_ARGUMENT, 'the message is no CheckRequest');
    }
    const authorizer = this.#authorizer;
    if (authorizer === undefined) {
      metrics.denied('unavailable');
      return status(CODE_UNAVAILABLE, 'no policies are loaded');
    }
    const request = requestOf(message);
    const decision = authorizer.check(request);
    if (decision.code === CODE_OK) {
      for (const remark of remarksOn(request, decision, authorizer.options.trustDomains)) metrics.remarked(remark);
      return ALLOWED;
    }
    const factor = denials.denied(authorizer, request, decision, message.attributes?.request?.http?.id);
    metrics.denied(factor);
    return status(decision.code, messageOf(decision, factor));
  }
}

/** The system's own words inside those of gRPC. */
function causeOf(error: Error): string {
  return /errors: \[(.+)\]$/.exec(error.message)?.[1] ?? error.message;
}

const ALLOWED = status(CODE_OK, '');

function status(code: Code, message: string): CheckResponse {
  return { status: { code, message } };
}

/** For the log of the proxy; it says no more than whose policy it was. */
function messageOf({ step, reason }: Decision, factor: Factor): string {
  const place = step === undefined || step.policy === '' ? '' : ` at ${step.policy}`;
  return `denied: ${reason}${place}, factor ${factor}`;
}
