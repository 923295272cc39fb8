/**
 * The ingress policies of an endpoint as one list of steps, each rule's tests as numbers.
 *
 * A chain is laid out once: the rules of its tiers and profiles in order, and between them what happens where none matched.
 *
 *     rule np:app/a 0      allow  if source in set 3, account match 1
 *     rule np:app/a 1      pass   if …                                   -> first step of the next tier
 *     end of tier default  deny
 *     rule pro:kns.app 0   allow
 *     no profile matched   deny
 *
 * Semantics 4.4 with 8.4: staged policies are not here; Pass in a profile denies; a missing profile is no match; the end of a policy
 * in a tier that does not exist is INVALID_ARGUMENT.
 */
import { assert } from '../base/assert.ts';
import type {
  AuthorizationForm,
  FormChain,
  FormOrigin,
  FormRule,
  FormSide,
  FormTierPolicies,
} from '../tables/authorization.ts';
import type { AddressIndex } from './addresses.ts';
import { CODE_INVALID_ARGUMENT, CODE_OK, CODE_PERMISSION_DENIED, type Code } from './codes.ts';
import { compilePaths, type PathMatch } from './http-path.ts';
import type { IdentityMatches } from './identities.ts';

/** Why a step decides. */
export type StepReason = 'rule' | 'end-of-tier' | 'no-profile-match' | 'missing-tier';

/** What one step does when its tests hold. */
export interface Step {
  readonly reason: StepReason;
  /** What the check answers if this step decides. */
  readonly code: Code;
  /** A Pass rule: the step to go on with; a Log rule: the next one; -1 = it decides. */
  readonly jump: number;
  /** `undefined` for steps without tests. */
  readonly rule: CompiledRule | undefined;
  /** `''` for profiles. */
  readonly tier: string;
  /** `np:NS/NAME`, `pro:NAME`; `''` if no profile matched. */
  readonly policy: string;
  /** Position in the policy, -1 for the end of a tier. */
  readonly index: number;
  readonly origin: FormOrigin | undefined;
}

/** The tests of one rule. Address tests are predicates of `AddressIndex`, identity tests numbers of `IdentityMatches`. */
export interface CompiledRule {
  readonly action: FormRule['action'];
  readonly protocol: number;
  readonly notProtocol: number;
  readonly source: CompiledSide;
  readonly destination: CompiledSide;
  /** Empty = any; `undefined`, too. */
  readonly methods: ReadonlySet<string> | undefined;
  readonly paths: PathMatch | undefined;
  readonly hasPorts: boolean;
  readonly hasRequest: boolean;
}

export interface CompiledSide {
  readonly allOf: readonly number[];
  readonly noneOf: readonly number[];
  /** -1 = none. */
  readonly identity: number;
  /** Low and high, in turn; `undefined` = any port, empty = none (named ports alone). */
  readonly ports: readonly number[] | undefined;
  readonly notPorts: readonly number[];
  /** `ADDRESS WORDS|PROTOCOL|PORT` of a service's endpoints; `undefined` = not asked. */
  readonly tuples: ReadonlySet<string> | undefined;
}

/** Compiles chains; rules of a policy that several chains have are compiled once. */
export class StepCompiler {
  readonly #form: AuthorizationForm;
  readonly #addresses: AddressIndex;
  readonly #identities: IdentityMatches;
  readonly #rules = new Map<FormRule, CompiledRule>();
  readonly #profiles: ReadonlyMap<string, AuthorizationForm['profiles'][0]>;

  constructor(form: AuthorizationForm, addresses: AddressIndex, identities: IdentityMatches) {
    this.#form = form;
    this.#addresses = addresses;
    this.#identities = identities;
    this.#profiles = new Map(form.profiles.map((profile) => [profile.name, profile]));
  }

  chain(chain: FormChain): readonly Step[] {
    const steps: Step[] = [];
    for (const tier of chain.tiers) this.#tier(tier, steps);
    for (const name of chain.profiles) this.#profile(name, steps);
    const end = { reason: 'no-profile-match', code: CODE_PERMISSION_DENIED, jump: -1, rule: undefined } as const;
    steps.push({ ...end, tier: '', policy: '', index: -1, origin: undefined });
    return steps;
  }

  #tier({ tier: number, policies }: FormTierPolicies, steps: Step[]): void {
    const tier = this.#form.tiers[number]!;
    const lists = policies.map((policy) => this.#form.policies[policy]!);
    // In a tier that does not exist nothing behind the first policy is ever reached.
    const reached = tier.exists ? lists : lists.slice(0, 1);
    const count = reached.reduce((sum, { rules }) => sum + rules.length, 0);
    const last = reached.at(-1);
    assert(last !== undefined, 'a tier of a chain has policies');
    const end = steps.length + count;
    const isDeny = !tier.exists || tier.defaultAction === 'deny';
    const next = end + (isDeny ? 1 : 0);
    for (const { id, rules } of reached) {
      rules.forEach((rule, index) => {
        const jump = rule.action === 'log' ? steps.length + 1 : rule.action === 'pass' ? next : -1;
        const code = rule.action === 'allow' ? CODE_OK : CODE_PERMISSION_DENIED;
        const compiled = this.#rule(rule);
        steps.push({
          reason: 'rule',
          code,
          jump,
          rule: compiled,
          tier: tier.name,
          policy: id,
          index,
          origin: rule.origin,
        });
      });
    }
    if (!isDeny) return;
    steps.push({
      reason: tier.exists ? 'end-of-tier' : 'missing-tier',
      code: tier.exists ? CODE_PERMISSION_DENIED : CODE_INVALID_ARGUMENT,
      jump: -1,
      rule: undefined,
      tier: tier.name,
      policy: last.id,
      index: -1,
      origin: last.origin,
    });
  }

  #profile(name: string, steps: Step[]): void {
    const profile = this.#profiles.get(name);
    for (const [index, rule] of (profile?.rules ?? []).entries()) {
      const jump = rule.action === 'log' ? steps.length + 1 : -1;
      const code = rule.action === 'allow' ? CODE_OK : CODE_PERMISSION_DENIED;
      const compiled = this.#rule(rule);
      const policy = `pro:${name}`;
      steps.push({ reason: 'rule', code, jump, rule: compiled, tier: '', policy, index, origin: rule.origin });
    }
  }

  #rule(rule: FormRule): CompiledRule {
    let compiled = this.#rules.get(rule);
    if (compiled === undefined) {
      const { source, destination, conditions } = rule;
      const methods = conditions?.methods ?? [];
      const isAnyMethod = methods.length === 0 || methods.includes('*');
      const paths = compilePaths(conditions?.paths ?? []);
      compiled = {
        action: rule.action,
        protocol: rule.protocol,
        notProtocol: rule.notProtocol,
        source: this.#side(source, conditions === undefined ? -1 : this.#identities.add(conditions.source)),
        destination: this.#side(
          destination,
          conditions === undefined ? -1 : this.#identities.add(conditions.destination),
        ),
        methods: isAnyMethod ? undefined : new Set(methods),
        paths,
        hasPorts: hasPortTests(source) || hasPortTests(destination),
        hasRequest: !isAnyMethod || paths !== undefined,
      };
      this.#rules.set(rule, compiled);
    }
    return compiled;
  }

  #side(side: FormSide, identity: number): CompiledSide {
    const allOf = side.ipSets.map((set) => this.#addresses.set(set));
    if (side.nets.length > 0) allOf.push(this.#addresses.nets(side.nets));
    const noneOf = side.notIpSets.map((set) => this.#addresses.set(set));
    if (side.notNets.length > 0) noneOf.push(this.#addresses.nets(side.notNets));
    const hasPorts = side.ports.length > 0 || side.namedPorts.length > 0;
    const tuples = side.servicePorts < 0 ? undefined : this.#form.ipSets[side.servicePorts]!.tuples;
    return {
      allOf,
      noneOf,
      identity,
      ports: hasPorts ? side.ports.flat() : undefined,
      notPorts: side.notPorts.flat(),
      tuples:
        tuples === undefined
          ? undefined
          : new Set(tuples.map(({ address, protocol, port }) => tupleKey(address.words.join(','), protocol, port))),
    };
  }
}

function hasPortTests(side: FormSide): boolean {
  const { ports, namedPorts, notPorts, servicePorts } = side;
  return ports.length > 0 || namedPorts.length > 0 || notPorts.length > 0 || servicePorts >= 0;
}

/** `address` is that of `addressKey`. */
export function tupleKey(address: string, protocol: number, port: number): string {
  return `${address}|${protocol}|${port}`;
}
