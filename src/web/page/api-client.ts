/** The agent's HTTP interface, read with a token when it asks for one. Addresses are relative, so that a path in front of the page is kept. */

import type { ApiError } from '../../agent/api.ts';

const TIMEOUT_MS = 10_000;
const TOKEN_KEY = 'margay-token';

/** What went wrong with a request, as a sentence. `status` is 0 when there was no answer at all. */
export class ApiFailure extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.name = 'ApiFailure';
    this.status = status;
  }
}

export class ApiClient {
  private token = readToken();

  /** Kept for this tab only. */
  setToken(token: string): void {
    this.token = token;
    try {
      sessionStorage.setItem(TOKEN_KEY, token);
    } catch {
      // Storage may be switched off: the token then lasts until the page is loaded anew.
    }
  }

  /** @param path below `api/v1/`; throws ApiFailure */
  async get<T>(path: string, signal?: AbortSignal): Promise<T> {
    const limit = AbortSignal.timeout(TIMEOUT_MS);
    const response = await this.request(path, signal ? AbortSignal.any([signal, limit]) : limit);
    try {
      return (await response.json()) as T;
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new ApiFailure(0, 'the agent sent half an answer; it may be ending');
    }
  }

  /** The open answer of `events`; throws ApiFailure. */
  async open(path: string, signal: AbortSignal): Promise<ReadableStream<Uint8Array>> {
    const response = await this.request(path, signal);
    if (response.body === null) throw new ApiFailure(0, 'the agent sent an empty stream');
    return response.body;
  }

  private async request(path: string, signal: AbortSignal): Promise<Response> {
    let response: Response;
    try {
      response = await fetch(addressOf(path), {
        signal,
        cache: 'no-store',
        headers: this.token ? { authorization: `Bearer ${this.token}` } : {},
      });
    } catch (error) {
      if (error instanceof DOMException && error.name === 'AbortError') throw error;
      const isSlow = error instanceof DOMException && error.name === 'TimeoutError';
      throw new ApiFailure(0, isSlow ? 'the agent does not answer' : 'the agent cannot be reached');
    }
    if (response.ok) return response;
    throw new ApiFailure(response.status, await reasonOf(response));
  }
}

/** Beside the page. A name and password in the page's own address stay out of it: `fetch` refuses them, and the browser sends them anyway. */
function addressOf(path: string): string {
  const address = new URL(`api/v1/${path}`, location.href);
  address.username = '';
  address.password = '';
  return address.href;
}

async function reasonOf(response: Response): Promise<string> {
  try {
    const { error } = (await response.json()) as Partial<ApiError>;
    if (typeof error === 'string' && error !== '') return error;
  } catch {
    // No JSON: the status has to do.
  }
  return `the agent answered with status ${response.status}`;
}

function readToken(): string {
  try {
    return sessionStorage.getItem(TOKEN_KEY) ?? '';
  } catch {
    return '';
  }
}

/** `flows?verdict=deny&limit=100`; empty values are left out. */
export function withQuery(path: string, query: Readonly<Record<string, string | undefined>>): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value) parameters.set(name, value);
  const text = parameters.toString();
  return text === '' ? path : `${path}?${text}`;
}
