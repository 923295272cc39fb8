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
import { addResource, emptyResources, type ObjectMeta, type Resource, type Resources } from '../model/resources.ts';
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

/** Where an object is kept; undefined once it is removed. */
interface Place {
  resource: Resource | undefined;
}

/** Objects of one list of `Resources`, in the order in which they came, and the list itself until one of them changes. */
interface ObjectList {
  places: Place[];
  list: readonly Resource[] | undefined;
}

/** Objects of one kind: by namespace, then by name, which are texts that are there already. A key of both would have to be made for each question. */
interface KindIndex {
  readonly list: ObjectList;
  readonly byNamespace: Map<string, Map<string, Place>>;
}

export class IncrementalCompiler {
  readonly #lists = new Map<ListName, ObjectList>();
  readonly #kinds = new Map<string, KindIndex>();
  #caches: PlanCaches = newPlanCaches();
  #plan: Plan | undefined;

  constructor(resources?: Resources) {
    for (const name of Object.keys(emptyResources()) as ListName[]) {
      this.#lists.set(name, { places: [], list: undefined });
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
    const { list, byNamespace } = this.#indexOf(resource);
    const { namespace, name } = resource.meta;
    let byName = byNamespace.get(namespace);
    if (byName === undefined) {
      byName = new Map();
      byNamespace.set(namespace, byName);
    }
    const place = byName.get(name);
    const before = place?.resource;
    if (before === resource) return before;
    if (place !== undefined) place.resource = resource;
    else {
      const fresh = { resource };
      byName.set(name, fresh);
      list.places.push(fresh);
    }
    list.list = undefined;
    this.#plan = undefined;
    return before;
  }

  /** The object of this kind, namespace and name, as it is now. */
  get(resource: ResourceName): Resource | undefined {
    const { namespace, name } = resource.meta;
    return this.#indexOf(resource).byNamespace.get(namespace)?.get(name)?.resource;
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
    const { list, byNamespace } = this.#indexOf(resource);
    const { namespace, name } = resource.meta;
    const byName = byNamespace.get(namespace);
    const place = byName?.get(name);
    if (byName === undefined || place === undefined) return false;
    place.resource = undefined;
    byName.delete(name);
    if (byName.size === 0) byNamespace.delete(namespace);
    list.list = undefined;
    this.#plan = undefined;
    return true;
  }

  #indexOf(resource: ResourceName): KindIndex {
    let index = this.#kinds.get(resource.kind);
    if (index === undefined) {
      const probe = emptyResources();
      addResource(probe, resource as Resource);
      const [name] = (Object.entries(probe) as [ListName, readonly Resource[]][]).find(([, each]) => each.length > 0)!;
      index = { list: this.#lists.get(name)!, byNamespace: new Map() };
      this.#kinds.set(resource.kind, index);
    }
    return index;
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
      if (each.list === undefined) {
        each.places = each.places.filter(({ resource }) => resource !== undefined);
        each.list = each.places.map(({ resource }) => resource!);
      }
      return [name, each.list] as const;
    });
    return Object.fromEntries(entries) as unknown as Resources;
  }
}
