/** `who-can assign`: everyone who can act as a service account, directly or by a chain. */
import type { Account } from '../rbac/account-ways.ts';
import { accountText, type Chains, findChains } from '../rbac/chains.ts';
import { principalText } from '../rbac/rights.ts';
import {
  accountWorld,
  type BlockedRecord,
  chainEntry,
  closingParts,
  commonNotes,
  sortEntries,
  type WhoCanContext,
  type WhoCanReport,
} from './who-can.ts';

export function whoCanAssign(context: WhoCanContext, account: Account): WhoCanReport {
  const { depth, users } = context.options;
  const world = accountWorld(context);
  const found = findChains(context.rights, [account], world, { depth, isBrief: false });
  const target = accountText(account);
  return {
    question: 'assign',
    target,
    depth,
    entries: sortEntries(found.chains.map((chain) => chainEntry(chain, users))),
    blocked: blockedRecords(found.blocked),
    notes: [...commonNotes(context), ...podNotes(world.podsOf(account, 'exec'), target)],
    ...closingParts(context),
    incomplete: context.isIncomplete,
  };
}

function podNotes(pods: readonly string[] | undefined, target: string): string[] {
  if (pods === undefined) return [`the input has no pods; ways into a running pod count as if one ran as ${target}`];
  return pods.length === 0 ? [`no pod of the input runs as ${target}, so there is none to exec into`] : [];
}

export function blockedRecords(blocked: Chains['blocked']): BlockedRecord[] {
  return blocked.flatMap(({ accounts, principal, way, right, blockedBy }) => {
    if (blockedBy === undefined) return [];
    const { policy, origin, useGroups = [] } = blockedBy;
    const target = accountText(accounts[0]!);
    return [
      {
        subject: principalText(principal),
        target,
        way,
        right,
        admission_policy: policy,
        unless_in: useGroups,
        ...origin,
      },
    ];
  });
}
