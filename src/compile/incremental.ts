/**
 * A compiler that sees objects come and go.
 *
 * The plan after any sequence of changes equals the plan of the objects that are left, from scratch: numbers depend on
 * content alone, so there is no state to drift. What is kept between compiles is only what an object decides by itself
 * (parsed selectors, converted pods, policies and profiles, each by the object's identity) and what was interned; the joins
 * (groups, order, sets) are made anew. An object must not be changed in place: `set` a new one.
 */
import { addResource, emptyResources, type Resource, type Resources, resourceKey } from '../model/resources.ts';
import type { Plan } from './plan.ts';
import { newPlanCaches, type PlanCaches, planCluster } from './plan-cluster.ts';

/** Interned identities may outnumber the groups in use this much before all caches are dropped. */
const STALE_IDENTITY_FACTOR_MAX = 4;
const STALE_IDENTITY_COUNT_MIN = 10_000;

export class IncrementalCompiler {
  readonly #objects = new Map<string, Resource>();
  #caches: PlanCaches = newPlanCaches();
  #plan: Plan | undefined;

  constructor(resources?: Resources) {
    if (resources === undefined) return;
    for (const list of Object.values(resources) as readonly (readonly Resource[])[]) {
      for (const resource of list) this.set(resource);
    }
  }

  /** Adds an object, or replaces the one of its kind, namespace and name. */
  set(resource: Resource): void {
    const key = resourceKey(resource);
    if (this.#objects.get(key) === resource) return;
    this.#objects.set(key, resource);
    this.#plan = undefined;
  }

  /** Removes the object of this kind, namespace and name; whether there was one. */
  delete(resource: Pick<Resource, 'kind' | 'meta'>): boolean {
    const isDeleted = this.#objects.delete(resourceKey(resource));
    if (isDeleted) this.#plan = undefined;
    return isDeleted;
  }

  /** The plan of the objects as they are now. */
  plan(): Plan {
    if (this.#plan !== undefined) return this.#plan;
    const plan = planCluster(this.resources(), this.#caches);
    const identityCountMax = Math.max(STALE_IDENTITY_COUNT_MIN, STALE_IDENTITY_FACTOR_MAX * plan.groups.length);
    if (this.#caches.identities.size > identityCountMax) this.#caches = newPlanCaches();
    this.#plan = plan;
    return plan;
  }

  /** The objects as they are now, in the order in which their keys first came. */
  resources(): Resources {
    const lists = emptyResources();
    for (const resource of this.#objects.values()) addResource(lists, resource);
    return lists;
  }
}
