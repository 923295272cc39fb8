/** Packets a second by verdict: the last ten minutes, from differences of the accounting. */
import type { Accounting, RateSeries, RateStep } from './api.ts';

const STEPS_MAX = 600;

export class Rates {
  readonly #steps: RateStep[] = [];
  #last: Accounting | undefined;

  /** To be called once a second. A clock that jumps gives a step of its new time; steps never go back. */
  sample(accounting: Accounting, seconds: number): RateStep {
    const before = this.#last;
    this.#last = accounting;
    const since = (name: 'allow' | 'deny' | 'unpoliced' | 'uncertain' | 'undecoded' | 'lost'): number =>
      Math.max(0, accounting[name] - (before?.[name] ?? 0));
    const step: RateStep = {
      time: Math.floor(seconds),
      allow: since('allow'),
      deny: since('deny'),
      unpoliced: since('unpoliced'),
      uncertain: since('uncertain'),
      undecoded: since('undecoded'),
      lost: since('lost'),
    };
    while (this.#steps.length > 0 && this.#steps.at(-1)!.time >= step.time) this.#steps.pop();
    this.#steps.push(step);
    if (this.#steps.length > STEPS_MAX) this.#steps.shift();
    return step;
  }

  series(): RateSeries {
    return { steps: [...this.#steps] };
  }
}
