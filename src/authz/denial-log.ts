/**
 * One line a denial, that names the factor that failed; and what the service does otherwise, in the same form (JSON lines of pino
 * on standard error). A flood of denials must not become a flood of lines: beyond a rate they are counted, and the next line that
 * is written says how many were left out.
 */
import type { Logger } from 'pino';
import { type AuthzRecord, authzRecord, type Factor, failedFactor } from './answer.ts';
import type { Authorizer, AuthzRequest, Decision } from './authorizer.ts';

/** Lines a second, and as many at once after a quiet time. */
const DENIALS_PER_SECOND = 50;
/** Texts of requests are cut: whoever asks chooses them. */
const TEXT_LENGTH_MAX = 256;

export class DenialLog {
  readonly #logger: Logger;
  readonly #now: () => number;
  #tokens = DENIALS_PER_SECOND;
  #refilledMs: number;
  #suppressed = 0;

  /** `now` gives milliseconds. */
  constructor(logger: Logger, now: () => number = () => performance.now()) {
    this.#logger = logger;
    this.#now = now;
    this.#refilledMs = now();
  }

  /** Denials that were not written since the last one that was. */
  get suppressedCount(): number {
    return this.#suppressed;
  }

  /** Writes the line, or counts it; gives the factor that failed. */
  denied(authorizer: Authorizer, request: AuthzRequest, decision: Decision, requestId: string | undefined): Factor {
    if (!this.#mayWrite()) {
      this.#suppressed++;
      return failedFactor(authorizer, request, decision);
    }
    const record = authzRecord(authorizer, request, decision);
    const suppressed = this.#suppressed;
    this.#suppressed = 0;
    this.#logger.warn(
      { ...fieldsOf(request, requestId), ...record, ...(suppressed > 0 ? { suppressed } : {}) },
      'denied',
    );
    return (record as AuthzRecord & { readonly factor: Factor }).factor;
  }

  #mayWrite(): boolean {
    const now = this.#now();
    this.#tokens = Math.min(DENIALS_PER_SECOND, this.#tokens + ((now - this.#refilledMs) / 1000) * DENIALS_PER_SECOND);
    this.#refilledMs = now;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}

function fieldsOf(request: AuthzRequest, requestId: string | undefined): Record<string, unknown> {
  const { src, dst, srcPort, dstPort, sourcePrincipal, http } = request;
  return {
    src: cut(src),
    src_port: srcPort,
    dst: cut(dst),
    dst_port: dstPort,
    ...(sourcePrincipal === '' ? {} : { source_principal: cut(sourcePrincipal) }),
    ...(http === undefined ? {} : { http_method: cut(http.method), http_path: cut(http.path) }),
    ...(requestId === undefined ? {} : { request_id: cut(requestId) }),
  };
}

function cut(text: string): string {
  return text.length > TEXT_LENGTH_MAX ? `${text.slice(0, TEXT_LENGTH_MAX)}…` : text;
}
