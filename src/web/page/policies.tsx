/** Tiers in the order in which they run, their policies, and how often each rule decided. */

import type { JSX } from 'preact';
import { useEffect, useMemo, useRef } from 'preact/hooks';
import type { PolicyBoard, PolicyHits } from '../../agent/api.ts';
import { formatBytes, formatCount } from '../shared/format.ts';
import { VerdictBadge } from '../shared/verdict.tsx';
import { useApp, usePolled } from './context.ts';

type Tier = PolicyBoard['tiers'][number];
type RuleHits = PolicyHits['rules'][number];

/** What the agent calls the profiles, which stand behind all tiers. */
const PROFILES = '__PROFILE__';

export function Policies(): JSX.Element {
  const { place, change } = useApp();
  const { value, trouble } = usePolled<PolicyBoard>('policies', 3_000);
  const text = place.parameters.text ?? '';
  const isHitOnly = place.parameters.kind === 'hit';
  const tiers = useMemo(() => filterTiers(value?.tiers ?? [], text, isHitOnly), [value, text, isHitOnly]);
  const most = useMemo(() => mostPackets(value?.tiers ?? []), [value]);
  return (
    <div class="stack">
      <search class="filters panel">
        <div class="field field-text">
          <label for="policy-text">Policy or tier</label>
          <input
            id="policy-text"
            type="search"
            autocomplete="off"
            spellcheck={false}
            value={text}
            onInput={(event) => change({ text: event.currentTarget.value })}
          />
        </div>
        <label class="check">
          <input
            type="checkbox"
            checked={isHitOnly}
            onChange={(event) => change({ kind: event.currentTarget.checked ? 'hit' : undefined })}
          />
          only what decided
        </label>
        <span class="filters-note" role="status">
          {value ? `generation ${value.generation}` : trouble || 'Loading…'}
        </span>
      </search>
      {value && tiers.length === 0 ? <NoPolicies isFiltered={text !== '' || isHitOnly} /> : null}
      <ol class="tiers">
        {tiers.map((tier) => (
          <TierSection key={tier.name} tier={tier} most={most} />
        ))}
      </ol>
    </div>
  );
}

function NoPolicies({ isFiltered }: { readonly isFiltered: boolean }): JSX.Element {
  return (
    <div class="empty panel">
      <h2>{isFiltered ? 'No policy matches' : 'No policy is loaded'}</h2>
      <p>
        {isFiltered
          ? 'Take less of a filter, or wait for traffic that a policy decides.'
          : 'Without policies everything is allowed by the profiles. Give margay agent the manifests with -f, or access to the Kubernetes API.'}
      </p>
    </div>
  );
}

function TierSection({ tier, most }: { readonly tier: Tier; readonly most: number }): JSX.Element {
  const packets = tier.policies.reduce((sum, policy) => sum + packetsOf(policy), 0);
  return (
    <li class="tier panel">
      <div class="panel-head">
        <h2>
          {tier.name === PROFILES ? (
            'Profiles, where no tier decides'
          ) : (
            <>
              <span class="quiet">tier</span> {tier.name}
            </>
          )}
        </h2>
        <span class="quiet">
          {tier.name === PROFILES ? '' : tier.order === null ? 'no order · ' : `order ${formatCount(tier.order)} · `}
          {formatCount(packets)} packets decided
        </span>
      </div>
      {tier.policies.length === 0 ? (
        <p class="empty-note">
          {tier.name === PROFILES ? 'None is in use.' : 'No policy in this tier: packets go on to the next.'}
        </p>
      ) : null}
      {tier.policies.map((policy) => (
        <PolicyCard key={policy.name} policy={policy} most={most} />
      ))}
    </li>
  );
}

function PolicyCard({ policy, most }: { readonly policy: PolicyHits; readonly most: number }): JSX.Element {
  const { place, change } = useApp();
  const packets = packetsOf(policy);
  const isOpen = place.parameters.policy === policy.name;
  const card = useRef<HTMLDetailsElement>(null);
  useEffect(() => {
    // Only when the view opens with it: whoever opens it here sees it already.
    if (isOpen) card.current?.scrollIntoView({ block: 'nearest' });
  }, []);
  return (
    <details
      ref={card}
      class={`policy ${packets === 0 ? 'is-zero' : ''}`}
      open={isOpen}
      onToggle={(event) => {
        if (event.currentTarget.open !== isOpen) change({ policy: event.currentTarget.open ? policy.name : undefined });
      }}
    >
      <summary>
        <span class="policy-name mono" title={policy.name}>
          {policy.name}
        </span>
        {policy.isStaged ? <span class="badge staged">staged</span> : null}
        <span class="policy-order quiet">{nameOrder(policy)}</span>
        <Meter packets={packets} most={most} />
        <span class="policy-packets number">{packets === 0 ? 'never decided' : formatCount(packets)}</span>
      </summary>
      {policy.source ? <p class="chain-source mono">{policy.source}</p> : null}
      <table class="rules">
        <caption class="visually-hidden">Rules of {policy.name}</caption>
        <thead>
          <tr>
            <th scope="col">Rule</th>
            <th scope="col">Action</th>
            <th scope="col" class="number">
              Packets
            </th>
            <th scope="col" class="number">
              Bytes
            </th>
            <th scope="col">Source</th>
          </tr>
        </thead>
        <tbody>
          {policy.rules.map((rule) => (
            <tr key={`${rule.direction}${rule.index}`} class={rule.packets === 0 ? 'is-zero' : ''}>
              <th scope="row">
                {rule.direction} {rule.index < 0 ? <span class="quiet">end of tier</span> : rule.index}
              </th>
              <td>
                <VerdictBadge action={rule.action} />
              </td>
              {/* A pass hands on, whoever decides is counted. */}
              <td class="number">{rule.action === 'pass' && rule.packets === 0 ? '–' : formatCount(rule.packets)}</td>
              <td class="number">{rule.packets === 0 ? '–' : formatBytes(rule.bytes)}</td>
              <td class="mono quiet rule-source">{rule.source ?? ''}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </details>
  );
}

function nameOrder({ name, order }: PolicyHits): string {
  if (order !== null) return `order ${formatCount(order)}`;
  return name.startsWith('pro:') ? '' : 'no order';
}

/** A bar on a scale that keeps small counts visible: by the logarithm. */
function Meter({ packets, most }: { readonly packets: number; readonly most: number }): JSX.Element {
  const share = most === 0 ? 0 : Math.log1p(packets) / Math.log1p(most);
  return (
    <svg class="meter" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true" focusable="false">
      <rect class="meter-back" width="100" height="6" />
      <rect class="meter-bar" width={(share * 100).toFixed(1)} height="6" />
    </svg>
  );
}

function packetsOf(policy: PolicyHits): number {
  return policy.rules.reduce((sum: number, rule: RuleHits) => sum + rule.packets, 0);
}

function mostPackets(tiers: readonly Tier[]): number {
  return Math.max(0, ...tiers.flatMap((tier) => tier.policies.map(packetsOf)));
}

/** Tiers whose name holds the text stay whole; of the others only such policies. */
function filterTiers(tiers: readonly Tier[], text: string, isHitOnly: boolean): readonly Tier[] {
  const wanted = text.toLowerCase();
  return tiers
    .map((tier) => ({
      ...tier,
      policies: tier.policies.filter(
        (policy) =>
          (tier.name.toLowerCase().includes(wanted) || policy.name.toLowerCase().includes(wanted)) &&
          (!isHitOnly || packetsOf(policy) > 0),
      ),
    }))
    .filter((tier) => tier.policies.length > 0 || (wanted === '' && !isHitOnly));
}
