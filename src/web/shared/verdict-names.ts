/** The verdicts of packets, in the order in which they are listed and drawn. */

export const VERDICT_NAMES = ['allow', 'deny', 'unpoliced', 'uncertain', 'undecoded', 'lost'] as const;
export type VerdictName = (typeof VERDICT_NAMES)[number];

/** What a verdict or finding means, for titles and legends. */
export const VERDICT_MEANINGS: Readonly<Record<string, string>> = {
  allow: 'every check that applies allows',
  deny: 'a check denies',
  unpoliced: 'no endpoint of Calico at either end',
  uncertain: 'evidence is missing',
  undecoded: 'no flow could be read from the packet',
  lost: 'captured, but never judged',
  pass: 'the next tier is asked',
  leak: 'denied by policy, and answered all the same',
  blocked: 'allowed by policy, and never answered',
};
