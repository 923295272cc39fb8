/**
 * The Kubernetes API by `@kubernetes/client-node`, which is imported here alone and takes half a second: it finds the cluster (kubeconfig, or the
 * service account of the pod it runs in) and proves who asks. Lists and watches go over Node's own HTTP, as the JSON that the API sends, since
 * the classes that the client makes of it cost more than all the rest.
 */
import { request as requestHttp } from 'node:http';
import { type RequestOptions, request as requestHttps } from 'node:https';
import { KubeConfig } from '@kubernetes/client-node';
import type { Answer, KubernetesApi } from './list-watch.ts';
import { StoreError } from './once.ts';

export interface ApiOptions {
  readonly kubeconfig?: string | undefined;
  readonly context?: string | undefined;
}

const ANSWER_TIMEOUT_MS = 30_000;
/** Bytes of one answer or line; a page of 500 pods of the largest kind has less. */
const ANSWER_BYTES_MAX = 1 << 28;

/** Throws `StoreError` where there is no cluster to be found. */
export function openKubernetesApi({ kubeconfig, context }: ApiOptions): KubernetesApi {
  const config = new KubeConfig();
  try {
    if (kubeconfig === undefined) config.loadFromDefault();
    else config.loadFromFile(kubeconfig);
    if (context !== undefined) config.setCurrentContext(context);
  } catch (error) {
    throw new StoreError(`the kubeconfig can't be used: ${(error as Error).message}`);
  }
  const server = config.getCurrentCluster()?.server;
  if (server === undefined)
    throw new StoreError(`the kubeconfig has no ${context === undefined ? 'current context' : `context '${context}'`}`);
  return new HttpApi(config, server.replace(/\/$/, ''));
}

class HttpApi implements KubernetesApi {
  readonly #config: KubeConfig;
  readonly #server: string;

  constructor(config: KubeConfig, server: string) {
    this.#config = config;
    this.#server = server;
  }

  async get(path: string, query: Readonly<Record<string, string>>, signal: AbortSignal): Promise<Answer> {
    const parts: Buffer[] = [];
    const within = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_TIMEOUT_MS)]);
    const head = await this.#ask(path, query, (part) => parts.push(part), within);
    return { ...head, body: parse(Buffer.concat(parts).toString('utf8')) };
  }

  async watch(
    path: string,
    query: Readonly<Record<string, string>>,
    onLine: (line: string) => void,
    signal: AbortSignal,
  ): Promise<Answer> {
    let rest: Buffer = Buffer.alloc(0);
    const onPart = (part: Buffer): void => {
      rest = rest.length === 0 ? part : Buffer.concat([rest, part]);
      for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
        const line = rest.subarray(0, end).toString('utf8');
        rest = rest.subarray(end + 1);
        if (line.trim() !== '') onLine(line);
      }
    };
    // What is left behind the last line's end is half a line: the connection broke there.
    return this.#ask(path, query, onPart, signal);
  }

  /** Resolves with the head when the body has ended; parts of the body of a bad answer are not given. */
  async #ask(
    path: string,
    query: Readonly<Record<string, string>>,
    onPart: (part: Buffer) => void,
    signal: AbortSignal,
  ): Promise<Answer> {
    const url = new URL(`${this.#server}${path}?${new URLSearchParams(query)}`);
    const options: RequestOptions = { method: 'GET', headers: { accept: 'application/json', 'user-agent': 'margay' } };
    await this.#config.applyToHTTPSOptions(options);
    return new Promise((resolve, reject) => {
      const ask = url.protocol === 'http:' ? requestHttp : requestHttps;
      const request = ask(url, { ...options, signal }, (response) => {
        const status = response.statusCode ?? 0;
        const after = Number(response.headers['retry-after']);
        let bytes = 0;
        response.on('data', (part: Buffer) => {
          bytes = status === 200 ? bytes + part.length : 0;
          if (bytes > ANSWER_BYTES_MAX && url.searchParams.get('watch') === null)
            request.destroy(new Error('an answer without end'));
          if (status === 200) onPart(part);
        });
        response.on('error', reject);
        response.on('close', () =>
          resolve({ status, body: undefined, ...(Number.isFinite(after) ? { retryAfterSeconds: after } : {}) }),
        );
      });
      request.on('error', (error) => reject(new Error(`${url.host}: ${error.message}`)));
      request.end();
    });
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
