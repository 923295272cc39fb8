/**
 * A compiler that sees objects come and go.
 *
 * The plan after any sequence of changes equals the plan of the objects that are left, from scratch: numbers depend on
 * content alone, so there is no state to drift. What is kept between compiles is only what an object decides by itself
 * (parsed selectors, converted pods, policies and profiles, each by the object's identity) and what was interned; the joins
 * (groups, order, sets) are made anew. The join of endpoints to groups, by far the largest, is kept as long as no object that takes part
 * in it changes: labels of accounts and namespaces are inherited, and policies select, so a change of these leaves it alone. An object
 * must not be changed in place: `set` a new one.
 */
import {
  addResource,
  emptyResources,
  type ObjectMeta,
  type Resource,
  type Resources,
  resourceKey,
} from '../model/resources.ts';
import type { Plan } from './plan.ts';
import { type Joined, newPlanCaches, type PlanCaches, planCluster, type Shapes } from './plan-cluster.ts';

/** Interned identities may outnumber the groups in use this much before all caches are dropped. */
const STALE_IDENTITY_FACTOR_MAX = 4;
const STALE_IDENTITY_COUNT_MIN = 10_000;

/** What an object is known by. */
export interface ResourceName {
  readonly kind: Resource['kind'];
  readonly meta: Pick<ObjectMeta, 'namespace' | 'name'>;
}

type ListName = keyof Resources;

/** Objects of one list of `Resources`, by key, and the list itself until one of them changes. */
interface ObjectList {
  readonly objects: Map<string, Resource>;
  list: readonly Resource[] | undefined;
}

export class IncrementalCompiler {
  readonly #lists = new Map<ListName, ObjectList>();
  readonly #listOfKind = new Map<string, ObjectList>();
  #caches: PlanCaches = newPlanCaches();
  #plan: Plan | undefined;

  constructor(resources?: Resources) {
    for (const name of Object.keys(emptyResources()) as ListName[]) {
      this.#lists.set(name, { objects: new Map(), list: undefined });
    }
    if (resources === undefined) return;
    for (const list of Object.values(resources) as readonly (readonly Resource[])[]) {
      for (const resource of list) this.set(resource);
    }
  }

  /** Adds an object, or replaces the one of its kind, namespace and name. */
  set(resource: Resource): void {
    this.replace(resource);
  }

  /** The same; gives what was there. */
  replace(resource: Resource): Resource | undefined {
    const key = resourceKey(resource);
    const list = this.#listOf(resource);
    const before = list.objects.get(key);
    if (before === resource) return before;
    list.objects.set(key, resource);
    list.list = undefined;
    this.#plan = undefined;
    return before;
  }

  /** The object of this kind, namespace and name, as it is now. */
  get(resource: ResourceName): Resource | undefined {
    return this.#listOf(resource).objects.get(resourceKey(resource));
  }

  /** What the plan is joined from, and how pods become groups of it. */
  joined(): { readonly plan: Plan; readonly joined: Joined; readonly shapes: Shapes } {
    const caches = this.#caches;
    const plan = this.plan();
    // A plan that was known already may have outlived its caches.
    if (caches.joined !== undefined && this.#caches === caches)
      return { plan, joined: caches.joined, shapes: caches.shapes };
    this.#plan = undefined;
    this.#caches = newPlanCaches();
    const fresh = this.#caches;
    return { plan: planCluster(this.resources(), fresh), joined: fresh.joined!, shapes: fresh.shapes };
  }

  /** Removes the object of this kind, namespace and name; whether there was one. */
  delete(resource: ResourceName): boolean {
    const list = this.#listOf(resource);
    const isDeleted = list.objects.delete(resourceKey(resource));
    if (isDeleted) {
      list.list = undefined;
      this.#plan = undefined;
    }
    return isDeleted;
  }

  #listOf(resource: ResourceName): ObjectList {
    let list = this.#listOfKind.get(resource.kind);
    if (list === undefined) {
      const probe = emptyResources();
      addResource(probe, resource as Resource);
      const [name] = (Object.entries(probe) as [ListName, readonly Resource[]][]).find(([, each]) => each.length > 0)!;
      list = this.#lists.get(name)!;
      this.#listOfKind.set(resource.kind, list);
    }
    return list;
  }

  /** The plan of the objects as they are now. */
  plan(): Plan {
    if (this.#plan !== undefined) return this.#plan;
    const plan = planCluster(this.resources(), this.#caches);
    const identityCountMax = Math.max(STALE_IDENTITY_COUNT_MIN, STALE_IDENTITY_FACTOR_MAX * plan.groups.length);
    if (this.#caches.shapes.identities.size > identityCountMax) this.#caches = newPlanCaches();
    this.#plan = plan;
    return plan;
  }

  /** The objects as they are now, in the order in which their keys first came. A list that did not change is the same array. */
  resources(): Resources {
    const entries = [...this.#lists].map(([name, each]) => {
      each.list ??= [...each.objects.values()];
      return [name, each.list] as const;
    });
    return Object.fromEntries(entries) as unknown as Resources;
  }
}
